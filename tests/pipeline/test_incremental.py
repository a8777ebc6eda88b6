"""Folders of files that grow and change between runs, and runs over them that are killed."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.executors.base import Executor
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.ledger import Ledger
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.dry_run import dry_run
from curator_audio.report.result import RunResult
from curator_audio.stages.base import ProcessingStage, QuarantinedRecord
from curator_audio.stages.general import CallFunctionStage
from curator_audio.stages.io import ManifestWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.storage import atomic_file
from curator_audio.storage.storage import Storage, join
from curator_audio.tasks import AudioBatch, Record
from tests.killing import KILLED
from tests.processes import run_python
from tests.text_trees import TextTreeReader, write_tree

Texts = dict[str, str]

processed: list[str] = []
"""What ``Noting`` has seen since it was last emptied."""


@dataclass
class Noting(RecordStage):
    name = "noting"

    def process_record(self, record: Record) -> Record:
        processed.append(record["audio_filepath"])
        if record["text"] == "bad":
            raise RecordError("bad_text", "it is bad")
        if record["text"] == "fatal":
            raise MemoryError("no room")
        return record


def pipeline(root: str, output_path: str, partition_size_mb: float = 0.0, *stages: Any) -> Pipeline:
    after = [JoinParts()] if output_path.endswith(".jsonl") else []
    reader = TextTreeReader(root, partition_size_mb)
    return Pipeline("test", [reader, *(stages or [Noting()]), ManifestWriterStage(output_path)], after=after)


def run(root: str, output_path: str, partition_size_mb: float = 0.0, **options: Any) -> tuple[RunResult, list[str]]:
    """What came of a run in this process, and the files it processed."""
    processed.clear()
    result = pipeline(root, output_path, partition_size_mb).run(LocalExecutor(), **options)
    return result, list(processed)


def shards(out: str) -> list[str]:
    """The names of the shards in a folder, in order."""
    files = Storage().list_files(out, max_depth=1)
    return [file.path.rpartition("/")[2] for file in files if file.path.endswith(".jsonl")]


def records(out: str) -> list[tuple[str, str]]:
    """Path and text of all records in the shards of a folder, or in a file, in order."""
    paths = [out] if out.endswith(".jsonl") else [join(out, name) for name in shards(out)]
    lines = [json.loads(line) for path in paths for line in Storage().read(path).splitlines()]
    return [(line["audio_filepath"], line["text"]) for line in lines]


def loaded(out: str) -> Ledger:
    ledger = Ledger(Storage(), out)
    ledger.load()
    return ledger


def files(folder: str) -> set[str]:
    return {file.path.removeprefix(f"{folder}/") for file in Storage().list_files(folder)}


@pytest.fixture(params=["local", "s3"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("s3_bucket") if request.param == "s3" else str(tmp_path)


# A folder that grows -----------------------------------------------------------------------------------------

TREE = {"b/1.txt": "1", "b/2.txt": "2", "c/1.txt": "1", "d/1.txt": "1"}


def test_new_changed_and_vanished_files(base: str) -> None:
    root, out = f"{base}/tree", f"{base}/out"
    write_tree(root, TREE)
    _, seen = run(root, out)
    assert (seen, records(out)) == (list(TREE), list(TREE.items()))

    result, seen = run(root, out)
    assert (seen, result.num_done_before) == ([], 3)

    now = TREE | {"a/1.txt": "1", "b/0.txt": "0"}  # a folder that sorts first, and one more file of an old one
    write_tree(root, now, TREE)
    result, seen = run(root, out)
    assert seen == ["b/0.txt", "b/1.txt", "b/2.txt", "a/1.txt"], "the partition of the old folder, and the new one"
    assert result.num_done_before == 2 and result.num_output_records == 6
    assert records(out) == [("b/0.txt", "0"), *TREE.items(), ("a/1.txt", "1")]

    changed = now | {"b/2.txt": "changed"}
    write_tree(root, changed, now)
    result, seen = run(root, out)
    assert seen == ["b/0.txt", "b/1.txt", "b/2.txt"], "those of its partition, and no others"
    assert sorted(records(out)) == sorted(changed.items())

    gone = {key: text for key, text in changed.items() if not key.startswith("c/")}
    write_tree(root, gone, changed)
    result, seen = run(root, out)
    assert seen == [] and result.num_kept == 1
    assert sorted(records(out)) == sorted(changed.items()), "what came of files that have vanished is kept"
    assert result.num_output_records == 6

    back = changed | {"c/1.txt": "back"}
    write_tree(root, back, gone)
    assert run(root, out)[1] == ["c/1.txt"]
    assert sorted(records(out)) == sorted(back.items())


def test_a_partition_that_is_done_again_has_what_is_there(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, TREE)
    run(root, out)
    now = {key: text for key, text in TREE.items() if key != "b/1.txt"} | {"b/2.txt": "changed"}
    write_tree(root, now, TREE)
    assert run(root, out)[1] == ["b/2.txt"]
    assert sorted(records(out)) == sorted(now.items())

    write_tree(root, TREE, now)  # the first of its files, after which it was named, is back
    assert run(root, out)[1] == ["b/1.txt", "b/2.txt"]
    assert records(out) == list(TREE.items())
    assert run(root, out)[1] == []


def test_files_that_vanished_are_reported(tmp_path: Path) -> None:
    from loguru import logger

    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, TREE)
    run(root, out)
    write_tree(root, {"b/2.txt": "changed", "c/1.txt": "1"}, TREE)
    messages: list[str] = []
    sink = logger.add(lambda message: messages.append(message.record["message"]), level="WARNING")
    try:
        run(root, out)
    finally:
        logger.remove(sink)
    assert messages == [
        "1 file(s) that an earlier run read are gone; their output is kept",
        "1 file(s) that an earlier run read are gone, and so is their output: others that they were put together with "
        "have changed, and are done again without them",
    ]
    assert sorted(records(out)) == [("b/2.txt", "changed"), ("c/1.txt", "1"), ("d/1.txt", "1")]


def test_what_has_neither_source_nor_output_any_more_is_forgotten(tmp_path: Path, warned: list[str]) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out.jsonl"
    write_tree(root, TREE)
    run(root, out)
    left = {key: text for key, text in TREE.items() if not key.startswith("d/")}
    write_tree(root, left, TREE)
    os.remove(out)
    assert run(root, out)[0].failures == {}
    assert sorted(records(out)) == sorted(left.items())
    assert (
        len(warned) == 1 and "partition(s) of an earlier run are forgotten, as source and output are gone" in warned[0]
    )
    assert run(root, out)[1] == [] and len(warned) == 1


paths = st.builds("{}/{}.txt".format, st.sampled_from("abc"), st.integers(0, 2))
trees = st.dictionaries(paths, st.sampled_from(["one", "two!", "bad"]), min_size=1, max_size=7)


@settings(deadline=None, max_examples=60)
@given(st.lists(trees, min_size=2, max_size=4), st.integers(0, 8))
def test_any_history_of_a_folder(history: list[Texts], limit: int) -> None:
    base = f"memory://{uuid.uuid4().hex}"
    root, out = f"{base}/tree", f"{base}/out"
    before: Texts = {}
    made: dict[str, Texts] = {}  # of each partition what was in its files when it was done
    for texts in history:
        write_tree(root, texts, before)
        written = {key for key, text in texts.items() if before.get(key) != text}
        result, seen = run(root, out, partition_size_mb=limit / 2**20)

        known = {key: name for name, of in made.items() for key in of}
        where: dict[str, str] = {}  # of each folder the partition that has the first of its files that is still there
        for key in sorted(texts.keys() & known.keys()):
            where.setdefault(key[0], known[key])
        joining = {key: where[key[0]] for key in texts.keys() - known.keys() if key[0] in where}
        now = {name: {*of, *(key for key, joined in joining.items() if joined == name)} for name, of in made.items()}
        again = {name: {k: texts[k] for k in of if k in texts} for name, of in now.items() if written & of}
        alone = texts.keys() - known.keys() - joining.keys()
        assert sorted(seen) == sorted([*(key for of in again.values() for key in of), *alone])
        new = {
            e.partition: {k: texts[k] for k in e.inputs.unpacked()} for e in result.entries if e.partition not in made
        }
        made |= again | new
        assert {entry.partition: set(entry.inputs.unpacked()) for entry in result.entries} == {
            n: set(of) for n, of in made.items()
        }
        expected = Counter((key, text) for of in made.values() for key, text in of.items() if text != "bad")
        assert Counter(records(out)) == expected
        assert result.num_output_records == sum(expected.values())
        assert shards(out) == sorted(shards(out)) and not any("started" in name for name in files(out))
        before = texts


# Joined into one file ----------------------------------------------------------------------------------------


def test_the_joined_file_has_earlier_files_first(base: str) -> None:
    root, out = f"{base}/tree", f"{base}/out/all.jsonl"
    write_tree(root, TREE)
    run(root, out)
    assert records(out) == list(TREE.items())
    now = TREE | {"a/1.txt": "1"}
    write_tree(root, now, TREE)
    assert run(root, out)[1] == ["a/1.txt"]
    assert records(out) == list(now.items())
    assert run(root, out)[1] == []


def test_a_run_killed_over_a_joined_file_can_be_started_again(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out/all.jsonl"
    write_tree(root, TREE)
    run(root, out)
    now = TREE | {"a/1.txt": "1"}
    write_tree(root, now, TREE)
    with killed_at(2):
        run(root, out)
    assert run(root, out)[1] == ["a/1.txt"]
    assert records(out) == list(now.items())


# Runs that are killed ----------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@contextmanager
def killed_at(commit: int, when: str = "before") -> Iterator[None]:
    """Has what runs in the block killed as its n-th file is about to appear, or just has."""
    real = atomic_file.LocalAtomicFile._commit
    num = 0

    def counted(self: atomic_file.LocalAtomicFile) -> None:
        nonlocal num
        num += 1
        if num < commit or (num == commit and when == "after"):
            real(self)
        if num >= commit:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic_file.LocalAtomicFile, "_commit", counted)
        with pytest.raises(Killed):
            yield


def leftovers(out: str) -> set[str]:
    """What lies in an output folder, and no ledger entry names."""
    ledger = loaded(out)
    listed = {part.path for entry in ledger.entries.values() for part in [*entry.parts, *entry.quarantine]}
    return files(out) - listed - {"metrics.json", "_ledger/configuration.json", "_ledger/entries.jsonl"}


BAD_TREE = {"b/1.txt": "1", "b/2.txt": "bad", "c/1.txt": "1", "d/1.txt": "1", "e/1.txt": "1"}


# A run commits the configuration, the note, and for each partition part, quarantine if there is any, and entry.
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [2, 3, 4, 5, 6, 7, 11, 12, 13])
def test_killed_and_started_again_on_another_tree(commit: int, when: str, tmp_path: Path) -> None:
    """With the first files gone and others come, no partition has the name of the one that was begun."""
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, BAD_TREE)
    with killed_at(commit, when):
        run(root, out)
    done = {key for entry in loaded(out).entries.values() for key in entry.inputs.unpacked()}
    now = {"a/1.txt": "1", "c/1.txt": "1", "d/0.txt": "0", "d/1.txt": "bad"}
    write_tree(root, now, BAD_TREE)

    _, seen = run(root, out)

    assert sorted(seen) == [key for key in now if key not in done or now[key] != BAD_TREE[key]]
    kept = {key: BAD_TREE[key] for key in done if key not in now}
    expected = {key: text for key, text in (kept | now).items() if text != "bad"}
    assert sorted(records(out)) == sorted(expected.items())
    assert leftovers(out) == set()
    assert run(root, out)[1] == []


@pytest.mark.parametrize("limit", [0, 3])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("commit", [3, 5, 6, 8])
def test_killed_and_started_again_gives_the_same_files(commit: int, when: str, limit: int, tmp_path: Path) -> None:
    root, out, expected = f"{tmp_path}/tree", f"{tmp_path}/out", f"{tmp_path}/expected"
    write_tree(root, BAD_TREE)
    run(root, expected, limit / 2**20)
    with killed_at(commit, when):
        run(root, out, limit / 2**20)
    run(root, out, limit / 2**20)
    assert files(out) == files(expected)
    for name in shards(out):
        assert Storage().read(join(out, name)) == Storage().read(join(expected, name))


def test_what_was_begun_stays_together(tmp_path: Path) -> None:
    """A run that got as far as its second partition only, as workers that are not equally fast may have it."""
    root, out, expected = f"{tmp_path}/tree", f"{tmp_path}/out", f"{tmp_path}/expected"
    tree = {"a/1.txt": "xx", "b/1.txt": "xx", "c/1.txt": "xxx", "d/1.txt": "x", "e/1.txt": "x"}
    write_tree(root, tree)
    run(root, expected, 4 / 2**20)
    with killed_at(6):  # as the second entry appears
        run(root, out, 4 / 2**20)
    (name,) = (name for name in shards(out) if name.startswith("000000"))
    os.remove(f"{out}/{name}")
    os.remove(f"{out}/_ledger/entries/{name.removesuffix('.jsonl')}.json")
    for seen in ([*tree], []):
        assert run(root, out, 4 / 2**20)[1] == seen
        assert shards(out) == shards(expected) and records(out) == records(expected)


@dataclass
class FreeTextTreeReader(TextTreeReader):
    free_parameters: ClassVar[tuple[str, ...]] = ("partition_size_mb",)


def test_what_was_begun_does_not_bind_a_run_that_may_choose(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, TREE)

    def run_with(size: float) -> list[int]:
        stages = [FreeTextTreeReader(root, size), Noting(), ManifestWriterStage(out)]
        return [entry.inputs.num for entry in Pipeline("test", stages).run(LocalExecutor()).entries]

    with killed_at(6):  # as the second entry appears
        run_with(0)
    assert len(shards(out)) == 2
    assert run_with(1) == [2, 2]
    assert records(out) == list(TREE.items()) and leftovers(out) == set()


KILLED_RUN = (
    KILLED
    + """
