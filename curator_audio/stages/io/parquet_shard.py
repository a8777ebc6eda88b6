"""Parquet files of others, read so that a small one cannot fill the memory.

Parquet packs well: 900 MB of zeros in a cell make a file of 30 kB, and a dictionary gives a million rows one large
value. What a page unpacks to stands in front of it, and is looked at before pyarrow unpacks it; what the metadata of
the file tells is not believed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import IO, Any, NamedTuple

from curator_audio.errors import RecordError
from curator_audio.stages.io.parquet_rows import rows_of
from curator_audio.stages.io.thrift import Thrift
from curator_audio.storage.limits import MAX_RECORD_BYTES, MAX_UNPACKED_BYTES

TAIL_BYTES = 2**16
MAX_FOOTER_BYTES = 2**26
MAX_ITEMS = 10_000
"""Of a list in the metadata: row groups, or columns with those they are in."""
MAX_DEPTH = 32
"""Of columns in columns, which pyarrow and whoever is given the values follow down."""
MAX_ROWS = 2**20
"""In a file that has fewer bytes than rows."""
MAX_VALUES = 2**26
"""Of lists in a row group that has fewer bytes than a 16th of that."""
MAX_RATIO = 1000
"""How many times its size a file may unpack to, beyond ``MAX_RECORD_BYTES``."""
BYTES_OF_ITEM = 40
"""About what an item of a list or an object takes in Python."""

HEADER_BYTES = (2**8, 2**13, 2**18, 2**24)
"""How much is read for the header of a page, and how much if that is not all; pyarrow reads no more either."""

HARMLESS_BYTES = 2**12
"""No compression makes much of so few, if they are numbers of which a row has one."""

_MAGIC = b"PAR1"
_DATA_PAGE, _INDEX_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = range(4)
_HEADERS = {_DATA_PAGE: 5, _DICTIONARY_PAGE: 7, _DATA_PAGE_V2: 8}
"""The field of a page's header that tells of its kind."""
_DELTA_BYTE_ARRAY = 7


