"""Writers of a file or several a record: what a newcomer writes, and what its base does about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.io import FileWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.storage.json_codec import encode_fields
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Part, Record
from tests.text_trees import TextTreeReader, write_tree


@dataclass
class TextAndWords(FileWriterStage):
    """A text, its words, and of what is urgent a third file."""

    name = "text_and_words"

    def files_of(self, record: Record) -> Mapping[str, bytes]:
        files = {".txt": record["text"].encode(), ".words.json": encode_fields({"words": record["text"].split()})}
        return files | ({".urgent": b""} if record.get("urgent") else {})


def write(writer: FileWriterStage, *records: Record, storage: Storage | None = None) -> list[Part]:
    return writer.write(storage or Storage(), "unused", [AudioBatch(list(records), "elsewhere")])


def told(writer: FileWriterStage) -> list[tuple[str, str]]:
    return [(bad.reason, bad.message) for bad in writer.observed.quarantined]


@pytest.mark.parametrize("store", ["local", "s3"])
def test_several_files_of_a_record_count_once(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    out = f"{request.getfixturevalue('s3_bucket')}/out" if store == "s3" else f"{tmp_path}/out"
    first = {"segment_id": "news/a", "channel": "news", "text": "so be it", "urgent": True}
    second = {"segment_id": "b", "text": "no"}
    parts = write(TextAndWords(out), first, second)
    assert [(part.path.removeprefix(f"{out}/"), part.num_records) for part in parts] == [
        ("news/a.txt", 1),
        ("news/a.words.json", 0),
        ("news/a.urgent", 0),
        ("b.txt", 1),
        ("b.words.json", 0),
    ]
    assert Storage().read(f"{out}/news/a.words.json") == b'{"words":["so","be","it"]}'
    assert all(Storage().info(part.path).version == part.version for part in parts)


def test_names_too_long_are_the_same_for_all_files_of_a_record(tmp_path: Path) -> None:
    for length in range(236, 260):
        name = "x" * (length - 6) + "_seg_3"
        parts = write(TextAndWords(str(tmp_path)), {"segment_id": name, "text": "a"})
        stems = {Path(part.path).name.removesuffix(".txt").removesuffix(".words.json") for part in parts}
        assert len(stems) == 1 and stems.pop().endswith("_seg_3")
        assert all(len(Path(part.path).name) <= 255 for part in parts)


def test_two_records_never_share_a_file(tmp_path: Path) -> None:
    @dataclass
    class Clashing(FileWriterStage):
        def files_of(self, record: Record) -> Mapping[str, bytes]:
            return {".json": b"all of " + record["segment_id"].encode(), ".words.json": b"words"}

    writer = Clashing(str(tmp_path))
    records = [{"segment_id": name} for name in ("a", "a.words", "b", "b")]
    parts = write(writer, *records)
    assert sorted(Path(part.path).name for part in parts) == ["a.json", "a.words.json", "b.json", "b.words.json"]
    assert (tmp_path / "a.words.json").read_bytes() == b"words"
    assert [(bad.reason, bad.record) for bad in writer.observed.quarantined] == [
        ("duplicate_segment", records[3]),
        ("duplicate_segment", records[1]),
    ]


class Odd(FileWriterStage):
    """Gives of a record what stands in it."""

    def files_of(self, record: Record) -> Any:
        return record["files"]() if callable(record["files"]) else record["files"]


def test_a_record_that_makes_trouble_is_set_aside_alone(tmp_path: Path) -> None:
    writer = Odd(str(tmp_path))
    files = {"a": {".txt": b"a"}, "b": lambda: {}["gone"], "c": {}, "": {".txt": b"c"}, "..": {".txt": b"d"}}
    assert len(write(writer, *({"segment_id": name, "files": what} for name, what in files.items()))) == 1
    assert [reason for reason, _ in told(writer)] == ["missing_field", "path_leaves_root", "KeyError", "no_files"]
    assert "test_file_writer.py" in told(writer)[2][1], "the line of code it came from"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, r"files_of of 'Odd' returned a NoneType; return {"),
        ({".txt": "a"}, "files_of of 'Odd' gave a str for '.txt'; give bytes"),
        ({"txt": b"a"}, "files_of of 'Odd' has 'txt'; give the end of a name"),
        ({"./../x": b"a"}, r"files_of of 'Odd' has '\./\.\./x'; give the end of a name"),
        ({1: b"a"}, "files_of of 'Odd' has 1; give the end of a name"),
    ],
)
def test_a_writer_that_is_wrong_ends_the_run(files: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        write(Odd(str(tmp_path)), {"segment_id": "a", "files": files})


@dataclass
class Segmenting(RecordStage):
    """As many records as the text of a file says."""

    name = "segmenting"

    def process_record(self, record: Record) -> list[Record]:
        recording = record["audio_filepath"].removesuffix(".txt").rpartition("/")[2]
        return [{"segment_id": f"{recording}_seg_{k}", "text": f"text {k}"} for k in range(int(record["text"]))]


def test_runs_count_records_and_delete_all_files_of_those_that_are_gone(tmp_path: Path) -> None:
    root, out = f"{tmp_path}/tree", f"{tmp_path}/out"

    def run() -> tuple[int, int, list[str]]:
        stages = [TextTreeReader(root, 0), Segmenting(), TextAndWords(out)]
        result = Pipeline("test", stages).run(LocalExecutor())
        names = sorted(path.name for path in Path(out).glob("*_seg_*"))
        return result.num_output_records, result.num_done_before, names

    tree = {"a/one.txt": "2", "b/two.txt": "1"}
    write_tree(root, tree)
    assert run() == (
        3,
        0,
        [f"{name}{suffix}" for name in ("one_seg_0", "one_seg_1", "two_seg_0") for suffix in (".txt", ".words.json")],
    )
    assert run()[:2] == (3, 2)
    Path(f"{out}/two_seg_0.words.json").unlink()
    assert run()[:2] == (3, 1), "a record of which a file is missing is made again"
    write_tree(root, {"a/one.txt": "1", "b/two.txt": "1"}, tree)
    assert run() == (2, 1, ["one_seg_0.txt", "one_seg_0.words.json", "two_seg_0.txt", "two_seg_0.words.json"])
    counted = json.loads(Path(f"{out}/metrics.json").read_text())
    assert counted["quarantined"] == {}
