"""What a training loop reads: the samples of Parquet and of tar shards, from any point of a shard on."""

from __future__ import annotations

import posixpath
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any, ClassVar

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.stages.io.extra_column import EXTRA, has_extra, with_extra
from curator_audio.stages.io.parquet_errors import as_parquet
from curator_audio.stages.io.parquet_shard import ParquetShard
from curator_audio.stages.io.tar_member import UNREADABLE, TarMember, check_size
from curator_audio.stages.speech.sample_reader import SOUND, text_or_bytes
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.storage import FileInfo, Storage

ROWS_AT_ONCE = 64

Sample = dict[str, Any]
"""A row, or the files of a key in a tar; ``audio`` is ``{"bytes": …, "path": …}``."""


@dataclass(frozen=True)
class Piece:
    """Samples that lie one behind the other in a shard.

    Args:
        path: of the shard.
        group: the row group; 0 in a tar, which has none.
        start: the first row of the group; in a tar the byte from which on samples begin.
        end: where it ends, exclusive.
    """

    path: str
    group: int
    start: int
    end: int


def between(pieces: Iterable[Piece], start: int, end: int) -> list[Piece]:
    """What lies between two points of pieces that are laid end to end.

    Example:
        >>> between([Piece("a", 0, 0, 10), Piece("b", 0, 0, 10)], 7, 12)
        [Piece(path='a', group=0, start=7, end=10), Piece(path='b', group=0, start=0, end=2)]
    """
    found = []
    position = -start
    for piece in pieces:
        first = max(piece.start, piece.start - position)
        last = min(piece.end, piece.start - position + end - start)
        if first < last:
            found.append(replace(piece, start=first, end=last))
        position += piece.end - piece.start
    return found


class Shards(ABC):
    """A kind of shard: what pieces it has, and how they are read.

    Args:
        columns: the fields of a sample; None for all of them.
    """

    suffix: ClassVar[str]
    counts_samples: ClassVar[bool]
    """Whether a piece is measured in samples, which a tar does not tell before it is read, or in bytes."""

    def __init__(self, columns: list[str] | None) -> None:
        self.columns = columns

    @abstractmethod
    def pieces(self, storage: Storage, files: list[FileInfo]) -> list[Piece]:
        """All there is to read, in order."""

    @abstractmethod
    def samples(self, storage: Storage, piece: Piece) -> Iterator[tuple[int, Sample]]:
        """The samples of a piece, each with its place there: its row, or the byte at which it begins.

        Raises:
            AccessError: the shard is damaged.
            ConfigurationError: it has not all of the columns.
        """

    def _missing(self, path: str, column: str, there: Iterable[str]) -> ConfigurationError:
        return ConfigurationError(f"columns has {column!r}; {path} has {', '.join(there) or 'none at all'}")


class ParquetShards(Shards):
    """Parquet files, read row group by row group; what their column ``extra`` holds as JSON stands in the samples."""

    suffix: ClassVar[str] = ".parquet"
    counts_samples: ClassVar[bool] = True

    def pieces(self, storage: Storage, files: list[FileInfo]) -> list[Piece]:
        def row_groups(path: str) -> list[Piece]:
            with _opened_parquet(storage, path) as shard:
                there = shard.schema.names
                for column in self.columns or ():
                    if column not in there:
                        raise self._missing(path, column, there)
                sizes = [shard.metadata.row_group(group).num_rows for group in range(shard.metadata.num_row_groups)]
            return [Piece(path, group, 0, num_rows) for group, num_rows in enumerate(sizes) if num_rows]

        return list(chain.from_iterable(storage.each(row_groups, [file.path for file in files])))

    def samples(self, storage: Storage, piece: Piece) -> Iterator[tuple[int, Sample]]:
        with _opened_parquet(storage, piece.path) as shard:
            row = 0
            merges = has_extra(shard.schema)
            columns = self.columns if self.columns is None or not merges else [*dict.fromkeys([*self.columns, EXTRA])]
            for batch in shard.batches(piece.group, columns, ROWS_AT_ONCE):
                first, last = max(row, piece.start), min(row + len(batch), piece.end)
                if first < last:
                    rows = batch.slice(first - row, last - first).to_pylist()
                    yield from enumerate(map(self._with_extra, rows) if merges else rows, first)
                row += len(batch)
                if row >= piece.end:
                    return

    def _with_extra(self, row: Sample) -> Sample:
        """A row with the fields in ``extra``; a chosen column that is null may have its value there."""
        sample = with_extra(row)
        if self.columns is None or EXTRA in self.columns:
            return sample
        return {column: sample.get(column) for column in self.columns}


