from __future__ import annotations

import os
from pathlib import Path

import pytest

from curator_audio.errors import AccessError, ConfigurationError, StorageError, StorageFullError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.transfer import FileBatch, FileCopierStage
from curator_audio.stages.transfer.copying import Copying
from curator_audio.storage.names import short_name
from curator_audio.storage.storage import FileInfo, Storage
from tests.stages.transfer.trees import tree, write


def batch(root: str, *keys: str) -> FileBatch:
    """The files of a folder, or these of them, whether or not they are there."""
    if not keys:
        return FileBatch(root, Storage().list_files(root))
    return FileBatch(root, [FileInfo(f"{root}/{key}", 5, "5-1.0") for key in keys])


def copier(target: str, output_dir: str | None = None) -> FileCopierStage:
    stage = FileCopierStage(target)
    stage.setup(WorkerInfo(output_dir=output_dir or target))
    return stage


def reasons(stage: FileCopierStage) -> dict[str, str]:
    return {record.record["file"]: record.reason for record in stage.take_observations().quarantined}  # type: ignore


def test_files_go_to_the_same_path_below_another_folder(tmp_path: Path) -> None:
    files = {f"{folder}/{n}.wav": f"{folder}{n}".encode() for folder in ("news", "talks/late") for n in range(50)}
    write(f"{tmp_path}/from", files)
    stage = copier(f"{tmp_path}/to")

    parts = stage.write(Storage(), "p", [batch(f"{tmp_path}/from")])

    assert tree(f"{tmp_path}/to") == files
    assert [part.path for part in parts] == sorted(f"{tmp_path}/to/{key}" for key in files)
    assert {(part.num_records, part.stays) for part in parts} == {(1, True)}
    assert stage.take_observations().metrics == {
        "files_copied": 100,
        "bytes_copied": sum(map(len, files.values())),
        "files_skipped": 0,
        "bytes_skipped": 0,
        "bytes_compared": 0,
    }


def test_what_is_there_is_not_copied_again(tmp_path: Path) -> None:
    write(f"{tmp_path}/from", {"same": b"12345", "size": b"123456", "content": b"12345", "new": b"", "empty": b""})
    write(f"{tmp_path}/to", {"same": b"12345", "size": b"12345", "content": b"54321", "mine": b"mine", "empty": b""})
    before = os.stat(tmp_path / "to" / "same")
    stage = copier(f"{tmp_path}/to")

    parts = stage.write(Storage(), "p", [batch(f"{tmp_path}/from")])

    assert tree(f"{tmp_path}/to") == tree(f"{tmp_path}/from") | {"mine": b"mine"}
    assert stage.take_observations().metrics == {
        "files_copied": 3,
        "bytes_copied": 11,
        "files_skipped": 2,
        "bytes_skipped": 5,
        "bytes_compared": 20,
    }
    assert os.stat(tmp_path / "to" / "same") == before
    assert sorted(part.num_bytes for part in parts) == [0, 0, 5, 5, 6]


# What is set aside -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("..", "path_leaves_root"),
        ("../b", "path_leaves_root"),
        ("a/../../b", "path_leaves_root"),
        ("./b", "path_leaves_root"),
        ("a//b", "path_leaves_root"),
        ("/etc/passwd", "path_leaves_root"),
        ("a/", "path_leaves_root"),
        ("nul\0", "path_leaves_root"),
        ("not text \udcff", "name_is_no_text"),
        ("a?versionId=3", "name_has_version"),
    ],
)
def test_objects_whose_names_are_no_paths_of_files_are_set_aside(key: str, reason: str, tmp_path: Path) -> None:
    stage = copier(f"{tmp_path}/to")
    assert stage.write(Storage(), "p", [batch("s3://bucket/from", key)]) == []
    assert reasons(stage) == {key: reason}
    assert list(tmp_path.iterdir()) == []


def test_names_that_only_a_disk_has_are_copied_from_disk_to_disk(tmp_path: Path) -> None:
    files = {"new\nline": b"1", "not text \udcff": b"2", "a?versionId=3": b"3", "...": b"4", "a..b/..c": b"5"}
    write(f"{tmp_path}/from", files)
    copier(f"{tmp_path}/to").write(Storage(), "p", [batch(f"{tmp_path}/from")])
    assert tree(f"{tmp_path}/to") == files


