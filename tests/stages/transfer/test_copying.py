from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import AccessError, StorageError
from curator_audio.stages.transfer import copying
from curator_audio.stages.transfer.copying import BLOCK_BYTES, Copying, md5_of
from curator_audio.storage.storage import FileInfo, Storage
from tests.stages.transfer.trees import ODD_NAMES, tree, write
from tests.storage.servers import reply, serving


@pytest.fixture(params=["local", "s3"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.getfixturevalue('s3_bucket')}/from" if request.param == "s3" else f"{tmp_path}/from"


@pytest.fixture(params=["local", "s3"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.getfixturevalue('s3_bucket')}/to" if request.param == "s3" else f"{tmp_path}/to"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Copying -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES + 3])
def test_a_copy_has_the_same_bytes(size: int, source: str, target: str) -> None:
    storage, data = Storage(), (b"0123456789abcdef" * (size // 16 + 1))[:size]
    storage.write(f"{source}/a", data)

    digest = Copying(storage).copy(storage.info(f"{source}/a"), f"{target}/sub/a")

    assert tree(target) == {"sub/a": data}
    copied_by_the_store = source.startswith("s3") and target.startswith("s3") and size > BLOCK_BYTES
    assert digest == ("" if copied_by_the_store else sha256(data))
    assert Copying(storage).is_same(storage.info(f"{source}/a"), storage.info(f"{target}/sub/a"))


def test_names_stay_as_they_are(source: str, target: str) -> None:
    storage = Storage()
    files = {f"{name}/{name}": name.encode() for name in ODD_NAMES}
    write(source, files)
    for info in storage.list_files(source):
        Copying(storage).copy(info, info.path.replace(source, target, 1))

    assert tree(target) == files


@given(st.binary(max_size=24), st.integers(1, 9))
def test_any_size_in_blocks_of_any_size(data: bytes, block_bytes: int) -> None:
    storage, folder = Storage(), f"memory://{uuid.uuid4().hex}"
    storage.write(f"{folder}/a", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "BLOCK_BYTES", block_bytes)
        patch.setattr(Storage, "copy_within_store", lambda *arguments: False)
        digest = Copying(storage).copy(storage.info(f"{folder}/a"), f"{folder}/b")
    assert storage.read(f"{folder}/b") == data
    assert digest == sha256(data)


def test_an_older_file_is_replaced(source: str, target: str) -> None:
    storage = Storage()
    write(source, {"a": b"new"})
    write(target, {"a": b"older and longer"})

    Copying(storage).copy(storage.info(f"{source}/a"), f"{target}/a")

    assert tree(target) == {"a": b"new"}


# What is not as it was listed --------------------------------------------------------------------------------

CHANGED = r"(it has changed since it was listed|it is not the \d+ bytes any more that were listed)"


@pytest.mark.parametrize("listed", ["shorter", "longer"])
@pytest.mark.parametrize("size", [5, BLOCK_BYTES, BLOCK_BYTES + 5])
def test_another_size_than_was_listed_is_no_copy(listed: str, size: int, tmp_path: Path, target: str) -> None:
    storage, data = Storage(), b"x" * size
    storage.write(f"{tmp_path}/from/a", data)
    file = storage.info(f"{tmp_path}/from/a")
    was = replace(file, num_bytes=size - 1 if listed == "shorter" else size + 1)
    write(target, {"a": b"older"})

    with pytest.raises(StorageError) as raised:
        Copying(storage).copy(was, f"{target}/a")

    assert re.fullmatch(f"cannot (copy|read) {tmp_path}/from/a: {CHANGED}; run again", str(raised.value))
    assert tree(target) == {"a": b"older"}


@pytest.mark.parametrize("size", [5, BLOCK_BYTES + 5])
def test_other_bytes_of_the_same_size_are_noticed_by_the_etag(size: int, s3_bucket: str, tmp_path: Path) -> None:
    storage = Storage()
    storage.write(f"{s3_bucket}/a", b"x" * size)
    file = storage.info(f"{s3_bucket}/a")
    storage.write(f"{s3_bucket}/a", b"y" * size)

    for target in (f"{tmp_path}/a", f"{s3_bucket}/to/a"):
        with pytest.raises(StorageError, match=f"^cannot (copy|read) s3://.*/a: {CHANGED}"):
            Copying(storage).copy(file, target)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_written_while_it_is_read_is_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage()
    path = tmp_path / "log"
    path.write_bytes(b"x" * (2 * BLOCK_BYTES))
    file = storage.info(str(path))
    read = Storage.read_range

    def rewritten_meanwhile(storage: Storage, name: str, start: int, end: int, listed: FileInfo) -> bytes:
        if start:
            path.write_bytes(b"y" * (2 * BLOCK_BYTES))
        return read(storage, name, start, end, listed)

    monkeypatch.setattr(Storage, "read_range", rewritten_meanwhile)
    with pytest.raises(StorageError, match=f"{CHANGED}; run again"):
        Copying(storage).copy(file, f"{tmp_path}/copy")
    assert [p.name for p in tmp_path.iterdir()] == ["log"]


@pytest.mark.parametrize("size", [0, 5])
def test_a_file_that_has_gone_is_an_error_about_that_file_alone(size: int, source: str, tmp_path: Path) -> None:
    storage = Storage()
    storage.write(f"{source}/a", b"x" * size)
    file = storage.info(f"{source}/a")
    storage.delete([f"{source}/a"])
    if size or not source.startswith("s3"):  # of an empty object, the etag tells all there is to know
        with pytest.raises(StorageError, match=f"^cannot read {source}/a: there is no such file") as raised:
            Copying(storage).copy(file, f"{tmp_path}/to/a")
        assert not isinstance(raised.value, AccessError), "which would end the whole run"
        assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("size", [100_000, BLOCK_BYTES + 100_000])
def test_a_connection_cut_in_mid_object_leaves_no_short_file(size: int, tmp_path: Path) -> None:
    """A server that announces more than it sends."""

    def cut(request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range", f"bytes=0-{size - 1}")
        first, last = map(int, asked.removeprefix("bytes=").split("-"))
        last = min(last, size - 1)
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        request.send_header("Content-Length", str(last + 1 - first))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(b"x" * ((last + 1 - first) // 2))
        request.close_connection = True

    with serving(cut) as host:
        file = FileInfo(f"http://{host}/a.wav", size, f"{size}-None")
        with pytest.raises(StorageError, match=r"^cannot read http://.*/a.wav: the connection was cut") as raised:
            Copying(Storage()).copy(file, f"{tmp_path}/a.wav")
    assert not isinstance(raised.value, AccessError)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_sends_less_than_was_listed_and_says_so(tmp_path: Path) -> None:
    def short(request: BaseHTTPRequestHandler) -> None:
        reply(request, 206, b"x" * 10 if request.headers["Range"].startswith("bytes=0-") else b"")

    with serving(short) as host, pytest.raises(StorageError, match=r"a\.wav: the store gave 10 of 25 bytes; run again"):
        Copying(Storage()).copy(FileInfo(f"http://{host}/a.wav", 25, "25-None"), f"{tmp_path}/a.wav")
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_copy_ends_at_the_next_block(tmp_path: Path) -> None:
    storage = Storage()
    storage.write(f"{tmp_path}/a", b"x" * 10)
    stopped = Copying(storage)
    stopped.stop()
    with pytest.raises(StorageError, match="the run was stopped"):
        stopped.copy(storage.info(f"{tmp_path}/a"), f"{tmp_path}/b")
    assert not (tmp_path / "b").exists()


# Comparing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [b"hello", b"hallo", b"hell", b""])
def test_the_same_is_of_the_same_size_and_content(other: bytes, source: str, target: str) -> None:
    storage = Storage()
    write(source, {"a": b"hello"})
    write(target, {"a": other})
    files = storage.info(f"{source}/a"), storage.info(f"{target}/a")

    assert Copying(storage).is_same(*files) is (other == b"hello")
    assert Copying(storage).is_same(*reversed(files)) is (other == b"hello")


def test_an_object_put_in_pieces_is_compared_by_what_is_in_it(tmp_path: Path, s3_bucket: str) -> None:
    storage, data = Storage(), b"x" * (17 * 2**20)
    for name, content in (("same", data), ("other", data[:-1] + b"y")):
        with storage.create(f"{s3_bucket}/{name}") as file:
            file.write(content)
    storage.write(f"{tmp_path}/a", data)
    there = storage.info(f"{tmp_path}/a")

    assert md5_of(storage.info(f"{s3_bucket}/same")) is None
    assert Copying(storage).is_same(there, storage.info(f"{s3_bucket}/same"))
    assert not Copying(storage).is_same(there, storage.info(f"{s3_bucket}/other"))


def test_what_etags_tell_is_not_read(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage()
    write(s3_bucket, {"a": b"hello", "b": b"hello", "c": b"hallo"})
    a, b, c = storage.list_files(s3_bucket)
    monkeypatch.setattr(Storage, "read_range", None)

    assert Copying(storage).is_same(a, b)
    assert not Copying(storage).is_same(a, c)
    assert not Copying(storage).is_same(a, replace(a, num_bytes=6))


@pytest.mark.parametrize(
    ("version", "md5"),
    [
        ("5-5d41402abc4b2a76b9719d911017c592", "5d41402abc4b2a76b9719d911017c592"),
        ("5-5d41402abc4b2a76b9719d911017c592-2", None),
        ("5-5D41402ABC4B2A76B9719D911017C592", None),
        ("5-1767225600.0", None),
        ("5-0x8DE4C0FFEE", None),
        ("5-None", None),
    ],
)
def test_which_versions_tell_an_md5(version: str, md5: str | None) -> None:
    assert md5_of(FileInfo("s3://bucket/a", 5, version)) == md5
