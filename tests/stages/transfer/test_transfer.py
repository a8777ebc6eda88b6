"""The pipeline ``transfer`` from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curator_audio.cli import main
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.transfer import FileCopierStage, FileTreeReaderStage
from curator_audio.storage.storage import Storage
from tests.killing import KILLED
from tests.processes import REPOSITORY, run_python
from tests.stages.transfer.trees import ODD_NAMES, tree, write
from tests.storage.servers import reply, serving

BYTE = 2**-20
"""Of a MB."""

FILES = {f"{folder}/{n}.npz": f"{folder}/{n}".encode() for folder in ("news", "talks") for n in range(6)} | {
    "readme.txt": b"hello",
    "empty": b"",
}


@pytest.fixture(params=["local to s3", "s3 to local"])
def ends(request: pytest.FixtureRequest, tmp_path: Path, s3_bucket: str) -> tuple[str, str]:
    source, _, target = ({"local": str(tmp_path), "s3": s3_bucket}.get(name) for name in request.param.split())
    return f"{source}/from", f"{target}/to"


@pytest.fixture
def source(ends: tuple[str, str]) -> str:
    return ends[0]


@pytest.fixture
def target(ends: tuple[str, str]) -> str:
    return ends[1]


@pytest.fixture
def transfer(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the pipeline; gives its status, what the copier counted, and what was printed."""

    def run(source: str, target: str, *overrides: str) -> tuple[int, dict[str, int], str]:
        capsys.readouterr()
        words = ["--config-name", "transfer", "executor=local", f"input_path={source}", f"output_dir={target}"]
        status = main([*words, *overrides])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return status, counts(target) if Storage().exists(f"{target}/metrics.json") else {}, out + err

    return run


def counts(output_dir: str) -> dict[str, int]:
    stages = json.loads(Storage().read(f"{output_dir}/metrics.json"))["stages"]
    return {name: int(stages["file_copier"].get(f"files_{name}", 0)) for name in ("copied", "skipped")}


def run(source: str, target: str, **options: Any) -> dict[str, int]:
    """The same in Python, with a file a partition; gives how many files were copied and skipped this time."""
    reader = FileTreeReaderStage(source, 0, options.pop("include", None), limit=options.pop("limit", None))
    copied = noted(reader, FileCopierStage(target))
    Pipeline("transfer", copied).run(LocalExecutor(), **options)
    return dict(copied[1].counts)  # type: ignore[attr-defined]


def noted(reader: FileTreeReaderStage, copier: FileCopierStage) -> list[Any]:
    """The stages, of which the copier keeps what it counts."""
    copier.counts = {"copied": 0, "skipped": 0}  # type: ignore[attr-defined]
    log = copier.log_metrics

    def log_metrics(metrics: dict[str, float]) -> None:
        for name in copier.counts:  # type: ignore[attr-defined]
            copier.counts[name] += metrics.get(f"files_{name}", 0)  # type: ignore[attr-defined]
        log(metrics)

    copier.log_metrics = log_metrics  # type: ignore[method-assign]
    return [reader, copier]


# From anywhere to anywhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["local to s3", "s3 to local", "local to local", "s3 to s3"], indirect=True)
def test_a_tree_is_copied_and_then_left_alone(source: str, target: str, transfer: Any) -> None:
    files = FILES | {f"odd/{name}": name.encode() for name in ODD_NAMES} | {"large": b"x" * (9 * 2**20)}
    write(source, files)

    status, copied, out = transfer(source, target)

    assert status == 0 and tree(target) == files
    assert copied == {"copied": len(files), "skipped": 0}
    assert f"Output entries: {len(files)}" in out
    assert f"[file_tree_reader]  process_time: mean=0.000s, total=0.000s · items_processed: {len(files)}" in out
    written = {info.path: info.version for info in Storage().list_files(target) if "/_ledger/" not in info.path}
    del written[f"{target}/metrics.json"]

    assert transfer(source, target)[0] == 0
    now = {info.path: info.version for info in Storage().list_files(target)}
    assert {path: now[path] for path in written} == written, "nothing was written again"


def test_without_the_ledger_what_is_there_is_skipped_by_its_hash(
    source: str, target: str, tmp_path: Path, transfer: Any
) -> None:
    write(source, FILES)
    write(target, {**FILES, "talks/0.npz": b"TALKS/0", "mine": b"mine"})

    status, copied, _ = transfer(source, target)

    assert (status, copied) == (0, {"copied": 1, "skipped": len(FILES) - 1})
    assert tree(target) == FILES | {"mine": b"mine"}


