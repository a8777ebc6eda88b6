"""Trees of ``.npz`` segments: written, given codes in their place, and made again."""

from __future__ import annotations

import io
import os
import shutil
import signal
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.executors.base import Executor
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.result import RunResult
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.speech import NpzReaderStage, NpzWriterStage, SelectChannelsStage
from curator_audio.stages.speech.npz import record_of_npz
from curator_audio.storage.names import short_name
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.killing import KILLED
from tests.processes import run_python
from tests.segments import RATE, FakeCodecStage, fake_codes, npz, segment
from tests.text_trees import TextTreeReader, write_tree


def write(root: str, files: dict[str, bytes]) -> None:
    for key, data in files.items():
        Storage().write(f"{root}/{key}", data)


def files(root: str) -> dict[str, bytes]:
    """All files of a tree by path, without what a run keeps for itself."""
    found = {info.path.removeprefix(f"{root}/"): info.path for info in Storage().list_files(root)}
    return {
        key: Storage().read(path)
        for key, path in found.items()
        if not key.startswith(("_ledger/", "quarantine/part-")) and key != "metrics.json"
    }


def members(data: bytes) -> dict[str, bytes]:
    """What is in an ``.npz`` file besides codes."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist() if name != "codes.npy"}


def codes(data: bytes) -> list[int]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        found: list[int] = arrays["codes"].tolist()
        return found


def expected_codes(data: bytes) -> list[int]:
    return fake_codes(record_of_npz(data, "a_seg_0", None, RATE).record)


def write_batch(out: str, *records: Record) -> tuple[list[Any], NpzWriterStage]:
    writer = NpzWriterStage(out)
    return writer.write(Storage(), f"{out}/unused.npz", [AudioBatch(list(records), "somewhere")]), writer


# Long names ------

LONG = ["あ" * 82, "x" * 250, "🎙" * 60, "x" * 249 + "é"]
"""Names of recordings that are too long for files of segments; the last two differ behind the cut."""


def ids_with_codes(root: str) -> list[str]:
    """Give the segments of a tree codes in place; returns which there are."""
    stages = [NpzReaderStage(root), FakeCodecStage(os.devnull), NpzWriterStage(root)]
    Pipeline("encode", stages).run(LocalExecutor())
    reader = NpzReaderStage(root)
    batches = (batch for partition in reader.partitions() for batch in reader.process(partition))
    return [record["segment_id"] for batch in batches for record in batch.records if record["codes"]]


def test_names_too_long_for_a_file_are_shortened(tmp_path: Path) -> None:
    out = f"{tmp_path}/npz"
    ids = [f"{name}_seg_{number}" for name in [*LONG, "short"] for number in (0, 10)]
    records = [segment(segment_id, channel="ب" * 200) for segment_id in ids]
    parts, writer = write_batch(out, *records)
    assert not writer.observed.quarantined and len({part.path for part in parts}) == len(ids)
    assert all(len(name.encode()) <= 255 for part in parts for name in part.path.split("/"))
    assert [part.path for part in write_batch(out, *records)[0]] == [part.path for part in parts], "the same each time"

    folder = short_name("ب" * 200)
    assert sorted(ids_with_codes(out)) == sorted(f"{folder}/{name}" for name in ids), "whole names again"
    assert {f"{out}/{key}" for key in files(out)} == {part.path for part in parts}, "they got codes in place"


# Elsewhere ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["local", "s3"])
def test_a_file_a_segment(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    out = f"{request.getfixturevalue('s3_bucket')}/npz" if store == "s3" else f"{tmp_path}/npz"
    segments = [segment(f"show_seg_{k}", codes=[k]) for k in range(70)] + [segment("b_seg_0", channel=None)]

    parts, writer = write_batch(out, *segments)

    found = files(out)
    assert list(found) == sorted(["b_seg_0.npz", *(f"news/show_seg_{k}.npz" for k in range(70))])
    assert [(p.path.removeprefix(f"{out}/"), p.num_records) for p in parts][::70] == [
        ("news/show_seg_0.npz", 1),
        ("b_seg_0.npz", 1),
    ]
    assert all(p.num_bytes == len(found[p.path.removeprefix(f"{out}/")]) for p in parts)
    again = record_of_npz(found["news/show_seg_7.npz"], "show_seg_7", "news", RATE).record
    assert again == {**segments[7], "segment_id": "news/show_seg_7"}
    assert writer.observed.quarantined == []


def test_what_cannot_be_written_is_set_aside_by_itself(tmp_path: Path) -> None:
    out = f"{tmp_path}/npz"
    bad = {
        "missing_audio": segment("b_seg_0", audio=None),
        "unreadable_audio": segment("c_seg_0", audio={"bytes": b"no sound", "path": None}),
        "path_leaves_root": segment("d_seg_0", channel=".."),
        "missing_field": segment("", text="nobody"),
        "duplicate_segment": segment("a_seg_0", text="a second one"),
        "wrong_type": segment("e_seg_0", codes=["x"]),
    }
    parts, writer = write_batch(out, segment("a_seg_0", text="first"), *bad.values(), segment("f_seg_0"))
    assert list(files(out)) == ["news/a_seg_0.npz", "news/f_seg_0.npz"]
    assert [part.num_records for part in parts] == [1, 1]
    aside = {q.reason: q.record for q in writer.observed.quarantined}
    assert aside == bad
    assert record_of_npz(files(out)["news/a_seg_0.npz"], "a_seg_0", "news", RATE).record["text"] == "first"


def test_what_is_set_aside_tells_the_file_it_came_from(tmp_path: Path) -> None:
    writer = NpzWriterStage(f"{tmp_path}/out")
    records = [segment("a_seg_0"), segment("a_seg_0"), segment("b_seg_0", audio=None)]
    writer.write(Storage(), "unused", [AudioBatch(records, "in", paths=["in/0.npz", "in/1.npz", "in/2.npz"])])
    assert [(q.source_path, q.reason) for q in writer.observed.quarantined] == [
        ("in/1.npz", "duplicate_segment"),
        ("in/2.npz", "missing_audio"),
    ]


@pytest.mark.parametrize("name", ["..", ".", "a\0b"])
def test_names_do_not_lead_elsewhere(name: str, tmp_path: Path) -> None:
    _, writer = write_batch(f"{tmp_path}/npz", segment(channel=name), segment(name))
    assert [q.reason for q in writer.observed.quarantined] == ["path_leaves_root"] * 2
    assert list(tmp_path.rglob("*")) == []


def test_a_second_segment_of_a_name_in_another_batch_is_set_aside(tmp_path: Path) -> None:
    writer = NpzWriterStage(f"{tmp_path}/npz")
    batches = [AudioBatch([segment("a_seg_0")]), AudioBatch([segment("a_seg_0"), segment("a_seg_1")])]
    assert len(writer.write(Storage(), "unused", batches)) == 2
    assert [q.reason for q in writer.observed.quarantined] == ["duplicate_segment"]


def test_a_folder_is_wanted() -> None:
    with pytest.raises(ConfigurationError, match=r"give a folder, each record has its own files"):
        NpzWriterStage("out.npz")


@dataclass
class Segmenting(RecordStage):
    """As many segments as the text of a file says."""

    name = "segmenting"

    def process_record(self, record: Record) -> list[Record]:
        recording = record["audio_filepath"].removesuffix(".txt").rpartition("/")[2]
        return [segment(f"{recording}_seg_{k}") for k in range(int(record["text"]))]


def test_files_that_are_not_made_any_more_go(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/npz"

    def run(**options: Any) -> RunResult:
        stages = [TextTreeReader(root, 0), Segmenting(), NpzWriterStage(out)]
        return Pipeline("test", stages).run(LocalExecutor(), **options)

    tree = {"a/one.txt": "3", "b/two.txt": "2"}
    write_tree(root, tree)
    run()
    all_files = [f"news/one_seg_{k}.npz" for k in range(3)] + [f"news/two_seg_{k}.npz" for k in range(2)]
    assert list(files(out)) == all_files
    (tmp_path / "npz" / "news" / "mine.npz").write_bytes(b"mine")

    write_tree(root, {"a/one.txt": "1", "b/two.txt": "2"}, tree)
    assert run().num_output_records == 3
    assert list(files(out)) == ["news/mine.npz", "news/one_seg_0.npz", *all_files[3:]]

    write_tree(root, {"a/one.txt": "1"}, tree)
    assert run(overwrite=True).num_output_records == 1
    assert list(files(out)) == ["news/mine.npz", "news/one_seg_0.npz"]


# In their place ----------------------------------------------------------------------------------------------

TREE = {
    "news/a_seg_0.npz": npz(0.1, gender=None),
    "news/a_seg_1.npz": npz(0.2, mine=np.array([{"deep": 1}], object)),
    "news/b_seg_0.npz": npz(0.1, 300, codes=[1, 2, 3]),
    "quarantine/c_seg_0.npz": npz(0.3),  # a channel that is called like a folder of ours
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


class InPlace:
    """A tree, the pipeline that gives it codes, and what it did."""

    def __init__(self, root: str, log: Path, output_dir: str | None = None, executor: Executor | None = None) -> None:
        self.root, self.log, self.output_dir = root, log, output_dir
        self.executor = executor or LocalExecutor()

    def run(self, *, output_path: str | None = None, size: float = 0.0, **options: Any) -> list[str]:
        """The segments that were encoded."""
        self.log.write_text("")
        reader, writer = NpzReaderStage(self.root, partition_size_mb=size), NpzWriterStage(output_path or self.root)
        stages = [reader, FakeCodecStage(str(self.log)), writer]
        self.result = Pipeline("encode", stages).run(self.executor, output_dir=self.output_dir, **options)
        return sorted(self.log.read_text().split())

    def check(self, before: dict[str, bytes]) -> None:
        """All files have codes, and nothing else about them has changed."""
        after = files(self.root)
        assert set(after) == set(before)
        for key, data in before.items():
            assert members(after[key]) == members(data), key
            assert codes(after[key]) == expected_codes(data), key


@pytest.fixture(params=["ledger inside", "ledger elsewhere", "s3"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, log: Path) -> InPlace:
    base = request.getfixturevalue("s3_bucket") if request.param == "s3" else str(tmp_path)
    write(f"{base}/npz", TREE)
    return InPlace(f"{base}/npz", log, f"{base}/ledger" if request.param == "ledger elsewhere" else None)


def test_files_get_codes_and_stay_as_they_are(tree: InPlace) -> None:
    assert tree.run() == ["news/a_seg_0", "news/a_seg_1", "news/b_seg_0", "quarantine/c_seg_0"]
    tree.check(TREE)
    assert tree.result.num_output_records == 4

    done = files(tree.root)
    assert tree.run() == [] and tree.result.num_done_before == 3
    assert files(tree.root) == done


def test_a_slash_at_the_end_makes_no_other_place(tmp_path: Path, log: Path) -> None:
    write(f"{tmp_path}/npz", TREE)
    tree = InPlace(f"{tmp_path}/npz", log)
    assert len(tree.run(output_path=f"{tmp_path}/npz/")) == 4
    tree.check(TREE)
    assert tree.run() == []


def test_new_and_changed_files_are_given_codes(tree: InPlace) -> None:
    tree.run()
    new = {"first/a_seg_0.npz": npz(0.4), "news/a_seg_2.npz": npz(0.5), "news/b_seg_0.npz": npz(0.6)}
    write(tree.root, new)
    assert tree.run() == ["first/a_seg_0", *(f"news/a_seg_{k}" for k in range(3)), "news/b_seg_0"]
    tree.check(TREE | new)
    assert tree.run() == []


def test_files_that_vanish_cause_nothing(tree: InPlace) -> None:
    tree.run()
    Storage().delete([f"{tree.root}/news/a_seg_0.npz"])
    left = {key: data for key, data in TREE.items() if key != "news/a_seg_0.npz"}
    assert tree.run() == []
    tree.check(left)
    write(tree.root, {"news/a_seg_1.npz": npz(0.7)})
    assert tree.run() == ["news/a_seg_1"]
    tree.check(left | {"news/a_seg_1.npz": npz(0.7)})


def test_the_users_files_are_never_deleted(tree: InPlace) -> None:
    """Neither those that turn bad and are quarantined, nor any when all is begun anew."""
    tree.run()
    write(tree.root, {"news/a_seg_0.npz": b"no npz any more", "news/a_seg_1.npz": npz(0.7)})
    assert tree.run() == ["news/a_seg_1"]
    assert files(tree.root)["news/a_seg_0.npz"] == b"no npz any more"
    assert dict(tree.result.quarantined) == {"not_npz": 1}

    tree.run(overwrite=True)
    tree.run(size=1.0, overwrite=True)
    assert set(files(tree.root)) == set(TREE)
    assert codes(files(tree.root)["news/a_seg_1.npz"]) == expected_codes(npz(0.7))


def test_a_tree_that_was_moved_is_the_same_tree(tmp_path: Path, log: Path) -> None:
    write(f"{tmp_path}/npz", TREE)
    InPlace(f"{tmp_path}/npz", log).run()
    shutil.move(f"{tmp_path}/npz", f"{tmp_path}/moved")
    moved = InPlace(f"{tmp_path}/moved", log)
    assert moved.run() == []
    assert len(moved.run(overwrite=True)) == 4
    moved.check(TREE)


def test_a_bad_file_does_not_keep_others_from_codes(tmp_path: Path, log: Path) -> None:
    """One that cannot be read at all, and one of which only a part that nobody reads is damaged."""
    damaged = bytearray(npz(0.1, notes=np.arange(1000)))
    with zipfile.ZipFile(io.BytesIO(damaged)) as file:
        place = file.getinfo("notes.npy").header_offset + 60
    damaged[place : place + 20] = bytes(20)
    bad = {"news/a_seg_2.npz": b"no npz", "news/a_seg_3.npz": bytes(damaged)}
    write(f"{tmp_path}/npz", TREE | bad)
    tree = InPlace(f"{tmp_path}/npz", log)
    tree.run()
    assert tree.result.quarantined == {"not_npz": 2}
    assert tree.result.num_output_records == 4 and tree.result.exit_status == 0
    assert {key: files(tree.root)[key] for key in bad} == bad
    assert tree.run() == []


def test_segments_cannot_change_their_names_where_they_are(tmp_path: Path, log: Path) -> None:
    write(f"{tmp_path}/npz", TREE)
    root = f"{tmp_path}/npz"
    reader = NpzReaderStage(root, channel_mapping={"news": "News"})
    message = r"no codes can be added to .*News/a_seg_0\.npz .*choose another output_path"
    with pytest.raises(ConfigurationError, match=message):
        Pipeline("encode", [reader, FakeCodecStage(str(log)), NpzWriterStage(root)]).run(LocalExecutor())
    assert files(root) == TREE

    out = f"{tmp_path}/renamed"
    stages = [NpzReaderStage(root), SelectChannelsStage(["News"], {"news": "News"}), NpzWriterStage(out)]
    Pipeline("rename", stages).run(LocalExecutor())
    names = ("a_seg_0", "a_seg_1", "b_seg_0")  # those of another channel, which may be mapped to News too, differ
    assert list(files(out)) == [f"News/news_{name}.npz" for name in names]


def test_one_place_by_two_names_is_refused(tmp_path: Path, log: Path, s3_bucket: str) -> None:
    """Files would be written anew, and lose what only their owner knows."""
    write(f"{tmp_path}/npz", TREE)
    os.symlink(tmp_path / "npz", tmp_path / "link")
    with pytest.raises(ConfigurationError, match=r"/npz and .*/link are the same place; write both the same way"):
        InPlace(f"{tmp_path}/npz", log).run(output_path=f"{tmp_path}/link")
    assert files(f"{tmp_path}/npz") == TREE

    write(f"{s3_bucket}/npz", {"news/a_seg_0.npz": TREE["news/a_seg_0.npz"]})
    with pytest.raises(ConfigurationError, match="are the same place"):
        InPlace(f"{s3_bucket}/npz", log).run(output_path=f"{s3_bucket}/npz".replace("s3://", "s3a://"))


KILLED_RUN = (
    KILLED
    + """