def test_links_that_stay_below_the_folder_are_followed_and_others_set_aside(tmp_path: Path) -> None:
    root = tmp_path / "from"
    write(str(tmp_path), {"from/sub/a": b"inside", "secret": b"outside", "from-not/b": b"beside"})
    links = {
        "inside": "sub/a",
        "by way of outside": "../from/sub/a",
        "outside": "../secret",
        "absolute": str(tmp_path / "secret"),
        "beside": "../from-not/b",
        "broken": "nowhere",
        "loop": "loop",
        "folder": "sub",
        "through": "sub/chain",
    }
    for name, leads_to in links.items():
        (root / name).symlink_to(leads_to)
    (root / "sub" / "chain").symlink_to("../../secret")
    os.mkfifo(root / "pipe")
    stage = copier(f"{tmp_path}/to")

    stage.write(Storage(), "p", [FileBatch(str(root), [_at(path) for path in sorted(root.rglob("*"))])])

    assert tree(f"{tmp_path}/to") == dict.fromkeys(["sub/a", "inside", "by way of outside"], b"inside")
    assert not any(path.is_symlink() for path in (tmp_path / "to").rglob("*"))
    assert reasons(stage) == {
        "outside": "link_leaves_root",
        "absolute": "link_leaves_root",
        "beside": "link_leaves_root",
        "through": "link_leaves_root",
        "sub/chain": "link_leaves_root",
        "broken": "broken_link",
        "loop": "broken_link",
        "folder": "link_to_folder",
        "sub": "link_to_folder",
        "pipe": "not_a_file",
    }


def _at(path: Path) -> FileInfo:
    size = path.stat().st_size if path.is_file() else 0
    return FileInfo(str(path), size, f"{size}-1.0")


# What goes wrong ---------------------------------------------------------------------------------------------


def test_one_bad_file_does_not_keep_the_others_from_being_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{n}": f"{n}".encode() for n in range(40)}
    write(f"{tmp_path}/from", files)
    listed, stage = batch(f"{tmp_path}/from"), copier(f"{tmp_path}/to")
    os.rename(tmp_path / "from" / "7", tmp_path / "7")

    with pytest.raises(StorageError) as raised:
        stage.write(Storage(), "p", [listed])
    expected = (
        f"cannot read {tmp_path}/from/7: there is no such file; check the path (1 of 40 files could not be copied)"
    )
    assert str(raised.value) == expected
    assert not isinstance(raised.value, AccessError)
    assert tree(f"{tmp_path}/to") == {key: data for key, data in files.items() if key != "7"}

    os.rename(tmp_path / "7", tmp_path / "from" / "7")
    copied: list[str] = []
    copy = Copying.copy
    monkeypatch.setattr(
        Copying, "copy", lambda self, file, target: copied.append(file.path) or copy(self, file, target)
    )
    monkeypatch.setattr(Copying, "is_same", None)
    stage.take_observations()
    assert len(stage.write(Storage(), "p", [listed])) == 40
    assert copied == [f"{tmp_path}/from/7"], "what the first attempt did is not even looked at again"
    assert stage.take_observations().metrics["files_copied"] == 40


def test_a_destination_that_takes_nothing_ends_the_run(tmp_path: Path) -> None:
    write(f"{tmp_path}/from", {"a/1": b"1", "a/2": b"2"})
    write(str(tmp_path), {"to": b"a file"})
    with pytest.raises(AccessError, match=r"cannot write .*/to/a/1: a part of the path is a file, not a folder"):
        copier(f"{tmp_path}/to").write(Storage(), "p", [batch(f"{tmp_path}/from")])


def test_a_destination_that_takes_one_file_does_not(tmp_path: Path) -> None:
    write(f"{tmp_path}/from", {"a/1": b"1", "b": b"2"})
    write(f"{tmp_path}/to", {"a": b"a file"})
    with pytest.raises(StorageError, match=r"to/a/1: a part of the path is a file.* \(1 of 2 files") as raised:
        copier(f"{tmp_path}/to").write(Storage(), "p", [batch(f"{tmp_path}/from")])
    assert not isinstance(raised.value, AccessError)
    assert tree(f"{tmp_path}/to") == {"a": b"a file", "b": b"2"}