def test_what_has_changed_or_gone_is_copied_again(source: str, target: str) -> None:
    write(source, FILES)
    assert run(source, target)["copied"] == len(FILES)
    assert run(source, target) == {"copied": 0, "skipped": 0}

    write(source, {"news/3.npz": b"news/x", "new": b"new"})
    Storage().delete([f"{target}/talks/1.npz"])
    write(target, {"talks/2.npz": b"cut"})
    assert run(source, target) == {"copied": 4, "skipped": 0}
    assert tree(target) == FILES | {"news/3.npz": b"news/x", "new": b"new"}
    assert run(source, target) == {"copied": 0, "skipped": 0}


def test_copies_stay_when_their_sources_go(source: str, target: str, transfer: Any) -> None:
    """Also where others of their partition are copied again, and with overwrite=true."""
    write(source, FILES)
    transfer(source, target)
    Storage().delete([f"{source}/{key}" for key in FILES if key.startswith("news/")])
    write(source, {"talks/0.npz": b"other"})

    status, _, out = transfer(source, target)
    assert status == 0 and tree(target) == FILES | {"talks/0.npz": b"other"}
    assert "6 file(s) that an earlier run read are gone; their output is kept" in out

    assert transfer(source, target, "overwrite=true")[:2] == (0, {"copied": 0, "skipped": len(FILES) - 6})
    assert tree(target) == FILES | {"talks/0.npz": b"other"}


def test_a_run_into_another_folder_of_its_own(source: str, target: str, tmp_path: Path, transfer: Any) -> None:
    write(source, FILES | {"metrics.json": b"mine"})
    status, copied, _ = transfer(source, f"{tmp_path}/log", f"output_path={target}")
    assert (status, copied) == (0, {"copied": len(FILES) + 1, "skipped": 0})
    assert tree(target) == FILES
    assert Storage().read(f"{target}/metrics.json") == b"mine"
    assert transfer(source, f"{tmp_path}/log", f"output_path={target}")[2].count("1 of them by an earlier run") == 1


def test_two_stores(tmp_path: Path, s3_bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bucket and prefix in both: s3+source:// is the one that is read."""
    received: dict[str, bytes] = {}

    def store(request: BaseHTTPRequestHandler) -> None:
        key = request.path.partition("?")[0]
        if request.command == "PUT":
            assert "Credential=test-access-key/" in request.headers["Authorization"]
            received[key] = request.body  # type: ignore[attr-defined]
            reply(request, 200, ETag='"e"')
        elif "list-type" in request.path:
            reply(request, 200, b"<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount></ListBucketResult>")
        else:
            reply(request, 204 if request.command == "DELETE" else 404)

    write(f"{s3_bucket}/x", FILES)
    monkeypatch.setenv("SOURCE_S3_ACCESS_KEY", "source-access-key")
    monkeypatch.setenv("SOURCE_S3_SECRET_KEY", "source-secret-key")
    with serving(store) as host:
        monkeypatch.setenv("S3_ENDPOINT_URL", f"http://{host}")
        reader = FileTreeReaderStage(s3_bucket.replace("s3://", "s3+source://") + "/x")
        options = {"source": {"endpoint_url": s3_endpoint}}
        stages = [reader, FileCopierStage(f"{s3_bucket}/x")]
        result = Pipeline("transfer", stages).run(
            LocalExecutor(), output_dir=f"{tmp_path}/log", storage_options=options
        )
    bucket = s3_bucket.removeprefix("s3:/")
    assert result.num_output_records == len(FILES)
    assert received == {f"{bucket}/x/{key}": data for key, data in FILES.items()}


# A part of it ------------------------------------------------------------------------------------------------


def test_a_first_try_and_then_the_rest(source: str, target: str, transfer: Any) -> None:
    write(source, FILES)
    inside = sorted(FILES)

    for limit, expected in ((3, 3), (3, 3), (5, 5), (2, 5), ("null", len(FILES))):
        assert transfer(source, target, f"limit={limit}")[0] == 0
        assert sorted(tree(target)) == inside[:expected]
    assert tree(target) == FILES


def test_a_pattern_and_then_another(source: str, target: str, transfer: Any) -> None:
    write(source, FILES)
    assert transfer(source, target, "include=news/*")[0] == 0
    assert sorted(tree(target)) == [f"news/{n}.npz" for n in range(6)]
    assert transfer(source, target, "include=[*.txt,talks/0*]", "limit=1")[0] == 0
    assert sorted(tree(target))[6:] == ["readme.txt"]
    assert transfer(source, target)[:2] == (0, {"copied": len(FILES), "skipped": 0})
    assert tree(target) == FILES


names = st.text("ab", min_size=1, max_size=2).map(lambda name: f"{name}/f{name}")
steps = st.tuples(
    st.dictionaries(names, st.sampled_from([b"", b"one", b"two!"]) | st.none(), max_size=4),
    st.sets(names, max_size=2),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([0, 4 * BYTE, 512]),
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=1, max_size=4))
def test_after_a_run_without_limit_the_destination_has_all_there_ever_was(steps: list[Any]) -> None:
    """Whatever changed, came or went on either side, and was half done, in between."""
    root, out = f"memory://{uuid.uuid4().hex}/from", f"memory://{uuid.uuid4().hex}/to"
    storage = Storage()
    storage.write(f"{root}/always", b"here")
    now: dict[str, bytes] = {"always": b"here"}
    for changes, lost, limit, size in steps:
        for key, data in changes.items():
            if data is None:
                storage.delete([f"{root}/{key}"])
                now.pop(key, None)
            else:
                storage.write(f"{root}/{key}", data)
                now[key] = data
        had = {key: data for key, data in tree(out).items() if key not in lost}
        storage.delete([f"{out}/{key}" for key in lost])
        for chosen in (limit, None):
            stages = [FileTreeReaderStage(root, size, limit=chosen), FileCopierStage(out)]
            Pipeline("transfer", stages).run(LocalExecutor())
        assert tree(out) == had | now


