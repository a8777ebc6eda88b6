"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from curator_audio.storage.failures import explained
from curator_audio.storage.names import MAX_NAME_BYTES

TEMPORARY_BYTES = len("..0123456789ab.tmp")
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


class AtomicFile(ABC):
    """A file being written aside; ``commit`` makes it appear under its name, ``discard`` forgets it.

    Attributes:
        check: called at the last moment before it appears; what it raises keeps the file from appearing.
        version: once it has appeared, what tells it from any other of its name, as in ``FileInfo``; empty where that is
            not known.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.num_bytes = 0
        self.check: Callable[[], None] = _nothing
        self.version = ""

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            StorageError: they cannot be written.
        """
        with explained(self.path, "write"):
            self._write(data)
        self.num_bytes += len(data)

    def commit(self) -> None:
        """Make the file appear under its name, durably."""
        with explained(self.path, "write"):
            self._commit()

    @abstractmethod
    def _write(self, data: bytes) -> None: ...

    @abstractmethod
    def _commit(self) -> None: ...

    @abstractmethod
    def discard(self) -> None:
        """Leave no trace."""


class LocalAtomicFile(AtomicFile):
    """Written beside its final place, flushed to the disk and renamed."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        folder, name = os.path.split(path)
        os.makedirs(folder or ".", exist_ok=True)
        start = os.fsencode(name)[: MAX_NAME_BYTES - TEMPORARY_BYTES].decode(errors="ignore")
        self._temporary = os.path.join(folder, f".{start}.{uuid.uuid4().hex[:12]}.tmp")
        self._file = open(self._temporary, "wb", buffering=0)  # noqa: SIM115

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._start_flushing(len(data))

    def _start_flushing(self, num_bytes: int) -> None:
        """Let the disk begin on what was just written while we go on, so that ``commit`` has little to wait for."""
        if hasattr(os, "posix_fadvise"):
            start = self._file.tell() - num_bytes
            os.posix_fadvise(self._file.fileno(), start, num_bytes, os.POSIX_FADV_DONTNEED)

    def copy_range(self, path: str, start: int, num_bytes: int) -> int:
        """Append of a range of another local file what the kernel copies by itself; returns how many bytes that are.

        Not every system can, nor between any two file systems.
        """
        copied = 0
        with open(path, "rb") as source, suppress(AttributeError, OSError):
            while copied < num_bytes:
                step = os.copy_file_range(source.fileno(), self._file.fileno(), num_bytes - copied, start + copied)
                if not step:
                    break
                copied += step
        self._start_flushing(copied)
        self.num_bytes += copied
        return copied

    def _commit(self) -> None:
        os.fsync(self._file.fileno())
        self.version = local_version(os.fstat(self._file.fileno()))  # which renaming leaves as it is
        self._file.close()
        self.check()
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        self._file.close()
        os.remove(self._temporary)


def local_version(stat: os.stat_result) -> str:
    """The version of a local file: its size, and when it was written."""
    return f"{stat.st_size}-{stat.st_mtime}"


def _nothing() -> None:
    """What is checked before a file appears that nobody else writes."""


def create_local_file(path: str, data: bytes) -> bool:
    """Write a small file only if there is none; returns whether it was written."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        file = open(path, "xb", buffering=0)  # noqa: SIM115
    except FileExistsError:
        return False
    try:
        with file:
            file.write(data)
    except BaseException:
        os.remove(path)
        raise
    return True


class MemoryAtomicFile(AtomicFile):
    """A file of ``memory://``, which by itself shows what is written at once."""

    def __init__(self, filesystem: Any, path: str) -> None:
        super().__init__(path)
        self._filesystem = filesystem
        self._data = bytearray()

    def _write(self, data: bytes) -> None:
        self._data += data

    def _commit(self) -> None:
        self.check()
        self._filesystem.pipe_file(self.path, bytes(self._data))

    def discard(self) -> None:
        self._data.clear()


class RemoteAtomicFile(AtomicFile):
    """An object: its store shows it only once the upload is complete."""

    def __init__(self, filesystem: Any, path: str) -> None:
        super().__init__(path)
        self._file = filesystem.open(path, "wb", autocommit=False, block_size=16 * 2**20)

    def _write(self, data: bytes) -> None:
        self._file.write(data)

    def _commit(self) -> None:
        self._file.close()
        self.check()
        answers = _answers_to(self._file)
        self._file.commit()
        self.version = version_told(self.num_bytes, answers[-1] if answers else None)

    def discard(self) -> None:
        self._file.discard()


def version_told(num_bytes: int, answer: Any) -> str:
    """The version that an S3 store has given what was put, going by its answer; empty where it does not tell.

    Example:
        >>> version_told(5, {"ETag": '"5d41402abc4b2a76b9719d911017c592"'})
        '5-5d41402abc4b2a76b9719d911017c592'
    """
    etag = answer.get("ETag") if isinstance(answer, dict) else None
    return f"{num_bytes}-{etag.strip(chr(34))}" if isinstance(etag, str) else ""


def _answers_to(file: Any) -> list[Any]:
    """The answers that a file of s3fs gets from now on: it does not keep the one that tells the etag."""
    answers: list[Any] = []
    call = getattr(file, "_call_s3", None)
    if call is not None:

        def called(*arguments: Any, **options: Any) -> Any:
            answers.append(call(*arguments, **options))
            return answers[-1]

        file._call_s3 = called
    return answers


def is_temporary(path: str) -> bool:
    """Whether a path is that of a file being written aside, of this run or one that was killed.

    Example:
        >>> is_temporary("out/.a.jsonl.0123456789ab.tmp"), is_temporary("out/a.tmp")
        (True, False)
    """
    return TEMPORARY.fullmatch(os.path.basename(path)) is not None