from tests.pipeline.test_incremental import run
run(sys.argv[1], sys.argv[2])
"""
)


def test_killed_for_good(tmp_path: Path) -> None:
    """As above, by the system: lock and temporary files stay too."""
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, BAD_TREE)
    killed = run_python(KILLED_RUN, root, out, 8)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert any(name.endswith(".tmp") for name in files(out))
    write_tree(root, {"a/1.txt": "1"}, BAD_TREE)
    assert run(root, out)[1] == ["a/1.txt"]
    assert sorted(records(out)) == [("a/1.txt", "1"), ("b/1.txt", "1"), ("c/1.txt", "1")]
    assert leftovers(out) == set()


def test_overwriting_after_a_kill_leaves_nothing(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, BAD_TREE)
    with killed_at(7):
        run(root, out)
    assert len(shards(out)) == 2
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write_tree(root, {"a/1.txt": "1"}, BAD_TREE)
    with pytest.raises(ConfigurationError, match="holds the output of another configuration"):
        run(root, out, partition_size_mb=1)
    run(root, out, partition_size_mb=1, overwrite=True)
    assert records(out) == [("a/1.txt", "1")]
    assert leftovers(out) == {"notes.txt"}


def test_overwrite_deletes_no_folder_that_is_read(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, {"a/1.txt": "1"})
    made = Pipeline("made", [TextTreeReader(root), Noting(), ManifestWriterStage(f"{tmp_path}/texts")])
    made.run(LocalExecutor(), output_dir=out)
    write_tree(f"{tmp_path}/texts", {"mine.txt": "1"})
    reading = Pipeline("r", [TextTreeReader(f"{tmp_path}/texts"), Noting(), ManifestWriterStage(f"{tmp_path}/new")])
    before = files(f"{tmp_path}/texts")
    with pytest.raises(ConfigurationError, match=r"overwrite=true would delete .*texts/.*, which is read"):
        reading.run(LocalExecutor(), output_dir=out, overwrite=True)
    assert files(f"{tmp_path}/texts") == before
    made.run(LocalExecutor(), output_dir=out, overwrite=True)


def test_a_partition_that_failed_stays_together(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    tree = {"a/1.txt": "1", "b/1.txt": "fatal", "b/2.txt": "2", "c/1.txt": "1"}
    write_tree(root, tree)
    result, _ = run(root, out)
    (failed,) = result.failures
    assert sorted(records(out)) == [("a/1.txt", "1"), ("c/1.txt", "1")]
    for _ in range(2):
        result, seen = run(root, out)
        assert set(seen) == {"b/1.txt"} and list(result.failures) == [failed]

    now = tree | {"b/1.txt": "1", "b/0.txt": "0"}
    write_tree(root, now, tree)
    result, seen = run(root, out)
    assert seen == ["b/0.txt", "b/1.txt", "b/2.txt"]
    assert [list(entry.inputs.unpacked()) for entry in result.entries if entry.partition == failed] == [
        ["b/0.txt", "b/1.txt", "b/2.txt"]
    ]
    assert sorted(records(out)) == sorted(now.items())
    assert leftovers(out) == set()


def test_a_dry_run_changes_nothing_after_a_kill(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, BAD_TREE)
    with killed_at(8):
        run(root, out)
    before = files(out)
    assert "partitions: 2 to do, 2 done before" in dry_run(pipeline(root, out), LocalExecutor(), out, {})
    assert files(out) == before


# Outputs that lie where input is read ------------------------------------------------------------------------


def test_an_output_below_the_input_is_refused(tmp_path: Path) -> None:
    write_tree(f"{tmp_path}/tree", TREE)
    for output, why in (
        ("tree/out", "lies in .*tree, which is read; choose another output"),
        ("tree", "is read, and would be written too"),
        (".", "is read, and would be written too"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            run(f"{tmp_path}/tree", f"{tmp_path}/{output}")
    os.symlink(tmp_path / "tree", tmp_path / "link")
    with pytest.raises(ConfigurationError, match="lies in"):
        run(f"{tmp_path}/tree", f"{tmp_path}/link/out")


def test_beside_a_single_file_there_may_be_output(tmp_path: Path) -> None:
    write_tree(f"{tmp_path}/tree", TREE)
    result, seen = run(f"{tmp_path}/tree/b/1.txt", f"{tmp_path}/tree/b/out")
    assert (seen, records(result.output_path)) == (["1.txt"], [("1.txt", "1")])
    assert run(f"{tmp_path}/tree/b/1.txt", f"{tmp_path}/tree/b/out")[1] == []


# On Ray ------------------------------------------------------------------------------------------------------


def test_on_ray(s3_bucket: str, tmp_path: Path, ray_session: None) -> None:
    root, out, log = f"{s3_bucket}/tree", f"{s3_bucket}/out", tmp_path / "log"

    def run_on_ray(executor: Executor) -> tuple[RunResult, list[str]]:
        log.write_text("")
        noting = CallFunctionStage("tests.functions.noted", {"log_path": str(log)})
        result = pipeline(root, out, 0.0, noting).run(executor)
        return result, sorted(log.read_text().splitlines())

    tree = {f"{folder}/{n}.txt": f"{n}" for folder in "bcdefgh" for n in range(2)}
    write_tree(root, tree)
    result, seen = run_on_ray(RayActorsExecutor(num_workers=2))
    assert seen == sorted(tree) and len(result.entries) == 7
    assert records(out) == list(tree.items()), "the names of shards sort as the folders do"

    now = tree | {"a/0.txt": "new", "c/1.txt": "changed"}
    write_tree(root, now, tree)
    result, seen = run_on_ray(RayActorsExecutor(num_workers=2))
    assert seen == ["a/0.txt", "c/0.txt", "c/1.txt"]
    assert sorted(records(out)) == sorted(now.items())
    assert run_on_ray(LocalExecutor())[1] == []


# Partitions that are worked on together ----------------------------------------------------------------------


@dataclass
class PoolingStage(ProcessingStage[AudioBatch, AudioBatch]):
    """Takes several partitions at once, and sets bad records aside as it was given them, or as it has changed them."""

    changes: bool

    name = "pooling"
    batch_size = 3

    def process(self, task: AudioBatch) -> AudioBatch:
        return self.process_batch([task])[0]

    def process_batch(self, tasks: Sequence[AudioBatch]) -> list[AudioBatch]:
        for task in tasks:
            for record in task.records:
                if "bad" in record["tags"]:
                    given = {**record, "seen": True} if self.changes else record
                    bad = QuarantinedRecord(task.source_path, -1, self.name, "bad_text", "it is bad", given)
                    self.observed.quarantined.append(bad)
        return [AudioBatch([r for r in task.records if "bad" not in r["tags"]], task.source_path) for task in tasks]


@dataclass
class Tagging(RecordStage):
    name = "tagging"

    def process_record(self, record: Record) -> Record:
        return {**record, "tags": [record["text"]]}


@pytest.mark.parametrize("changes", [False, True])
def test_bad_records_are_told_with_their_own_partition(changes: bool, tmp_path: Path) -> None:
    """Files of one folder have the same source and no offsets."""
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"
    write_tree(root, {"a/1.txt": "1", "b/1.txt": "bad", "c/1.txt": "bad", "d/1.txt": "1"})
    result = pipeline(root, out, 0.0, Tagging(), PoolingStage(changes)).run(LocalExecutor())
    told = {next(iter(entry.inputs.unpacked())): entry.quarantined for entry in result.entries}
    assert told == {"a/1.txt": {}, "b/1.txt": {"bad_text": 1}, "c/1.txt": {"bad_text": 1}, "d/1.txt": {}}
    for entry in result.entries:
        for part in entry.quarantine:
            line = json.loads((tmp_path / "out" / part.path).read_text())
            assert line["record"]["audio_filepath"] in entry.inputs.unpacked()