# Told before -------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_how_much_there_is_to_copy(source: str, target: str, transfer: Any) -> None:
    write(source, FILES | {"large": b"x" * (3 * 2**20)})

    assert (
        f"partitions: 1 to do, 0 done before\nfiles: {len(FILES) + 1} to do, 3.0 MB\n"
        in transfer(source, target, "dry_run=true")[2]
    )
    assert "files: 6 to do, 0.0 MB\n" in transfer(source, target, "dry_run=true", "include=talks/*")[2]
    assert "files: 2 to do, 3.0 MB\n" in transfer(source, target, "dry_run=true", "limit=2")[2]
    assert tree(target) == {}
    transfer(source, target, "limit=4")
    assert (
        f"partitions: 1 to do, 1 done before\nfiles: {len(FILES) - 3} to do"
        in transfer(source, target, "dry_run=true")[2]
    )
    transfer(source, target)
    assert "partitions: 0 to do, 2 done before\ndry run" in transfer(source, target, "dry_run=true")[2]


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("", "{source} is read, and would be written too; choose an output that the input does not include"),
        ("/sub", "{source}/sub lies in {source}, which is read; choose another output"),
        ("/..", "{source} is read, and would be written too; choose an output that the input does not include"),
    ],
)
def test_source_and_destination_may_not_lie_in_each_other(
    to: str, message: str, source: str, tmp_path: Path, transfer: Any
) -> None:
    write(source, FILES)
    target = source.rpartition("/")[0] if to == "/.." else source + to
    status, _, out = transfer(source, f"{tmp_path}/log", f"output_path={target}")
    assert (status, out) == (2, f"error: {message.format(source=source)}\n")
    if source.startswith("/"):
        (tmp_path / "alias").symlink_to(source)
        assert transfer(f"{tmp_path}/alias", source)[0] == 2
    assert tree(source) == FILES


def test_files_that_cannot_be_copied_are_told(tmp_path: Path, transfer: Any) -> None:
    write(f"{tmp_path}/from", FILES)
    (tmp_path / "from" / "passwords").symlink_to("/etc/passwd")
    status, copied, out = transfer(f"{tmp_path}/from", f"{tmp_path}/to")
    assert (status, copied["copied"]) == (0, len(FILES))
    assert "Quarantined records: 1 (link_leaves_root 1), see quarantine/" in out
    (line,) = [json.loads(p.read_text()) for p in (tmp_path / "to" / "quarantine").iterdir()]
    assert line["source"] == f"{tmp_path}/from/passwords"
    assert line["message"] == f"it is a link to /etc/passwd; put that below {tmp_path}/from itself"

    status, _, out = transfer(f"{tmp_path}/from", f"{tmp_path}/raise", "on_error=raise")
    assert status == 1
    assert f"error: {tmp_path}/from/passwords: [file_copier] link_leaves_root: it is a link to" in out


# Cut and killed ----------------------------------------------------------------------------------------------


