"""What may be read of a tree with links in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from curator_audio.errors import AccessError, RecordError
from curator_audio.storage.storage import Storage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/a").write_bytes(b"inside")
    (tmp_path / "tree-beside").mkdir()
    for path in ("secret", "tree-beside/a"):
        (tmp_path / path).write_bytes(b"outside")
    return tmp_path / "tree"


def reason(storage: Storage, path: Path | str) -> str:
    """Why a file is not read, however it is asked for."""
    told = set()
    for read in (storage.read, lambda path: storage.read_range(path, 0, 1), lambda path: opened(storage, path)):
        with pytest.raises(RecordError) as caught:
            read(str(path))
        told.add(caught.value.reason)
    (only,) = told
    return only


def opened(storage: Storage, path: str) -> bytes:
    with storage.open(path) as file:
        return file.read()


@pytest.mark.parametrize(
    ("leads_to", "why"),
    [
        ("../secret", "link_leaves_root"),
        ("../tree-beside/a", "link_leaves_root"),
        ("sub/chain", "link_leaves_root"),
        ("/proc/self/environ", "link_leaves_root"),
        ("/dev/zero", "link_leaves_root"),
        ("nothing", "broken_link"),
        ("link", "broken_link"),
        ("sub", "link_to_folder"),
        ("pipe", "not_a_file"),
    ],
)
def test_a_link_that_is_refused(root: Path, leads_to: str, why: str) -> None:
    os.mkfifo(root / "pipe")
    (root / "sub/chain").symlink_to("../../secret")
    (root / "link").symlink_to(leads_to)
    assert reason(Storage().within(str(root)), root / "link") == why


def test_a_link_to_a_file_of_the_tree_is_that_file(root: Path) -> None:
    storage = Storage().within(f"file://{root}")
    for name, leads_to in {"plain": "sub/a", "absolute": root / "sub/a", "by way of outside": "../tree/sub/a"}.items():
        (root / name).symlink_to(leads_to)
        path = f"file://{root}/{name}"
        assert storage.read(path) == opened(storage, path) == b"inside" and storage.read_range(path, 2, 4) == b"si"
    os.link(root / "sub/a", root / "hard")  # nothing tells it from a file
    assert storage.read(str(root / "hard")) == b"inside"


def test_the_root_may_be_a_link_and_lie_below_one(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to("tree")
    (root / "sub/link").symlink_to("../../secret")
    (root / "sub/b").symlink_to(root / "sub/a")
    for folder in ("alias", "alias/sub"):
        storage = Storage().within(str(tmp_path / folder))
        assert storage.read(str(tmp_path / "alias/sub/b")) == b"inside"
        assert reason(storage, tmp_path / "alias/sub/link") == "link_leaves_root"


def test_a_folder_below_that_is_a_link(root: Path) -> None:
    (root / "out").symlink_to("../tree-beside")
    (root / "in").symlink_to("sub")
    storage = Storage().within(str(root))
    assert reason(storage, root / "out/a") == "link_leaves_root"
    assert reason(storage, root / "in/a") == "link_to_folder"
    for name in ("out", "in"):
        with pytest.raises(RecordError):
            storage.list_files(str(root / name), max_depth=1)
    assert reason(storage, f"{root}/sub/../../tree-beside/a") == "path_leaves_root"


def test_a_link_that_takes_a_files_place_after_it_was_listed(root: Path) -> None:
    storage = Storage().within(str(root))
    (file,) = storage.list_files(str(root / "sub"), max_depth=1)
    (root / "sub/a").unlink()
    (root / "sub/a").symlink_to("../../secret")
    assert reason(storage, file.path) == "link_leaves_root"


def test_what_lies_elsewhere_and_what_has_gone_is_as_ever(root: Path, tmp_path: Path) -> None:
    storage = Storage().within(str(root))
    (tmp_path / "link").symlink_to("secret")
    assert storage.read(str(tmp_path / "link")) == b"outside"
    with pytest.raises(AccessError, match=r"cannot read .*/gone: there is no such file"):
        storage.read(str(root / "gone"))
    storage.write("memory://links/a", b"object")
    assert Storage().within("memory://links").read("memory://links/a") == b"object"
