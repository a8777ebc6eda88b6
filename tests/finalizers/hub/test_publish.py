"""The step that publishes what a run has written."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import AccessError, ConfigurationError, CuratorError, LockLostError, StorageError
from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts, PublishToHub
from curator_audio.finalizers.hub import publish as publish_module
from curator_audio.finalizers.hub.card import card_of
from curator_audio.finalizers.hub.repository import Repository
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.base import ProcessingStage
from curator_audio.stages.hub import FileHasherStage, PublishedFileReaderStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.storage import lock as lock_module
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch
from tests.hub_server import TOKEN, HubServer

CALLS = ["info", "create", "branch", "tree", "preupload", "batch", "put", "verify", "validate", "commit"]
"""All that publishing asks a Hub for the first time."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Five shards and a sidecar of one."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.npz").write_bytes(f"shard {number}".encode() * 100)
    (folder / "0.json").write_bytes(b"{}")
    return folder


def run(source: Path | str, out: Path | str, *, overwrite: bool = False, **options: Any) -> None:
    limit = options.pop("limit", None)
    step = PublishToHub(options.pop("repo_id", "me/talks"), **options)
    stages = [PublishedFileReaderStage(str(source), 0, limit=limit), FileHasherStage(str(out))]
    Pipeline("publish", stages, [step]).run(LocalExecutor(), output_dir=str(out), overwrite=overwrite)


def data_of(hub: HubServer, repo_id: str = "me/talks", revision: str = "main") -> dict[str, bytes]:
    return {name: data for name, data in hub.files(repo_id, revision).items() if name != "README.md"}


