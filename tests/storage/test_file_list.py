"""Trees of many files, which are listed one by one and held in little memory."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from curator_audio.errors import AccessError
from curator_audio.storage import file_list
from curator_audio.storage.file_list import FileList
from curator_audio.storage.storage import FileInfo, Storage

NAMES = ["a/x", "a-b/x", "a.b", "a/b/c/d", "a b/é", "z", "a/0", ".hidden/x"]


def test_files_come_one_by_one_as_they_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / os.fsdecode(b"caf\xe9")).write_text("no UTF-8")
    (root / "empty").mkdir()
    for link, target in {"to_file": "z", "to_folder": "a", "to_nothing": "none", "a/up": ".."}.items():
        (root / link).symlink_to(target)
    os.mkfifo(root / "pipe")
    storage = Storage()
    found = list(storage.files_below(str(root)))
    assert found == storage.list_files(str(root))
    assert [file.path for file in found] == sorted(file.path for file in found)
    assert len(found) == len(NAMES) + 6
    (tmp_path / "alias").symlink_to("tree")
    assert len(list(storage.files_below(f"{tmp_path}/alias/"))) == len(found)
    assert list(storage.files_below(f"{tmp_path}/none")) == []


def test_the_same_of_stores(s3_bucket: str) -> None:
    for root in (f"{s3_bucket}/tree", f"memory://{uuid.uuid4().hex}"):
        for name in NAMES:
            Storage().write(f"{root}/{name}", b"x")
        assert list(Storage().files_below(root)) == Storage().list_files(root) != []


def test_a_folder_that_may_not_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(folder: str) -> object:
        if folder.endswith("closed"):
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(AccessError, match="access denied"):
        list(Storage().files_below(str(tmp_path)))


@pytest.mark.parametrize("num", [0, 1, 9, 10, 11, 35])
def test_a_list_gives_back_what_was_added_as_often_as_it_is_asked(num: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_list, "BLOCK", 10)
    files = [FileInfo(f"/a/{os.fsdecode(bytes([200 + n]))}\n{n}", n, f"{n}-1.5") for n in range(num)]
    packed = FileList()
    for file in files:
        packed.add(file)
    for _ in range(2):
        assert list(packed) == files
    assert (len(packed), packed.num_bytes, bool(packed)) == (num, sum(range(num)), num > 0)