class TarShards(Shards):
    """WebDataset tars, read from front to back: of each key ``….json`` with its fields, a sound file, and others."""

    suffix: ClassVar[str] = ".tar"
    counts_samples: ClassVar[bool] = False

    def pieces(self, storage: Storage, files: list[FileInfo]) -> list[Piece]:
        for file in files:
            if file.num_bytes == 0:
                raise _damaged(file.path, "tar", "it is empty")
        return [Piece(file.path, 0, 0, file.num_bytes) for file in files]

    def samples(self, storage: Storage, piece: Piece) -> Iterator[tuple[int, Sample]]:
        with storage.open(piece.path) as file:
            try:
                with tarfile.open(fileobj=file, mode="r:", tarinfo=TarMember) as archive:
                    for offset, members in groupby(_members(archive), key=lambda member: member[0]):
                        if offset >= piece.end:
                            return
                        if offset >= piece.start:
                            yield offset, self._sample(archive, piece.path, (member for _, member in members))
            except (*UNREADABLE, RecordError) as error:
                raise _damaged(piece.path, "tar", str(error)) from None

    def _sample(self, archive: tarfile.TarFile, path: str, members: Iterator[tarfile.TarInfo]) -> Sample:
        sample: Sample = {}
        others: Sample = {}
        audio = None
        for member in members:  # each read as it comes: stores are read ahead, not back
            suffix = _suffix(member.name)
            if suffix == "json":
                sample = decode_line(_content(archive, member))
                if not isinstance(sample, dict):
                    raise RecordError("not_an_object", f"{member.name} holds no JSON object")
            elif not self._is_wanted("audio" if suffix in SOUND else f".{suffix}"):
                continue
            elif suffix not in SOUND:
                others[f".{suffix}"] = text_or_bytes(_content(archive, member))
            else:
                audio = {"bytes": _content(archive, member), "path": posixpath.basename(member.name)}
        sample = others | sample | {"audio": audio}
        if self.columns is None:
            return sample
        for column in self.columns:
            if column not in sample:
                raise self._missing(f"{member.name} in {path}", column, sample)
        return {column: sample[column] for column in self.columns}

    def _is_wanted(self, column: str) -> bool:
        return self.columns is None or column in self.columns


def _members(archive: tarfile.TarFile) -> Iterator[tuple[int, tarfile.TarInfo]]:
    """The files in a tar, each with the byte at which its sample begins.

    A sample is the files that follow one another with the same path up to the first dot of their names.
    """
    begins, key = 0, ""
    suffixes: set[str] = set()
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # which would grow with the shard
        if not member.isfile():
            continue
        suffix = _suffix(member.name)
        stem = member.name[: len(member.name) - len(suffix)]
        if stem != key or suffix in suffixes:
            begins, key, suffixes = member.offset, stem, set()
        suffixes.add(suffix)
        yield begins, member


def _suffix(name: str) -> str:
    """What follows the first dot of a file's name."""
    return posixpath.basename(name).partition(".")[2].lower()


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    check_size(member)
    content = archive.extractfile(member)
    return content.read() if content is not None else b""


@contextmanager
def _opened_parquet(storage: Storage, path: str) -> Iterator[ParquetShard]:
    try:
        with storage.open(path, reads_ahead=False) as file, as_parquet():
            yield ParquetShard(file)
    except RecordError as error:
        raise _damaged(path, "Parquet", error.message) from None


def _damaged(path: str, kind: str, reason: str) -> AccessError:
    reason = " ".join(reason.split())
    return AccessError(f"cannot read {path}: it is no {kind} file, or damaged ({reason}); make it again, or remove it")


FORMATS: tuple[type[Shards], ...] = (ParquetShards, TarShards)