class ParquetShard:
    """A Parquet file.

    Args:
        file: the file, to read and to seek in.

    Attributes:
        schema: its ``pyarrow.Schema``.
        metadata: its ``pyarrow.parquet.FileMetaData``.

    Raises:
        RecordError: ``too_large``: there is more in it than a file of its size may hold.
        pyarrow.ArrowException, OSError: it is no Parquet file, or damaged.

    Example:
        >>> import io, pyarrow.parquet
        >>> file = io.BytesIO()
        >>> pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2, 3]}), file)
        >>> shard = ParquetShard(file)
        >>> [batch.to_pylist() for batch in shard.batches(0, ["id"], rows_at_once=2)]
        [[{'id': 1}, {'id': 2}], [{'id': 3}]]
    """

    def __init__(self, file: IO[bytes]) -> None:
        import pyarrow.parquet

        self._num_bytes = file.seek(0, 2)
        self._local = _number_of(file)
        self._watched = _Watched(file)
        self.metadata = self._metadata(file)
        depth = max((path.count(".") for path in _paths(self.metadata.schema)), default=0)
        if depth > MAX_DEPTH:
            raise RecordError("too_large", f"its columns are nested {depth} deep, more than {MAX_DEPTH}")
        num_rows = sum(self.metadata.row_group(group).num_rows for group in range(self.metadata.num_row_groups))
        if num_rows > MAX_ROWS and num_rows > self._num_bytes:
            raise RecordError("too_large", f"it has {num_rows} rows in {self._num_bytes} bytes")
        source = self._watched if self._local is None else f"/proc/self/fd/{self._local}"
        self._file = pyarrow.parquet.ParquetFile(source, metadata=self.metadata, pre_buffer=True)
        self.schema = self._file.schema_arrow
        self._num_unpacked = 0
        self._known_leaves: dict[tuple[str, ...] | None, list[tuple[int, str, bool, bool]]] = {}

    def batches(self, group: int, columns: Sequence[str] | None, rows_at_once: int) -> Iterator[Any]:
        """The rows of a row group as record batches of at most so many rows.

        Args:
            group: the number of the row group.
            columns: the columns; None for all of them.
            rows_at_once: the most rows of a batch; there are fewer in it where they are large.

        Raises:
            RecordError: ``too_large``.
        """
        import pyarrow.types

        chunks = list(self._chunks(group, columns))
        if self._local is not None:
            read = partial(_read_at, self._local)
            rows_at_once = min([rows_at_once, *(_num_rows(chunk.check(read)) for chunk in chunks)])
            chunks = []
        has_dictionaries = any(pyarrow.types.is_dictionary(kind) for kind in self.schema.types)
        has_begun = False
        while True:
            self._watched.expect(chunks, rows_at_once)
            try:
                for batch in self._file.iter_batches(rows_at_once, [group], columns, use_threads=False):
                    has_begun = True
                    batch = _decoded(batch) if has_dictionaries else batch
                    self._count(batch.nbytes)
                    yield batch
                return
            except Exception:
                if self._watched.error is not None:
                    raise self._watched.error from None
                if has_begun or self._watched.rows_at_once >= rows_at_once:
                    raise
                rows_at_once = self._watched.rows_at_once

    def _metadata(self, file: IO[bytes]) -> Any:
        """The metadata of a file, read in one request, or in two where there is much of it."""
        import pyarrow.parquet

        file.seek(max(0, self._num_bytes - TAIL_BYTES))
        tail = file.read(TAIL_BYTES)
        num_bytes = int.from_bytes(tail[-8:-4], "little")
        if tail[-4:] != _MAGIC or num_bytes + 12 > self._num_bytes:
            return pyarrow.parquet.read_metadata(file)  # which says what is wrong
        if num_bytes > MAX_FOOTER_BYTES:
            raise RecordError("too_large", f"its metadata has {num_bytes} bytes, more than {MAX_FOOTER_BYTES}")
        if num_bytes + 8 > len(tail):
            file.seek(self._num_bytes - 8 - num_bytes)
            tail = file.read(num_bytes + 8)
        footer = tail[-8 - num_bytes :]
        whole = pyarrow.BufferReader(b"".join((_MAGIC, footer)))
        return pyarrow.parquet.ParquetFile(whole, thrift_container_size_limit=MAX_ITEMS).metadata

    def _chunks(self, group: int, columns: Sequence[str] | None) -> Iterator[_Chunk]:
        row_group = self.metadata.row_group(group)
        for index, path, is_number, has_lists in self._leaves(columns):
            chunk = row_group.column(index)
            start, num_bytes = chunk.data_page_offset, max(0, chunk.total_compressed_size)
            if is_number and num_bytes < HARMLESS_BYTES:
                continue
            if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < start:
                start = chunk.dictionary_page_offset
            yield _Chunk(path, start, min(start + num_bytes, self._num_bytes), chunk.num_values, has_lists)

    def _leaves(self, columns: Sequence[str] | None) -> list[tuple[int, str, bool, bool]]:
        """Number and path of the columns in Parquet's sense, whether one is of plain numbers, and whether of lists."""
        wanted = None if columns is None else tuple(columns)
        if wanted not in self._known_leaves:
            leaves = self._known_leaves[wanted] = []
            for index in range(len(self.metadata.schema)):
                column = self.metadata.schema.column(index)
                path, has_lists = column.path, column.max_repetition_level > 0
                if wanted is None or any(path == name or path.startswith(f"{name}.") for name in wanted):
                    is_number = not has_lists and not column.physical_type.endswith("BYTE_ARRAY")
                    leaves.append((index, path, is_number, has_lists))
        return self._known_leaves[wanted]

    def _count(self, num_bytes: int) -> None:
        self._num_unpacked += num_bytes
        if self._num_unpacked > MAX_RECORD_BYTES and self._num_unpacked > MAX_RATIO * self._num_bytes:
            raise RecordError(
                "too_large", f"it unpacks to more than {self._num_unpacked} bytes, and has {self._num_bytes}"
            )


def usable_rows(batch: Any) -> Iterator[dict[str, Any] | RecordError]:
    """The rows of a record batch or table; in place of one that is too large, or is no text, what is wrong with it.

    Example:
        >>> import pyarrow
        >>> list(usable_rows(pyarrow.table({"id": [1, 2]})))
        [{'id': 1}, {'id': 2}]
    """
    nested = [column.name for column in batch.schema if column.type.num_fields]

    def num_bytes(rows: Any) -> int:
        """About what rows take in Python."""
        return int(rows.nbytes) + BYTES_OF_ITEM * sum(_num_items(rows.column(name)) for name in nested)

    if num_bytes(batch) <= MAX_UNPACKED_BYTES:
        yield from rows_of(batch)
        return
    for index in range(len(batch)):
        row = batch.slice(index, 1)
        if (size := num_bytes(row)) > MAX_UNPACKED_BYTES:
            yield RecordError("too_large", f"the row takes {size} bytes, more than {MAX_UNPACKED_BYTES}")
        else:
            yield from rows_of(row)


def _decoded(batch: Any) -> Any:
    """A batch without dictionaries: what its values take is to be counted."""
    import pyarrow
    import pyarrow.types as types

    columns = [column.dictionary_decode() if types.is_dictionary(column.type) else column for column in batch.columns]
    return pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _paths(schema: Any) -> Iterator[str]:
    return (schema.column(index).path for index in range(len(schema)))