@pytest.mark.parametrize(
    "error", [StorageFullError("no space left"), KeyboardInterrupt(), ConfigurationError("expired")]
)
def test_what_would_meet_all_files_stops_at_once(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f"{tmp_path}/from", {f"{n:03d}": b"x" for n in range(300)})
    begun: list[str] = []

    def copy(self: Copying, file: FileInfo, target: str) -> str:
        begun.append(target)
        if target.endswith("/000"):
            raise error
        self._stopped.wait(10)  # until it is told, as a store may take long
        return ""

    monkeypatch.setattr(Copying, "copy", copy)
    with pytest.raises(type(error)):
        copier(f"{tmp_path}/to").write(Storage(), "p", [batch(f"{tmp_path}/from")])
    assert len(begun) < 200


@pytest.mark.parametrize("key", ["metrics.json", "_ledger/lock.json", "quarantine/part-a.jsonl"])
def test_what_the_run_keeps_for_itself_is_not_copied_over(key: str, tmp_path: Path) -> None:
    write(f"{tmp_path}/from", {key: b"mine"})
    with pytest.raises(ConfigurationError) as raised:
        copier(f"{tmp_path}/to").write(Storage(), "p", [batch(f"{tmp_path}/from")])
    assert str(raised.value) == (
        f"{tmp_path}/from/{key} would be copied to where this run keeps its own; "
        f"give another output_dir, and output_path={tmp_path}/to"
    )
    copier(f"{tmp_path}/to", f"{tmp_path}/ledger").write(Storage(), "p", [batch(f"{tmp_path}/from")])
    assert (tmp_path / "to" / key).read_bytes() == b"mine"


def test_the_path_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="output_path is ''"):
        FileCopierStage("")
    assert not FileCopierStage("/data/corpus.v2").is_single_file


# Long names ---------------------------------------------------------------------------------------------------


def test_names_that_a_disk_does_not_take_are_shortened(tmp_path: Path) -> None:
    keys = {f"{'ب' * 200}/{name}.wav": name.encode() for name in ("あ" * 90, "x" * 300, "x" * 299 + "y")}
    write("memory://copier/long", keys | {"short.wav": b"short"})
    stage = copier(f"{tmp_path}/to")

    parts = stage.write(Storage(), "p", [batch("memory://copier/long")])

    assert sorted(tree(f"{tmp_path}/to").values()) == sorted([*keys.values(), b"short"])
    assert all(part.path.endswith(".wav") for part in parts)
    assert stage.take_observations().metrics["names_shortened"] == 3
    again = copier(f"{tmp_path}/to")
    same = again.write(Storage(), "p", [batch("memory://copier/long")])
    assert [part.path for part in same] == [part.path for part in parts]
    assert again.take_observations().metrics["files_skipped"] == 4


def test_paths_that_are_no_keys_are_shortened(tmp_path: Path, s3_bucket: str) -> None:
    folders = "/".join(["folder" * 40] * 4)
    keys = {f"{folders}/{'x' * 100}{end}.wav": end.encode() for end in "ab"}
    write(f"{tmp_path}/from", keys)
    stage = copier(f"{s3_bucket}/to")

    stage.write(Storage(), "p", [batch(f"{tmp_path}/from")])

    copied = tree(f"{s3_bucket}/to")
    assert sorted(copied.values()) == [b"a", b"b"] and all(len(f"to/{key}") <= 1024 for key in copied)
    assert all(key.startswith("folder" * 40) for key in copied)


def test_a_name_that_another_file_is_given(tmp_path: Path) -> None:
    long = f"{'x' * 300}.wav"
    write("memory://copier/taken", {long: b"long", short_name(long): b"other"})
    stage = copier(f"{tmp_path}/to")
    (part,) = stage.write(Storage(), "p", [batch("memory://copier/taken")])
    assert list(reasons(stage).values()) == ["same_name"] and part.num_records == 1