from pathlib import Path
from tests.stages.speech.test_npz_writer import InPlace
InPlace(sys.argv[1], Path(sys.argv[2])).run()
"""
)


# A run writes the configuration, the note, and of each partition its files and its entry.
@pytest.mark.parametrize("commit", [3, 4, 5, 6])
def test_killed_half_way_and_started_again(commit: int, tmp_path: Path, log: Path) -> None:
    root = f"{tmp_path}/npz"
    write(root, TREE)
    killed = run_python(KILLED_RUN, root, log, commit)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    for key, data in TREE.items():
        assert members(files(root)[key]) == members(data), "no file is ever half-written"
    assert any(key.endswith(".tmp") for key in files(root)) is (commit != 5)

    tree = InPlace(root, log)
    assert len(tree.run()) == 4 - 2 * (commit > 5)
    tree.check(TREE)
    assert tree.run() == []


def test_on_ray(s3_bucket: str, log: Path, ray_session: None) -> None:
    write(f"{s3_bucket}/npz", TREE)
    tree = InPlace(f"{s3_bucket}/npz", log, executor=RayActorsExecutor(num_workers=2))
    assert len(tree.run()) == 4
    tree.check(TREE)
    assert tree.run() == []


def test_cutting_again_keeps_the_codes_that_files_have_gained(tmp_path: Path) -> None:
    """As of recordings that are cut into the folder in which their segments were encoded."""
    stage = NpzWriterStage(str(tmp_path))
    stage.write(Storage(), "", [AudioBatch([segment(codes=[5, 7])], "elsewhere")])
    stage.write(Storage(), "", [AudioBatch([segment(text="corrected")], "elsewhere")])
    with np.load(tmp_path / "news" / "show_seg_0.npz") as arrays:
        assert (arrays["codes"].tolist(), str(arrays["text"])) == ([5, 7], "corrected")

    other_sound = segment(audio=segment("other_seg_1")["audio"])
    stage.write(Storage(), "", [AudioBatch([other_sound], "elsewhere")])
    with np.load(tmp_path / "news" / "show_seg_0.npz") as arrays:
        assert arrays["codes"].tolist() == []