def _num_items(values: Any) -> int:
    """How many items there are in a column of lists and objects, however deep they lie, lists and objects included."""
    from pyarrow import types

    if isinstance(chunks := getattr(values, "chunks", None), list):
        return sum(map(_num_items, chunks))
    if types.is_list(values.type) or types.is_large_list(values.type) or types.is_fixed_size_list(values.type):
        return len(values) + _num_items(values.flatten())
    if types.is_struct(values.type):
        return len(values) + sum(map(_num_items, values.flatten()))
    return len(values)


class _Chunk(NamedTuple):
    """The pages of a column in a row group, from where to where they lie, and how many values they are to have."""

    path: str
    start: int
    end: int
    num_values: int
    has_lists: bool

    def check(self, read: Callable[[int, int], bytes | memoryview]) -> int:
        """Check what the pages unpack to; returns how large a value may be that stands in many rows.

        Args:
            read: gives the bytes of the file from a position up to another one.

        Raises:
            RecordError: ``too_large`` or ``not_parquet``.
        """
        position, num_values, largest = self.start, 0, 0
        while num_values < self.num_values and position < self.end:
            try:
                fields, num_bytes = self._header(read, position)
                kind, unpacked, packed = fields[1], fields[2], fields[3]
                of_kind = fields[_HEADERS[kind]] if kind in _HEADERS else {}
                if min(unpacked, packed) < 0:
                    raise ValueError("a page has a negative size")
                if kind in (_DATA_PAGE, _DATA_PAGE_V2):
                    num_values += max(0, of_kind[1])
                encoding = of_kind.get(4 if kind == _DATA_PAGE_V2 else 2)
            except (KeyError, IndexError, ValueError) as error:
                message = f"the header of a page of '{self.path}' cannot be read: {error}"
                raise RecordError("not_parquet", message) from None
            position += num_bytes + packed
            if unpacked > MAX_UNPACKED_BYTES:
                raise RecordError(
                    "too_large", f"a page of '{self.path}' unpacks to {unpacked} bytes, more than {MAX_UNPACKED_BYTES}"
                )
            if kind == _DICTIONARY_PAGE or encoding == _DELTA_BYTE_ARRAY:
                largest = max(largest, unpacked)
            if self.has_lists and num_values > MAX_VALUES and num_values > 16 * (self.end - self.start):
                raise RecordError(
                    "too_large", f"'{self.path}' has {num_values} values in {self.end - self.start} bytes"
                )
        return largest

    def _header(self, read: Callable[[int, int], bytes | memoryview], position: int) -> tuple[dict[int, Any], int]:
        """The header of the page at a position, and how many bytes it has."""
        for num_bytes in HEADER_BYTES:
            data = read(position, min(position + num_bytes, self.end))
            header = Thrift(data)
            try:
                return header.struct(), header.position
            except IndexError:
                if len(data) < num_bytes:
                    raise
        raise ValueError(f"it has more than {HEADER_BYTES[-1]} bytes")


def _num_rows(largest: int) -> int:
    """How many rows may be read at once where each may have a value that large, of which there are some copies."""
    return max(1, MAX_UNPACKED_BYTES // max(1, 2 * largest))


def _number_of(file: IO[bytes]) -> int | None:
    """The number of an open file of this machine, which pyarrow reads faster by itself; None where there is none."""
    try:
        number = file.fileno()
    except (AttributeError, OSError):
        return None
    return number if os.path.exists(f"/proc/self/fd/{number}") else None


def _read_at(number: int, start: int, end: int) -> bytes:
    return os.pread(number, end - start, start)


class _Watched:
    """A file whose pages are looked at as pyarrow reads them, before they are unpacked."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._chunks: list[_Chunk] = []
        self.rows_at_once = 0
        self.error: RecordError | None = None
        self._position = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def expect(self, chunks: list[_Chunk], rows_at_once: int) -> None:
        """Look at these chunks when they are read; tell how many rows fit into the memory at once."""
        self._chunks, self.rows_at_once, self.error = chunks, rows_at_once, None

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = self._file.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, num_bytes: int = -1) -> bytes:
        start = self._position
        data = self._file.read(num_bytes)
        self._position += len(data)
        if self._chunks:
            self._check(start, data)
        return data

    def _check(self, start: int, data: bytes) -> None:
        end = start + len(data)
        most_rows = self.rows_at_once
        for chunk in [chunk for chunk in self._chunks if chunk.start < end and start < chunk.end]:
            first, pages = start, memoryview(data)
            if chunk.start < start or end < chunk.end:  # it is read in pieces
                self._file.seek(chunk.start)
                first, pages = chunk.start, memoryview(self._file.read(chunk.end - chunk.start))
                self._file.seek(self._position)
            try:
                largest = chunk.check(lambda begin, end: pages[begin - first : end - first])  # noqa: B023
            except RecordError as error:
                self.error = error
                raise
            self._chunks.remove(chunk)
            self.rows_at_once = min(self.rows_at_once, _num_rows(largest))
        if self.rows_at_once < most_rows:
            raise OSError("fewer rows at once")  # and then it begins anew
