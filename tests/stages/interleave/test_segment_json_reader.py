"""Reading trees of JSON segments by lists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.stages.interleave import SegmentJsonReaderStage
from curator_audio.stages.interleave.segment_json_reader import PROGRESS_INTERVAL_SEC
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Partition
from tests.stages.interleave.trees import segment_json, write_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tree(tmp_path / "tree", {"1472/1437": 3, "1472/1438": 1, "26/495": 2})
    (tmp_path / "lists").mkdir()
    return tmp_path


def reader_of(root: Path, **lists: str | bytes) -> SegmentJsonReaderStage:
    for name, data in lists.items():
        data = data if isinstance(data, bytes) else data.encode()
        (root / "lists" / f"{name}.txt").write_bytes(data)
    return SegmentJsonReaderStage(str(root / "tree"), str(root / "lists"))


def read(reader: SegmentJsonReaderStage) -> dict[str, list[AudioBatch]]:
    return {partition.name: list(reader.process(partition)) for partition in reader.partitions()}


def ids(batches: list[AudioBatch]) -> list[list[str]]:
    return [[record["entry_id"] for record in batch.records] for batch in batches]


def test_a_list_is_a_partition_and_a_folder_a_batch_in_the_order_of_the_list(root: Path) -> None:
    reader = reader_of(root, **{"train-0001": "26-495\n1472-1437\n", "train-0000": "1472-1438"})
    batches = read(reader)
    assert {name: ids(of_list) for name, of_list in batches.items()} == {
        "train-0000": [["1472_1438_000000"]],
        "train-0001": [
            ["26_495_000000", "26_495_000001"],
            ["1472_1437_000000", "1472_1437_000001", "1472_1437_000002"],
        ],
    }
    first = batches["train-0001"][0]
    assert first.records[1] == segment_json("26", "495", 1)
    assert first.path_of(1) == str(root / "tree/26/495/26_495_000001.json")
    assert reader.observed.metrics == {"folders": 3} and reader.observed.quarantined == []


def test_windows_line_ends_and_blank_lines(root: Path) -> None:
    assert ids(read(reader_of(root, a="\r\n26-495\r\n\r\n\r\n1472-1438\r\n"))["a"]) == [
        ["26_495_000000", "26_495_000001"],
        ["1472_1438_000000"],
    ]


def test_missing_empty_and_repeated_folders_are_counted_and_told(root: Path, warned: list[str]) -> None:
    (root / "tree/26/496").mkdir()
    (root / "tree/26/496/notes.txt").write_text("no segment")
    reader = reader_of(root, a="9-9\n26-496\n1472-1438\n1472-1438\n1473-1")
    assert ids(read(reader)["a"]) == [["1472_1438_000000"]]
    assert reader.observed.metrics == {"folders": 1, "folders_missing_or_empty": 3, "folders_repeated": 1}
    assert warned == [f"{root}/lists/a.txt: 3 folder(s) missing or empty: 9-9, 26-496, 1473-1"]


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (b"", "empty_file", "the file has 0 bytes; write it again"),
        (b'{"entry_id": ', "invalid_json", "Expecting value"),
        (b"[1]", "not_an_object", "the file holds a list, not a JSON object"),
        (b'{"entry_id": "\xff"}', "invalid_utf8", "byte 14 of the line"),
        (b"\x00\x01", "invalid_json", "Expecting value"),
    ],
)
def test_a_file_that_is_no_segment_is_set_aside(root: Path, content: bytes, reason: str, message: str) -> None:
    path = root / "tree/26/495/26_495_000000.json"
    path.write_bytes(content)
    reader = reader_of(root, a="26-495")
    assert ids(read(reader)["a"]) == [["26_495_000001"]]
    (bad,) = reader.observed.quarantined
    assert (bad.source_path, bad.reason, bad.record) == (str(path), reason, content)
    assert bad.message.startswith(message)


def test_numbers_json_has_no_word_for_are_read(root: Path) -> None:
    """So that what refuses them can say so."""
    path = root / "tree/1472/1438/1472_1438_000000.json"
    path.write_text(path.read_text().replace('"begin_time": 0.0', '"begin_time": NaN'))
    ((batch,),) = read(reader_of(root, a="1472-1438")).values()
    assert str(batch.records[0]["begin_time"]) == "nan"


def test_a_file_that_has_gone_meanwhile_is_set_aside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Storage.list_files

    def and_removed(self: Storage, folder: str, max_depth: int | None = None) -> Any:
        files = listed(self, folder, max_depth)
        if folder.endswith("26/495"):
            os.remove(files[0].path)
        return files

    monkeypatch.setattr(Storage, "list_files", and_removed)
    reader = reader_of(root, a="26-495")
    assert ids(read(reader)["a"]) == [["26_495_000001"]]
    (bad,) = reader.observed.quarantined
    assert (bad.reason, bad.message.split(": ")[1]) == ("unreadable_file", "there is no such file; check the path")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("..-..", "path_leaves_root"),
        ("../26-495", "path_leaves_root"),
        ("26", "invalid_line"),
        (b"\xff-1", "invalid_utf8"),
    ],
)
def test_a_line_that_names_no_folder_is_set_aside_with_its_place(root: Path, line: str | bytes, reason: str) -> None:
    line = line if isinstance(line, bytes) else line.encode()
    reader = reader_of(root, a=b"1472-1438\n" + line + b"\n")
    assert ids(read(reader)["a"]) == [["1472_1438_000000"]]
    (bad,) = reader.observed.quarantined
    assert (bad.source_path, bad.offset, bad.reason, bad.record) == (f"{root}/lists/a.txt", 10, reason, line)


def test_a_line_that_names_what_is_no_folder_is_set_aside(root: Path) -> None:
    (root / "tree/7").write_text("a file")
    reader = reader_of(root, a=b"7-1\n" + b"a" * 300 + b"-b\n" + b"a-" * 300 + b"\n26-495\n")
    assert ids(read(reader)["a"]) == [["26_495_000000", "26_495_000001"]]
    reasons = [bad.reason for bad in reader.observed.quarantined]
    assert reasons == ["unreadable_folder", "unreadable_folder", "invalid_line"]


def test_a_line_that_is_no_text_twice(root: Path) -> None:
    reader = reader_of(root, a=b"\xff-1\n\xff-1\n26-495")
    assert len(read(reader)["a"]) == 1
    assert [bad.reason for bad in reader.observed.quarantined] == ["invalid_utf8"]


def test_a_pipe_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "tree/26/495/pipe.json")
    assert ids(read(reader_of(root, a="26-495"))["a"]) == [["26_495_000000", "26_495_000001"]]


def test_what_a_link_in_the_tree_leads_to_is_what_counts(root: Path) -> None:
    target = root / "tree/1472/1437/other.txt"
    target.write_text('{"entry_id": "a"}')
    (root / "tree/1472/1438/link.json").symlink_to("../1437/other.txt")
    reader = reader_of(root, a="1472-1438")
    (partition,) = reader.partitions()
    before = reader.completed(partition).inputs
    assert [batch.num_items for batch in reader.process(partition)] == [2]
    assert reader.observed.quarantined == []
    target.write_text('{"entry_id": "b"}')
    os.utime(target, (0, 1_000_000_000))
    assert reader.completed(partition).inputs != before


def test_nothing_is_read_that_lies_outside_of_the_tree(root: Path, tmp_path: Path) -> None:
    """Nor put into the quarantine, where others may read it."""
    (tmp_path / "secret").write_text("password")
    folder = root / "tree/1472/1438"
    for name, leads_to in {
        "absolute": tmp_path / "secret",
        "relative": "../../../../secret",
        "hop": "hop2",
        "list": root / "lists/a.txt",
        "nowhere": "nothing",
        "loop": "loop.json",
        "folder": "../1437",
        "pipe": "a-pipe",
    }.items():
        (folder / f"{name}.json").symlink_to(leads_to)
    (folder / "hop2").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "a-pipe")
    reader = reader_of(root, a="1472-1438")
    assert ids(read(reader)["a"]) == [["1472_1438_000000"]]
    assert {os.path.basename(bad.source_path): bad.reason for bad in reader.observed.quarantined} == {
        "absolute.json": "link_leaves_root",
        "relative.json": "link_leaves_root",
        "hop.json": "link_leaves_root",
        "list.json": "link_leaves_root",
        "nowhere.json": "broken_link",
        "loop.json": "broken_link",
        "folder.json": "link_to_folder",
        "pipe.json": "not_a_file",
    }
    assert "password" not in repr(reader.observed.quarantined)


def test_a_list_that_is_a_link_to_another_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0")
    (root / "lists").mkdir(exist_ok=True)
    (root / "lists/b.txt").symlink_to(tmp_path / "passwd")
    reader = reader_of(root, a="26-495")
    assert {name: len(batches) for name, batches in read(reader).items()} == {"a": 1, "b": 0}
    (bad,) = reader.observed.quarantined
    assert (bad.reason, bad.record) == ("link_leaves_root", {"file": "b.txt"})


def test_hidden_lists_are_passed_over(root: Path) -> None:
    assert list(read(reader_of(root, **{".hidden": "26-495", "a": "26-495"}))) == ["a"]


def test_long_names_of_lists_are_shortened_for_what_is_named_after_them(root: Path) -> None:
    reader = reader_of(root, **{f"{'あ' * 80}{end}": "../x" for end in "ab"})
    names = list(read(reader))
    assert [len(name.encode()) <= 200 for name in names] == [True, True] and len(set(names)) == 2
    told = {bad.source_path.rpartition("/")[2] for bad in reader.observed.quarantined}
    assert told == {f"{'あ' * 80}{end}.txt" for end in "ab"}, "the list itself is named"


def test_names_with_dashes(root: Path) -> None:
    write_tree(root / "tree", {"le-petit/prince": 1})
    reader = reader_of(root, a="le-petit-prince")
    assert ids(read(reader)["a"]) == [["le-petit_prince_000000"]]
    assert reader.observed.metrics == {"folders": 1}
    write_tree(root / "tree", {"le/petit-prince": 1})
    assert read(reader)["a"] == []
    (bad,) = reader.observed.quarantined
    assert bad.reason == "ambiguous_folder"
    assert "le/petit-prince and" in bad.message and "le-petit/prince; rename one of them" in bad.message


def test_links_to_folders_are_not_followed(root: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "elsewhere", {"7/8": 1})
    (root / "tree/7").symlink_to(tmp_path / "elsewhere/7")
    (root / "tree/26/9").symlink_to("495")
    reader = reader_of(root, a="7-8\n26-9\n26-495")
    assert ids(read(reader)["a"]) == [["26_495_000000", "26_495_000001"]]
    assert [bad.reason for bad in reader.observed.quarantined] == ["link_leaves_root", "link_to_folder"]


def test_the_tree_itself_may_be_a_link(root: Path) -> None:
    (root / "tree").rename(root / "real")
    (root / "tree").symlink_to("real")
    assert ids(read(reader_of(root, a="26-495"))["a"]) == [["26_495_000000", "26_495_000001"]]


def test_what_fingerprints_and_contents_tell(root: Path) -> None:
    reader = reader_of(root, a="26-495\n1472-1438\n")

    def contents() -> str:
        """Of the list, and of its folders."""
        (partition,) = reader.partitions()
        now = reader.completed(partition)
        list(reader.process(partition))
        read = reader.take_observations().inputs
        assert now.inputs == partition.inputs | {place: fingerprint for place, (fingerprint, _) in read.items()}
        assert {place: reader.content_of(partition, place) for place in read} == {p: c for p, (_, c) in read.items()}
        return str([partition.inputs, sorted((place, content) for place, (_, content) in read.items())])

    seen = [contents()]
    os.utime(root / "tree/26/495/26_495_000000.json")
    assert contents() == seen[0]
    for change in (
        lambda: (root / "tree/26/495/new.json").write_text("{}"),
        lambda: (root / "tree/26/495/new.json").write_text("{} "),
        lambda: (root / "tree/26/495/new.json").unlink(),
        lambda: (root / "lists/a.txt").write_text("1472-1438\n26-495\n"),
    ):
        change()
        seen.append(contents())
    assert len(set(seen)) == 4 and seen[3] == seen[0]
    (root / "tree/26/495/notes.txt").write_text("is not read")
    (root / "tree/1472/1437/new.json").write_text("stands in no list")
    assert contents() == seen[-1]


def test_one_list(root: Path) -> None:
    reader_of(root, a="26-495", b="1472-1438")
    reader = SegmentJsonReaderStage(str(root / "tree"), str(root / "lists/b.txt"))
    assert list(read(reader)) == ["b"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"list_dir": "{root}/tree"}, r"there are no lists \(\*.txt\) in .*/tree; make them with batch_lists"),
        ({"list_dir": "{root}/none"}, r"there are no lists \(\*.txt\) in .*/none"),
        ({"input_path": "{root}/none"}, "/none has no files; give the folder above those of the speakers"),
        ({"input_path": ""}, "input_path is ''; give the folder of the tree"),
    ],
)
def test_paths_that_lead_nowhere(root: Path, parameters: dict[str, str], message: str) -> None:
    reader_of(root, a="26-495")
    paths = {"input_path": "{root}/tree", "list_dir": "{root}/lists"} | parameters
    with pytest.raises(ConfigurationError, match=message):
        list(SegmentJsonReaderStage(**{name: path.format(root=root) for name, path in paths.items()}).partitions())


def test_progress_is_told_folder_by_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, int(PROGRESS_INTERVAL_SEC) - 1))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    told: list[str] = []
    sink = logger.add(told.append, format="{message}", level="INFO")
    try:
        read(reader_of(root, **{"train-0000": "26-495\n1472-1437\n1472-1438\n"}))
    finally:
        logger.remove(sink)
    assert told == ["train-0000: 2 of 3 folders\n"]


# On a store --------------------------------------------------------------------------------------------------


def on_s3(bucket: str, list_of_folders: str, folders: dict[str, int]) -> tuple[SegmentJsonReaderStage, Partition]:
    write_tree(f"{bucket}/tree", folders)
    Storage().write(f"{bucket}/lists/train-0000.txt", list_of_folders.encode())
    reader = SegmentJsonReaderStage(f"{bucket}/tree", f"{bucket}/lists")
    (partition,) = reader.partitions()
    return reader, partition


def test_the_same_from_a_store(s3_bucket: str) -> None:
    reader, partition = on_s3(s3_bucket, "26-495\n9-9\n1472-1437\n", {"1472/1437": 3, "26/495": 2})
    assert ids(list(reader.process(partition))) == [
        ["26_495_000000", "26_495_000001"],
        ["1472_1437_000000", "1472_1437_000001", "1472_1437_000002"],
    ]
    assert reader.observed.metrics == {"folders": 2, "folders_missing_or_empty": 1}
    read = reader.observed.inputs
    assert list(read) == ["26/495", "1472/1437"]
    assert {place: fingerprint for place, (fingerprint, _) in read.items()}.items() <= reader.completed(
        partition
    ).inputs.items()
    assert [content for _, content in read.values()] == [reader.content_of(partition, place) for place in read]


def test_files_of_a_store_are_read_many_at_a_time_across_folders(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    reader, partition = on_s3(
        s3_bucket, "".join(f"1-{book}\n" for book in range(24)), {f"1/{book}": 2 for book in range(24)}
    )
    sixteen = threading.Barrier(16, timeout=60)
    real = Storage.read

    def waiting_for_others(self: Storage, path: str) -> bytes:
        sixteen.wait()  # fails where there are fewer at once
        return real(self, path)

    monkeypatch.setattr(Storage, "read", waiting_for_others)
    assert sum(batch.num_items for batch in reader.process(partition)) == 48


def test_a_store_that_fails_is_no_bad_record(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, partition = on_s3(s3_bucket, "26-495\n", {"26/495": 2})

    def fails(self: Storage, path: str) -> bytes:
        raise StorageError(f"cannot read {path}: the connection broke")

    monkeypatch.setattr(Storage, "read", fails)
    with pytest.raises(StorageError, match="the connection broke"):
        list(reader.process(partition))
    assert reader.observed.quarantined == []