class Flaky:
    """A store with one object, which breaks off half-way in the first so many answers."""

    def __init__(self, data: bytes, num_cuts: float) -> None:
        self.data, self.num_cuts = data, num_cuts
        self.lock = threading.Lock()

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        etag, size = '"0123456789abcdef0123456789abcdef-2"', len(self.data)
        if "list-type" in request.path:
            found = f"<Contents><Key>x/a.wav</Key><Size>{size}</Size><ETag>{etag}</ETag></Contents>"
            reply(request, 200, f"<ListBucketResult><KeyCount>1</KeyCount>{found}</ListBucketResult>".encode())
        elif request.command == "HEAD":
            request.send_response(200)
            request.send_header("Content-Length", str(size))
            request.send_header("ETag", etag)
            request.end_headers()
        else:
            first, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
            data = self.data[first : last + 1]
            with self.lock:
                self.num_cuts -= 1
                is_cut = self.num_cuts >= 0
            request.send_response(206)
            request.send_header("Content-Length", str(len(data)))
            request.send_header("ETag", etag)
            request.end_headers()
            request.wfile.write(data[: len(data) // 2] if is_cut else data)
            request.close_connection = is_cut


@pytest.mark.parametrize("size", [100_000, 9 * 2**20])
def test_a_connection_that_breaks_off_is_tried_again(
    size: int, tmp_path: Path, transfer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_ACCESS_KEY", "k")
    monkeypatch.setenv("S3_SECRET_KEY", "s")
    data = os.urandom(size)
    with serving(Flaky(data, 3)) as host:
        status, copied, _ = transfer("s3://b/x", f"{tmp_path}/to", f"storage_options.endpoint_url=http://{host}")
    assert (status, copied["copied"]) == (0, 1)
    assert tree(f"{tmp_path}/to") == {"a.wav": data}

    with serving(Flaky(data, float("inf"))) as host:
        status, _, out = transfer("s3://b/x", f"{tmp_path}/never", f"storage_options.endpoint_url=http://{host}")
    assert status == 1
    assert "cannot read s3://b/x/a.wav: the connection was cut" in out and "1 partition(s) failed; run the same" in out
    assert tree(f"{tmp_path}/never") == {}


COPYING = (
    KILLED
    + """
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.transfer import FileTreeReaderStage, file_copier

file_copier.SMALL_AT_ONCE = 1
stages = [FileTreeReaderStage(sys.argv[1], 30 * 2**-20), file_copier.FileCopierStage(sys.argv[2])]
Pipeline("transfer", stages).run(LocalExecutor())
"""
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [1, 2, 3, 6, 9, 12, 16, 20])
def test_killed_and_started_again(commit: int, when: str, tmp_path: Path) -> None:
    write(f"{tmp_path}/from", FILES)
    killed = run_python(COPYING, f"{tmp_path}/from", f"{tmp_path}/to", commit, when)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole = {key: data for key, data in tree(f"{tmp_path}/to").items() if not key.endswith(".tmp")}
    assert whole.items() <= FILES.items(), "no file is there in part"

    copied = run(f"{tmp_path}/from", f"{tmp_path}/to")

    assert tree(f"{tmp_path}/to") == FILES, "and no half-written file is left in any folder"
    assert copied["copied"] == len(FILES) - len(whole), "what was there is not copied again"


def test_interrupted_between_two_stores_and_started_again(s3_bucket: str, tmp_path: Path) -> None:
    files = {f"{n % 7}/{n:04d}.npz": os.urandom(2000) for n in range(100)}
    write(f"{tmp_path}/from", files)
    target = f"{s3_bucket}/to"
    command = [sys.executable, "main.py", "--config-name", "transfer", "executor=local", f"input_path={tmp_path}/from"]
    command += [f"output_dir={target}", "stages.0.partition_size_mb=0.02"]
    going = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while going.poll() is None and not Storage().list_files(f"{target}/_ledger/entries"):
        time.sleep(0.01)  # and not the processor of those who are waited for
    going.send_signal(signal.SIGTERM)
    _, err = going.communicate()
    assert (going.returncode, err.splitlines()[-1]) == (
        1,
        "stopped; run the same command again to go on where it was",
    )
    there = tree(target)
    assert there and there.items() <= files.items()

    assert main(command[2:]) == 0
    assert tree(target) == files
    assert json.loads(Storage().read(f"{target}/metrics.json"))["partitions"]["done_before"] >= 1


# On Ray ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["s3 to s3"], indirect=True)
def test_workers_of_ray_copy_the_same(source: str, target: str, ray_session: None, transfer: Any) -> None:
    write(source, FILES)
    status, copied, _ = transfer(
        source, target, "executor=ray_actors", "executor.num_workers=2", "stages.0.partition_size_mb=0"
    )
    assert (status, copied) == (0, {"copied": len(FILES), "skipped": 0})
    assert tree(target) == FILES