def in_data(folder: Path) -> dict[str, bytes]:
    """The files of a folder, as they should be on the Hub."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {f"data/{path.relative_to(folder)}": path.read_bytes() for path in found}


# What is sent --------------------------------------------------------------------------------------------------


def test_files_are_published_privately(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out")
    assert data_of(hub) == in_data(files)
    assert hub.repos["me/talks"].private
    assert hub.commits("me/talks") == ["publish: 6 files"]
    assert hub.puts() == [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files.glob("*.npz"))]


def test_on_ray(hub: HubServer, files: Path, tmp_path: Path, ray_session: None) -> None:
    from curator_audio.executors.ray_actors import RayActorsExecutor

    stages = [PublishedFileReaderStage(str(files), 0), FileHasherStage(f"{tmp_path}/out")]
    Pipeline("publish", stages, [PublishToHub("me/talks")]).run(RayActorsExecutor(num_workers=2))
    assert data_of(hub) == in_data(files)


def test_publicly_where_asked_for(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out", private=False)
    assert not hub.repos["me/talks"].private


def test_a_public_repository_is_not_taken_for_a_private_one(hub: HubServer, files: Path, tmp_path: Path) -> None:
    hub.create("me/talks", private=False)
    with pytest.raises(
        ConfigurationError, match="datasets/me/talks is public, and private is true; give private=false"
    ):
        run(files, tmp_path / "out")
    assert data_of(hub) == {}
    run(files, tmp_path / "out", private=False)
    assert data_of(hub) == in_data(files)


def test_commits_of_some_files(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out", num_files_per_commit=4, commit_message="Talks of May")
    assert hub.commits("me/talks") == ["Talks of May"] * 2
    first, last = hub.repos["me/talks"].branches["main"][1:]
    assert len(first.files) == 1 + 4 and "README.md" not in first.files
    assert len(last.files) == 1 + 6 + 1


def test_another_branch(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out", revision="v1/first")
    assert data_of(hub, revision="v1/first") == in_data(files)
    assert data_of(hub) == {}
    run(files, tmp_path / "out")
    assert data_of(hub) == in_data(files)
    assert len(hub.puts()) == 5, "the objects are there already"


def test_large_objects_go_in_parts(hub: HubServer, files: Path, tmp_path: Path) -> None:
    hub.part_bytes = 300
    run(files, tmp_path / "out")
    assert data_of(hub) == in_data(files)
    assert hub.kinds().count("part") == 5 * 3


def test_folders_and_the_folder_data(hub: HubServer, tmp_path: Path) -> None:
    for name in ("data/a.npz", "data/more/b.npz", "c.npz", ".hidden/d.npz", "data/.e.npz"):
        Storage().write(f"{tmp_path}/in/{name}", name.encode())
    run(tmp_path / "in", tmp_path / "out")
    assert data_of(hub) == {
        "data/a.npz": b"data/a.npz",
        "data/c.npz": b"c.npz",
        "data/more/b.npz": b"data/more/b.npz",
    }


def test_two_files_of_one_name_stop_it_before_anything_is_sent(hub: HubServer, tmp_path: Path) -> None:
    for name in ("data/a.npz", "a.npz"):
        Storage().write(f"{tmp_path}/in/{name}", name.encode())
    with pytest.raises(ConfigurationError, match=r"in/a\.npz and .*in/data/a\.npz would both be data/a\.npz; rename"):
        run(tmp_path / "in", tmp_path / "out")
    assert hub.requests == []


def test_no_repository_is_nothing_to_do(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out", repo_id=None)
    assert hub.requests == []


def test_an_empty_file(hub: HubServer, tmp_path: Path) -> None:
    Storage().write(f"{tmp_path}/in/a.json", b"")
    Storage().write(f"{tmp_path}/in/b.npz", b"")
    for _ in range(2):
        run(tmp_path / "in", tmp_path / "out")
    assert data_of(hub) == {"data/a.json": b"", "data/b.npz": b""}
    assert len(hub.commits("me/talks")) == 1


def test_after_any_pipeline(hub: HubServer, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stages = [ManifestReaderStage(str(manifest), partition_size_mb=0.05), ManifestWriterStage(f"{out}/shards")]
    for _ in range(2):
        Pipeline("copy", stages, [PublishToHub("me/talks")]).run(LocalExecutor(), output_dir=str(out))
    assert data_of(hub) == in_data(out / "shards") and len(data_of(hub)) > 2
    assert hub.kinds().count("commit") == 1
    card = hub.files("me/talks")["README.md"].decode()
    assert "Made with the pipeline `copy`" in card and "num_examples: 40" in card


@dataclass
class Counting(ProcessingStage[AudioBatch, AudioBatch]):
    """Counts what it is given."""

    name = "counting"

    def process(self, task: AudioBatch) -> AudioBatch:
        self.log_metrics({"segment_duration": 900.0 * task.num_items, "counting_time": time.perf_counter()})
        return task

    def derived_metrics(self, totals: Mapping[str, float]) -> dict[str, float]:
        return {"mean_hours": totals["segment_duration"] / 3600 / 40}


def test_the_card_tells_what_the_run_counted(hub: HubServer, manifest: Path, tmp_path: Path) -> None:
    stages = [ManifestReaderStage(str(manifest)), Counting(), ManifestWriterStage(f"{tmp_path}/out")]
    Pipeline("count", stages, [PublishToHub("me/talks")]).run(LocalExecutor())
    table = hub.files("me/talks")["README.md"].decode().split("|---|---|---:|\n")[1].split("\n\n")[0].splitlines()
    assert table[:2] == ["| Files |  | 1 |", "| Rows |  | 40 |"]
    assert table[-2:] == ["| Segment duration, hours | counting | 10.00 |", "| Mean hours | counting | 0.25 |"]


@pytest.mark.parametrize(
    ("place", "told", "is_ours"),
    [
        ("shards/metrics.json", {"output_path": "/elsewhere", "pipeline": "mine", "stages": {"a": {"x": 1}}}, True),
        ("metrics.json", {"output_path": "/moved/shards", "pipeline": "mine", "stages": {"a": {"x": 1}}}, True),
        ("metrics.json", {"output_path": "/data/others", "pipeline": "mine", "stages": {"a": {"x": 1}}}, False),
        ("metrics.json", {"loss": 0.5}, False),
        ("metrics.json", [1, 2], False),
    ],
)
def test_which_metrics_are_those_of_the_files(
    place: str, told: Any, is_ours: bool, hub: HubServer, tmp_path: Path
) -> None:
    Storage().write(f"{tmp_path}/made/shards/0.npz", b"shard")
    Storage().write(f"{tmp_path}/made/shards/_ledger/entries.jsonl", b"")
    Storage().write(f"{tmp_path}/made/{place}", json.dumps(told).encode())
    run(tmp_path / "made" / "shards", tmp_path / "out")
    card = hub.files("me/talks")["README.md"].decode()
    assert ("| X | a | 1 |" in card) is is_ours and ("pipeline `mine`" in card) is is_ours
    assert list(data_of(hub)) == ["data/0.npz"]


def test_a_joined_file(hub: HubServer, manifest: Path, tmp_path: Path) -> None:
    stages = [ManifestReaderStage(str(manifest)), ManifestWriterStage(f"{tmp_path}/out/all.jsonl")]
    for _ in range(2):
        Pipeline("copy", stages, [JoinParts(), PublishToHub("me/talks")]).run(LocalExecutor())
    assert data_of(hub) == {"data/all.jsonl": (tmp_path / "out" / "all.jsonl").read_bytes()}
    assert hub.commits("me/talks") == ["copy: 1 file"]
    for note in (tmp_path / "out" / "_ledger" / "after").glob("publish*"):
        note.unlink()
    Pipeline("copy", stages, [JoinParts(), PublishToHub("me/talks")]).run(LocalExecutor())
    assert hub.kinds().count("commit") == 1, "it is compared by its hash"


# Again ---------------------------------------------------------------------------------------------------------


def test_again_asks_once(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out")
    hub.requests.clear()
    run(files, tmp_path / "out")
    assert hub.kinds() == ["info"]


def test_only_what_has_changed_is_sent(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out")
    hub.requests.clear()
    (files / "3.npz").write_bytes(b"another " * 100)
    (files / "0.json").write_bytes(b'{"a": 1}')
    (files / "5.npz").write_bytes(b"a new one")
    run(files, tmp_path / "out")
    assert data_of(hub) == in_data(files)
    assert hub.commits("me/talks")[-1] == "publish: 3 files"
    assert hub.puts() == [hashlib.sha256((files / f"{n}.npz").read_bytes()).hexdigest() for n in (3, 5)]


def test_without_a_ledger_the_hub_is_asked_what_it_has(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out")
    hub.requests.clear()
    run(files, tmp_path / "elsewhere")
    assert set(hub.kinds()) == {"info", "tree", "resolve"}


def test_what_was_taken_from_the_hub_is_sent_again(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out")
    hub.create("me/talks")
    run(files, tmp_path / "out")
    assert data_of(hub) == in_data(files)
    assert len(hub.puts()) == 5


def test_only_the_card(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out")
    run(files, tmp_path / "out", license="cc0-1.0")
    assert hub.commits("me/talks") == ["publish: 6 files", "publish: dataset card"]
    assert "license: cc0-1.0" in hub.files("me/talks")["README.md"].decode()


def test_files_of_others_stay(hub: HubServer, files: Path, tmp_path: Path) -> None:
    hub.create("me/talks", files={"data/old.npz": b"old", "notes.txt": b"mine", "README.md": b"# Mine\n"})
    run(files, tmp_path / "out")
    assert data_of(hub) == {**in_data(files), "data/old.npz": b"old", "notes.txt": b"mine"}
    assert "# Mine\n" in hub.files("me/talks")["README.md"].decode()


def test_a_card_that_cannot_be_read_stops_it_before_anything_is_sent(
    hub: HubServer, files: Path, tmp_path: Path
) -> None:
    hub.create("me/talks", files={"README.md": b"---\na: [\n---\n"})
    with pytest.raises(ConfigurationError, match="the metadata of its README"):
        run(files, tmp_path / "out")
    assert hub.puts() == [] and hub.commits("me/talks") == []


def test_files_that_are_gone_stay_on_the_hub(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out")
    before = in_data(files)
    (files / "1.npz").unlink()
    (files / "2.npz").write_bytes(b"changed")
    run(files, tmp_path / "out")
    assert data_of(hub) == {**before, **in_data(files)}
    hub.create("me/other")
    run(files, tmp_path / "out", repo_id="me/other")
    assert data_of(hub, "me/other") == in_data(files)


def test_no_run_deletes_what_it_publishes(hub: HubServer, files: Path, tmp_path: Path) -> None:
    (files / ".0.npz.0123456789ab.tmp").write_bytes(b"of another run that goes on")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "6.npz").write_bytes(b"another")

    def held(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    before, published = held(files), in_data(files)
    del published["data/.0.npz.0123456789ab.tmp"]
    for overwrite in (False, False, True):
        run(files, tmp_path / "out", overwrite=overwrite)
        assert held(files) == before and data_of(hub) == published
    (files / "0.json").unlink()
    (files / "1.npz").write_bytes(b"changed")
    before = held(files)
    run(files, tmp_path / "out")
    assert held(files) == before
    with pytest.raises(ConfigurationError, match="holds the output of another configuration"):
        run(elsewhere, tmp_path / "out")
    run(elsewhere, tmp_path / "out", overwrite=True)
    assert held(files) == before and held(elsewhere) == {"6.npz": b"another"}
    assert data_of(hub) == {**published, "data/1.npz": b"changed", "data/6.npz": b"another"}


def test_a_run_with_a_limit_publishes_nothing_unless_told_to(
    hub: HubServer, files: Path, tmp_path: Path, warned: list[str]
) -> None:
    run(files, tmp_path / "out", limit=2)
    assert hub.kinds() == [] and "nothing is published in datasets/me/talks: the run has a limit" in warned[-1]
    run(files, tmp_path / "out", limit=2, publish_limited=True)
    assert len(data_of(hub)) == 2
    run(files, tmp_path / "out")
    assert data_of(hub) == in_data(files)


# What goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [429, 503, "drop", "lose"])
@pytest.mark.parametrize("kind", CALLS)
def test_a_hub_that_stumbles(kind: str, answer: int | str, hub: HubServer, files: Path, tmp_path: Path) -> None:
    hub.fail(kind, answer, times=2)
    run(files, tmp_path / "out", revision="new", num_files_per_commit=2)
    assert data_of(hub, revision="new") == in_data(files)
    assert len(hub.commits("me/talks", "new")) == 3, "no commit is made twice"
    expected = 5 + 2 * (kind == "put")
    assert len(hub.puts()) == expected
    assert hub.kinds().count(kind) > 2


def test_a_commit_in_the_way_of_another(hub: HubServer, files: Path, tmp_path: Path) -> None:
    hub.fail("commit", 412)
    run(files, tmp_path / "out")
    assert data_of(hub) == in_data(files) and len(hub.commits("me/talks")) == 1


@pytest.mark.parametrize("kind", CALLS)
def test_a_hub_that_is_down(kind: str, hub: HubServer, files: Path, tmp_path: Path) -> None:
    hub.fail(kind, 503, times=1000)
    with pytest.raises(StorageError, match=r"^\S+ answers 503, 7 times in a row; run the same command again") as raised:
        run(files, tmp_path / "out", revision="new")
    assert raised.value.exit_status == 1 and "\n" not in str(raised.value)
    assert hub.kinds().count(kind) == 7
    hub.fail(kind, 503, times=0)
    run(files, tmp_path / "out", revision="new")
    assert data_of(hub, revision="new") == in_data(files)
    assert len(hub.stored) == 5, "nothing is sent twice"


def test_what_was_sent_is_not_sent_again(hub: HubServer, files: Path, tmp_path: Path) -> None:
    hub.fail("preupload", 400, after=5, times=1)
    with pytest.raises(ConfigurationError):
        run(files, tmp_path / "out", num_files_per_commit=2)
    assert len(hub.commits("me/talks")) == 2
    run(files, tmp_path / "out", num_files_per_commit=2)
    assert data_of(hub) == in_data(files)
    assert len(hub.puts()) == len(set(hub.puts())) == 5


@pytest.mark.parametrize(
    ("kind", "status", "error", "said"),
    [
        ("info", 401, AccessError, "the Hub does not accept the token; set HF_TOKEN, or log in with: hf auth login"),
        (
            "commit",
            403,
            AccessError,
            "the token does not allow it (not now); with a token that may write to me, set HF",
        ),
        ("tree", 404, AccessError, "there is no such repository or branch, or the token may not see it; set HF_TOKEN"),
        ("preupload", 413, ConfigurationError, "the Hub refuses it with 413 (not now)"),
        ("put", 403, StorageError, "cannot send data/0.npz to datasets/me/talks: its storage answers 403 (not now)"),
    ],
)
def test_what_the_hub_refuses(
    kind: str, status: int, error: type[CuratorError], said: str, hub: HubServer, files: Path, tmp_path: Path
) -> None:
    hub.fail(kind, status, times=10)
    with pytest.raises(error) as raised:
        run(files, tmp_path / "out")
    message = str(raised.value)
    assert said in message and "datasets/me/talks" in message and "\n" not in message
    assert raised.value.__suppress_context__ and raised.value.__cause__ is None


def test_another_namespace(hub: HubServer, files: Path, tmp_path: Path) -> None:
    with pytest.raises(
        AccessError, match=r"^cannot create datasets/you/talks: the token does not allow it \(You don't"
    ):
        run(files, tmp_path / "out", repo_id="you/talks")


def test_an_unknown_licence(hub: HubServer, files: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r'cannot commit to .*Invalid metadata .*"license" must be one of'):
        run(files, tmp_path / "out", license="no-such-licence")


def test_a_file_that_changes_on_the_way(
    hub: HubServer, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(*arguments: Any) -> Any:
        (files / "2.npz").write_bytes(b"written again")
        return card_of(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publish_module, "card_of", change)
        with pytest.raises(StorageError, match=r"in/2\.npz has changed since it was hashed; run again"):
            run(files, tmp_path / "out")
    run(files, tmp_path / "out")
    assert data_of(hub) == in_data(files)


def test_without_the_client(monkeypatch: pytest.MonkeyPatch, files: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'curator-audio\[hub\]'"):
        run(files, tmp_path / "out")


# The token -----------------------------------------------------------------------------------------------------


def test_no_token(hub: HubServer, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(
        ConfigurationError, match="publishing to datasets/me/talks needs a token of the Hub; set HF_TOKEN"
    ):
        run(files, tmp_path / "out")
    assert hub.requests == [] and not (tmp_path / "out" / "_ledger").exists()


@pytest.mark.parametrize("token", ["hf_ä", "hf_a b", "hf_a\tb"])
def test_a_token_that_cannot_be_sent_is_not_shown(
    token: str, hub: HubServer, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ConfigurationError, match="holds characters that no token has") as raised:
        run(files, tmp_path / "out")
    assert "hf_" not in str(raised.value)


def test_a_server_that_repeats_the_token(hub: HubServer, files: Path, tmp_path: Path) -> None:
    hub.fail("info", 403, X_Error_Message=f"not with {TOKEN}")
    with pytest.raises(AccessError, match="not with …") as raised:
        run(files, tmp_path / "out")
    assert TOKEN not in str(raised.value)


def test_the_storage_does_not_get_the_token(hub: HubServer, files: Path, tmp_path: Path) -> None:
    run(files, tmp_path / "out")
    assert all("authorization" not in request.headers for request in hub.requests if request.kind == "put")


# Files from elsewhere ------------------------------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_files_pass_through_the_scratch_one_by_one(
    hub: HubServer, s3_bucket: str, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {f"{number}.npz": bytes([number]) * 100_000 for number in range(5)} | {"0.json": b"{}"}
    for name, data in contents.items():
        Storage().write(f"{s3_bucket}/in/{name}", data)
    sizes: list[int] = []
    upload = publish_module.Repository.upload

    def watched(self: Any, path: str, source: Any) -> Any:
        sizes.append(sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file()))
        return upload(self, path, source)

    monkeypatch.setattr(publish_module.Repository, "upload", watched)
    run(f"{s3_bucket}/in", tmp_path / "out")
    assert data_of(hub) == {f"data/{name}": data for name, data in sorted(contents.items())}
    assert max(sizes) == 100_000 and list(scratch.iterdir()) == []
    hub.requests.clear()
    run(f"{s3_bucket}/in", tmp_path / "out")
    assert hub.kinds() == ["info"]
    Storage().write(f"{s3_bucket}/in/0.npz", b"changed")
    run(f"{s3_bucket}/in", f"{s3_bucket}/out")
    assert hub.puts() == [hashlib.sha256(b"changed").hexdigest()]


# Parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"repo_id": "talks"}, "repo_id is 'talks'; give namespace/name"),
        ({"repo_id": "datasets/me/talks"}, "repo_id is"),
        ({"repo_id": "me/a--b"}, "repo_id is"),
        ({"repo_id": "me/talks.git"}, "repo_id is"),
        ({"repo_id": ""}, "repo_id is ''"),
        ({"revision": ""}, "revision is ''; give the name of a branch"),
        *(
            ({"revision": name}, f"revision is '{name}'")
            for name in ("refs/pr/1", "a..b", "a.lock", "../x", "a/", "-a")
        ),
        ({"private": "yes"}, "private is 'yes'; give true or false"),
        ({"num_files_per_commit": 0}, "num_files_per_commit is 0; give a whole number of at least 1"),
        ({"num_files_per_commit": True}, "num_files_per_commit is True"),
        ({"commit_message": " "}, "commit_message is ' '; give a text, or null"),
        ({"license": 4}, "license is 4"),
        ({"tags": "audio"}, "tags is 'audio'; give a list of words"),
        ({"tags": [1]}, "tags is"),
    ],
)
def test_parameters_are_checked(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{said}"):
        PublishToHub(**{"repo_id": "me/talks", **parameters})


def test_an_endpoint_that_is_no_url(files: Path, tmp_path: Path, hub: HubServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "localhost:8000")
    with pytest.raises(ConfigurationError, match="HF_ENDPOINT is 'localhost:8000'; give a URL"):
        run(files, tmp_path / "out")


# A run that has lost its folder --------------------------------------------------------------------------------


@pytest.mark.parametrize("lost_before", ["create", "preupload"])
def test_a_run_that_lost_its_lock_commits_nothing(
    lost_before: str, hub: HubServer, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "FRESH_SEC", 0.0)
    step, lock = Repository.create if lost_before == "create" else Repository.upload, tmp_path / "out/_ledger/lock.json"

    def losing(*arguments: Any) -> Any:
        lock.write_text('{"token": "another"}')
        return step(*arguments)

    monkeypatch.setattr(Repository, step.__name__, losing)
    with pytest.raises(LockLostError, match="another run has taken the lock"):
        run(files, tmp_path / "out")
    assert "me/talks" not in hub.repos if lost_before == "create" else hub.commits("me/talks") == []
