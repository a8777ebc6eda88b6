"""Copying one file from any storage to any other."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curator_audio.errors import AccessError, StorageError
from curator_audio.storage.storage import FileInfo, Storage

BLOCK_BYTES = 8 * 2**20
_MD5 = re.compile(r"\d+-([0-9a-f]{32})")


class Copying:
    """Compares and copies files; several threads may do so at once.

    Args:
        storage: the files of both sides.

    Attributes:
        versions: what the copies are told by, as in ``FileInfo``, by their paths; empty where a store does not say.

    Example:
        >>> storage = Storage()
        >>> storage.write("memory://doc/from/a.txt", b"hello")
        >>> file = storage.info("memory://doc/from/a.txt")
        >>> Copying(storage).copy(file, "memory://doc/to/a.txt")[:8]
        '2cf24dba'
        >>> Copying(storage).is_same(file, storage.info("memory://doc/to/a.txt"))
        True
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._stopped = threading.Event()
        self.versions: dict[str, str] = {}

    def stop(self) -> None:
        """Make what is being read fail at its next block."""
        self._stopped.set()

    def is_same(self, one: FileInfo, other: FileInfo) -> bool:
        """Whether two files have the same size and hash: MD5 where an etag tells one, else both are read.

        Raises:
            StorageError: one of them cannot be read, or is not as it was listed.
        """
        if one.num_bytes != other.num_bytes:
            return False
        md5s = [md5_of(one), md5_of(other)]
        kind = "md5" if any(md5s) else "sha256"
        first, second = (md5 or self._hash(file, kind) for md5, file in zip(md5s, (one, other)))
        return first == second

    def bytes_to_compare(self, one: FileInfo, other: FileInfo) -> int:
        """Return how much ``is_same`` reads of both files."""
        if one.num_bytes != other.num_bytes:
            return 0
        return sum(file.num_bytes for file in (one, other) if md5_of(file) is None)

    def copy(self, source: FileInfo, target: str) -> str:
        """Copy a file to the path ``target``, where it appears whole or not at all and replaces an older one.

        Returns:
            The SHA-256 of its bytes; nothing where a store has copied it by itself.

        Raises:
            StorageError: it cannot be read or written, or is not as it was listed.
        """
        sha256 = hashlib.sha256()
        if source.num_bytes <= BLOCK_BYTES:
            if not source.num_bytes:
                self._now(source)  # which reading nothing of it does not tell
            self.versions[target] = self._storage.written(target, b"".join(self._blocks(source, sha256)))
            return sha256.hexdigest()
        before = self._now(source)
        if self._storage.copy_within_store(source.path, target):
            if self._now(source) != before:
                raise _changed(source)
            copied = self._storage.info(target)
            if copied.num_bytes != source.num_bytes:
                raise StorageError(f"cannot copy {source.path}: its store has copied only a part of it; run again")
            self.versions[target] = copied.version
            return ""
        with self._storage.create(target) as file:
            for data in self._blocks(source, sha256):
                file.write(data)
            if self._now(source) != before:
                raise _changed(source)
        self.versions[target] = file.version
        return sha256.hexdigest()

    def _hash(self, file: FileInfo, kind: str) -> str:
        digest = hashlib.new(kind, usedforsecurity=False)
        for _ in self._blocks(file, digest):
            pass
        return digest.hexdigest()

    def _blocks(self, file: FileInfo, digest: Any) -> Iterator[bytes]:
        """The bytes of a file, which go into ``digest`` too; ends with an error where they are not what was listed."""
        md5 = hashlib.md5(usedforsecurity=False)
        expected_md5 = md5_of(file)
        position = 0
        while position < file.num_bytes:
            if self._stopped.is_set():
                raise StorageError(f"cannot read {file.path}: the run was stopped")
            end = min(position + BLOCK_BYTES, file.num_bytes)
            with _about_one_file():
                data = self._storage.read_range(file.path, position, end, file)
            position = end
            digest.update(data)
            if expected_md5:
                md5.update(data)
            yield data
        if expected_md5 and md5.hexdigest() != expected_md5:
            raise _changed(file)

    def _now(self, file: FileInfo) -> FileInfo:
        """A listed file as it is now."""
        with _about_one_file():
            now = self._storage.info(file.path)
        if (now.num_bytes, md5_of(now)) != (file.num_bytes, md5_of(file)):
            raise _changed(file)
        return now


def md5_of(file: FileInfo) -> str | None:
    """The MD5 of a file where its version tells it, as the etag of an object that was put in one piece does.

    Example:
        >>> md5_of(FileInfo("s3://bucket/a", 5, "5-5d41402abc4b2a76b9719d911017c592"))
        '5d41402abc4b2a76b9719d911017c592'
        >>> md5_of(FileInfo("s3://bucket/b", 5, "5-5d41402abc4b2a76b9719d911017c592-2"))
    """
    found = _MD5.fullmatch(file.version)
    return found and found[1]


@contextmanager
def _about_one_file() -> Iterator[None]:
    """A file that cannot be accessed must not end the run, as it would if it were the store."""
    try:
        yield
    except AccessError as error:
        raise StorageError(str(error)) from error


def _changed(file: FileInfo) -> StorageError:
    return StorageError(
        f"cannot copy {file.path}: it is not the {file.num_bytes} bytes any more that were listed; run again"
    )
