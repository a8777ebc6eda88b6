"""Runs that are stopped for longer than their lock lives, and wake when another run has the folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import StorageError
from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts, SaveToDisk
from curator_audio.pipeline.after import AfterContext, AfterStep
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.general import CallFunctionStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.speech import SegmentParquetReaderStage, SegmentParquetWriterStage
from curator_audio.storage import lock
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch
from tests.conftest import REPOSITORY

STOPPING = """
import sys
from curator_audio.errors import CuratorError
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.storage import lock
from tests.pipeline.test_stopped_runs import marking
manifest, output_dir, output, stops_before, pid_path, address = sys.argv[1:]
lock._boot_id = lambda: "another machine"
executor = RayActorsExecutor(ray_address=address, num_workers=1) if address else LocalExecutor()
stopping = {"stops_before": stops_before, "pid_path": pid_path}
try:
    marking(manifest, output, "A", **stopping).run(executor, output_dir=output_dir)
except CuratorError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
"""


def marking(manifest: Path | str, output: str, mark: str, **more: str) -> Pipeline:
    """Writes every record with a mark: other parameters, other bytes, as many of them."""
    stage = CallFunctionStage("tests.functions.marked", {"mark": mark, **more})
    reader = ManifestReaderStage(str(manifest), partition_size_mb=0.04)
    return Pipeline("test", [reader, stage, ManifestWriterStage(output)], after=[JoinParts()])


@pytest.fixture
def stopped(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Callable[[], tuple[int, str]]]:
    """A function that starts a run and returns when it has stopped before a file: a function that wakes it."""

    def start(out: str, output: str, before: str, address: str = "") -> Callable[[], tuple[int, str]]:
        pid_path = tmp_path / "pid"
        arguments = [str(manifest), out, f"{out}/{output}", before, str(pid_path), address]
        command = [sys.executable, "-c", STOPPING, *arguments]
        env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        run = subprocess.Popen(command, cwd=REPOSITORY, env=env, stderr=subprocess.PIPE, text=True)
        while not pid_path.exists():
            assert run.poll() is None, run.communicate()[1]
            time.sleep(0.01)
        processes = {run.pid, int(pid_path.read_text())}
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        path = f"{out}/_ledger/lock.json"
        silent = json.loads(Storage().read(path)) | {"alive": time.time() - lock.EXPIRY_SEC - 1}
        Storage().write(path, json.dumps(silent).encode())  # as it is a minute later

        def wake() -> tuple[int, str]:
            for process in processes:
                os.kill(process, signal.SIGCONT)
            _, told = run.communicate()
            return run.returncode, told.strip().rpartition("\n")[2]

        return wake

    monkeypatch.setattr(lock, "HEARTBEAT_SEC", 0.01)
    # Runs abort uploads that are a day old; to moto all of them are.
    monkeypatch.setattr(Storage, "abort_stale_uploads", lambda *_: 0)
    return start


def files(folder: str) -> dict[str, bytes]:
    storage = Storage()
    found = [info.path for info in storage.list_files(folder) if "/_ledger/" not in info.path]
    return {path.removeprefix(f"{folder}/"): storage.read(path) for path in found if not path.endswith("metrics.json")}


@pytest.fixture(params=["local", "s3", pytest.param("s3 and ray_actors", marks=pytest.mark.ray)])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.getfixturevalue('s3_bucket')}/out" if "s3" in request.param else f"{tmp_path}/out"


@pytest.fixture
def address(request: pytest.FixtureRequest) -> str:
    """That of a Ray for the first run; empty for none."""
    if "ray" not in request.node.callspec.id:
        return ""
    request.getfixturevalue("ray_session")
    import ray

    return str(ray.get_runtime_context().gcs_address)


def test_a_part_that_a_woken_run_writes_over_anothers_is_made_again(
    out: str, address: str, manifest: Path, stopped: Any
) -> None:
    wake = stopped(out, "shards", "/shards/manifest", address)
    done = marking(manifest, f"{out}/shards", "B").run(LocalExecutor(), output_dir=out, overwrite=True)
    right = files(out)

    status, told = wake()

    assert (status, told.partition("/out/")[0]) == (1, f"the lock {out.removesuffix('/out')}")
    wrong = [name for name, data in files(out).items() if data != right[name]]
    assert len(wrong) == 1, "what it was about to do when it was stopped, and nothing else"
    assert len(files(out)[wrong[0]]) == len(right[wrong[0]]), "the size tells nothing"

    again = marking(manifest, f"{out}/shards", "B").run(LocalExecutor(), output_dir=out)
    assert again.num_done_before == len(done.entries) - 1 >= 3
    assert files(out) == right


def test_an_entry_of_another_configuration_stands_for_nothing(manifest: Path, tmp_path: Path, stopped: Any) -> None:
    out = f"{tmp_path}/out"
    wake = stopped(out, "shards", "/entries/manifest")
    done = marking(manifest, f"{out}/shards", "B").run(LocalExecutor(), output_dir=out, overwrite=True)
    right = files(out)
    Path(out, "_ledger", "entries").mkdir()  # stores need none
    assert wake()[0] == 1
    (loose,) = Path(out, "_ledger", "entries").iterdir()
    assert loose.stem in {entry.partition for entry in done.entries}

    again = marking(manifest, f"{out}/shards", "B").run(LocalExecutor(), output_dir=out)
    assert again.num_done_before == len(done.entries)
    assert files(out) == right


def test_a_part_whose_name_no_other_has_is_deleted(manifest: Path, tmp_path: Path, stopped: Any) -> None:
    out = f"{tmp_path}/out"
    wake = stopped(out, "shards", "/shards/manifest")
    Path(out, "shards", "mine.txt").write_text("mine")
    manifest.rename(tmp_path / "moved.jsonl")
    moved = marking(tmp_path / "moved.jsonl", f"{out}/shards", "B")
    moved.run(LocalExecutor(), output_dir=out, overwrite=True)
    right = files(out)
    assert wake()[0] == 1
    assert len(files(out)) == len(right) + 1

    assert moved.run(LocalExecutor(), output_dir=out).num_done_before == 5
    assert files(out) == right


def test_a_joined_file_that_a_woken_run_has_replaced_is_made_again(
    manifest: Path, tmp_path: Path, stopped: Any
) -> None:
    out = f"{tmp_path}/out"
    wake = stopped(out, "out.jsonl", "/out.jsonl")
    marking(manifest, f"{out}/out.jsonl", "B").run(LocalExecutor(), output_dir=out, overwrite=True)
    right = files(out)
    assert wake()[0] == 1
    assert files(out)["out.jsonl"] == right["out.jsonl"].replace(b'"mark":"B"', b'"mark":"A"')

    marking(manifest, f"{out}/out.jsonl", "B").run(LocalExecutor(), output_dir=out)
    assert files(out) == right


class Woken(AfterStep):
    """Does what a woken run may do while another puts its parts together: replaces one by one of the same size."""

    name = "woken"

    def run(self, context: AfterContext) -> None:
        path = context.ledger.absolute(context.entries[0].parts[0].path)
        with Storage().create(path) as file:
            file.write(Storage().read(path).replace(b"text", b"Text", 1))


def test_a_part_that_is_replaced_before_it_is_joined_gets_nowhere(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    right, pipeline = marking(manifest, f"{tmp_path}/right/out.jsonl", "B"), marking(manifest, f"{out}/out.jsonl", "B")
    right.run(LocalExecutor())
    with pytest.raises(StorageError, match=r"parts/manifest.*\.jsonl has gone or was replaced while the run was going"):
        Pipeline("test", pipeline.stages, after=[Woken(), JoinParts()]).run(LocalExecutor())
    assert not (out / "out.jsonl").exists()

    pipeline.run(LocalExecutor())
    assert files(str(out)) == files(f"{tmp_path}/right")


def test_a_shard_that_is_replaced_before_it_is_converted_gets_nowhere(tmp_path: Path) -> None:
    segments = AudioBatch([{"segment_id": "a", "text": "some text"}])
    SegmentParquetWriterStage(f"{tmp_path}/in").write(Storage(), f"{tmp_path}/in/a.parquet", [segments])
    writer = SegmentParquetWriterStage(f"{tmp_path}/out/data", ["segment_id", "text"], compression="none")
    stages = [SegmentParquetReaderStage(f"{tmp_path}/in"), writer]
    after = [Woken(), SaveToDisk(f"{tmp_path}/saved")]
    with pytest.raises(StorageError, match=r"\.parquet has gone or was replaced while the run was going on"):
        Pipeline("test", stages, after=after).run(LocalExecutor(), output_dir=f"{tmp_path}/out")
    assert list((tmp_path / "saved").iterdir()) == []
