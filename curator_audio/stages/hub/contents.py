"""What a file holds: its hash, and how many examples ``datasets`` finds in it."""

from __future__ import annotations

import hashlib
import re
import tarfile
from typing import IO, Any

from curator_audio.errors import RecordError
from curator_audio.stages.io.parquet_errors import as_parquet
from curator_audio.stages.io.parquet_shard import ParquetShard
from curator_audio.stages.io.tar_member import UNREADABLE, TarMember, check_end
from curator_audio.storage.storage import Storage

BLOCK_BYTES = 8 * 2**20
_SAMPLE = re.compile(r"((?:.*/)?[^.]+)\.[^/]*")


def contents_of(storage: Storage, path: str) -> tuple[str, int, int]:
    """The SHA-256 of a file, its size in bytes, and its number of examples.

    Those of Parquet are its rows, of a tar its samples (files that follow one another with one name up to the first
    dot), of ``.jsonl`` its lines; any other file is one.

    Raises:
        RecordError: it is not what its name says.

    Example:
        >>> Storage().write("memory://doc/two.jsonl", b'{"a": 1}\\n{"a": 2}\\n')
        >>> contents_of(Storage(), "memory://doc/two.jsonl")[1:]
        (18, 2)
    """
    with storage.open(path) as opened:
        file = _Hashing(opened)
        if path.endswith(".tar"):
            num_bytes = opened.seek(0, 2)
            opened.seek(0)
            num_examples = _num_samples(file, num_bytes)
        elif path.endswith(".jsonl"):
            num_examples = _num_lines(file)
        else:
            num_examples = 1
        while file.read(BLOCK_BYTES):
            pass
    if path.endswith(".tar") and file.num_bytes % tarfile.BLOCKSIZE:
        raise RecordError("unreadable_file", "it is no whole tar archive (it was cut); make it again")
    if path.endswith(".parquet"):
        num_examples = _num_rows(storage, path)
    return file.digest.hexdigest(), file.num_bytes, num_examples


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest: Any = hashlib.sha256()
        self.num_bytes = 0

    def read(self, size: int = BLOCK_BYTES) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self.num_bytes += len(data)
        return data


def _num_lines(file: _Hashing) -> int:
    """How many lines are not blank; none of them is held as a whole."""
    num_lines, has_begun = 0, False
    while data := file.read(BLOCK_BYTES):
        *ended, rest = data.split(b"\n")
        for line in ended:
            num_lines += has_begun or bool(line.strip())
            has_begun = False
        has_begun |= bool(rest.strip())
    return num_lines + has_begun


def _num_samples(file: _Hashing, num_bytes: int) -> int:
    num_samples, before = 0, None
    try:
        with tarfile.open(fileobj=file, mode="r|", tarinfo=TarMember, bufsize=BLOCK_BYTES) as archive:  # type: ignore[call-overload]
            for member in archive:
                check_end(archive, num_bytes)
                archive.members.clear()  # else all of them are kept
                sample = _SAMPLE.fullmatch(member.name)
                is_hidden = member.name.rpartition("/")[2].startswith((".", "__"))
                if member.isfile() and sample and not is_hidden and sample[1] != before:
                    num_samples, before = num_samples + 1, sample[1]
    except UNREADABLE as error:
        raise RecordError("unreadable_file", f"it is no whole tar archive ({error}); make it again") from None
    return num_samples


def _num_rows(storage: Storage, path: str) -> int:
    with storage.open(path, reads_ahead=False) as opened:
        try:
            with as_parquet():
                return int(ParquetShard(opened).metadata.num_rows)
        except RecordError as error:
            message = f"it is no whole Parquet file ({error.message}); make it again"
            raise RecordError("unreadable_file", message) from None
