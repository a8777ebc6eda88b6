"""The base of the writers of Parquet shards."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.parameters import check_number
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.atomic_file import AtomicFile
from curator_audio.storage.storage import Storage
from curator_audio.storage.valid_text import Repairs, with_finite_numbers, with_valid_text
from curator_audio.tasks import AudioBatch, Part, Record

MAX_ROW_GROUP_RECORDS = 10_000
COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")

_Row = tuple[Record, str, int]
"""A record, and the path and position it was read from."""


@dataclass
class ParquetShardWriterStage(WriterStage[AudioBatch]):
    """Writes records as Parquet, a shard a partition; what the columns are, a subclass says.

    A record that does not fit the columns is quarantined; fields without a column are left out. NaN and infinities are
    written as null (``numbers_not_finite``), halves of surrogate pairs in texts as U+FFFD (``texts_repaired``); both
    are counted.

    Args:
        output_path: the folder or prefix of the shards.
        compression: zstd, snappy, gzip, lz4 or none.
        row_group_mb: about how much is put into a row group, MB (2**20 bytes) before compression.

    Raises:
        ConfigurationError: a file instead of a folder, or a parameter out of range.
    """

    output_path: str
    compression: str = field(default="zstd", kw_only=True)
    row_group_mb: float = field(default=16.0, kw_only=True)

    suffix: ClassVar[str] = ".parquet"
    version = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_path.endswith(self.suffix):
            raise ConfigurationError(f"output_path is {self.output_path}; give a folder, Parquet is written as shards")
        if self.compression not in COMPRESSIONS:
            raise ConfigurationError(f"compression is {self.compression!r}; give one of {', '.join(COMPRESSIONS)}")
        check_number("row_group_mb", self.row_group_mb, "of MB above 0", 0, above=True)

    @abstractmethod
    def schema(self) -> Any:
        """The ``pyarrow.Schema`` of all shards; None where each has its own."""

    def schema_of(self, records: list[Record]) -> Any:
        """The schema of a shard that begins with these records, where each has its own."""
        raise NotImplementedError

    @property
    def has_empty_shards(self) -> bool:
        """Whether a partition without records makes a shard without rows, and not none."""
        return False

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], []

    def write(self, storage: Storage, part_path: str, tasks: Iterable[AudioBatch]) -> list[Part]:
        import pyarrow.parquet

        tables = self._tables(tasks)
        first = next(tables, None)
        if first is None and self.has_empty_shards:
            first = self.schema().empty_table()
        if first is None:
            storage.delete([part_path])
            return []
        num_records = 0
        with storage.create(part_path) as file:
            sink = _Sink(file)
            with (
                pyarrow.parquet.ParquetWriter(sink, first.schema, compression=self.compression) as writer,
                ThreadPoolExecutor(1) as beside,  # compresses a row group while the next one is made
            ):
                writing: Future[None] | None = None
                for table in chain([first], tables):
                    if writing is not None:
                        writing.result()
                    if len(table):  # a row group without rows is more than datasets can read
                        writing = beside.submit(writer.write_table, table, row_group_size=len(table))
                    num_records += len(table)
                if writing is not None:
                    writing.result()
        return [Part(part_path, file.num_bytes, sink.digest.hexdigest(), num_records, version=file.version)]

    def _tables(self, tasks: Iterable[AudioBatch]) -> Iterator[Any]:
        """The records as a table a row group; none that is empty."""
        schema, known = self.schema(), None
        for rows in self._row_groups(tasks):
            if schema is None or known is not None:  # names of columns come from the records
                rows = [(self._with_valid_text(record), path, offset) for record, path, offset in rows]
            if schema is None:
                schema = self.schema_of([record for record, _, _ in rows])
                known = {name for record, _, _ in rows for name in record}
            if known is not None:
                rows = list(self._without_unknown(rows, known))
            table = self._table(rows, schema)
            if len(table):
                yield table

    def _row_groups(self, tasks: Iterable[AudioBatch]) -> Iterator[list[_Row]]:
        """The records by row groups of some MB each, whatever the size of the tasks."""
        rows: list[_Row] = []
        num_bytes = 0
        limit = self.row_group_mb * 2**20
        for task in tasks:
            for index, record in enumerate(task.records):
                rows.append((record, task.path_of(index), task.offsets[index]))
                num_bytes += sum(map(_num_bytes, record.values()))
                if num_bytes >= limit or len(rows) >= MAX_ROW_GROUP_RECORDS:
                    yield rows
                    rows, num_bytes = [], 0
        if rows:
            yield rows

    def _table(self, rows: list[_Row], schema: Any) -> Any:
        """The rows as one table, without those that do not fit the columns."""
        try:
            return self._as_table([record for record, _, _ in rows], schema)
        except misfits():
            import pyarrow

            return pyarrow.concat_tables([schema.empty_table(), *self._fitting(rows, schema)]).combine_chunks()

    def _fitting(self, rows: list[_Row], schema: Any) -> Iterator[Any]:
        """A table for each row that fits."""
        for row in rows:
            try:
                yield self._as_table([self._with_valid_text(row[0])], schema)
            except misfits() as error:
                self._set_aside(row, RecordError("wrong_type", f"it does not fit the columns: {error}"))

    def _without_unknown(self, rows: list[_Row], known: set[str]) -> Iterator[_Row]:
        """The rows without those that have a field which the first records of the shard have not."""
        for row in rows:
            unknown = next((name for name in row[0] if name not in known), None)
            if unknown is None:
                yield row
            else:
                message = f"'{unknown}' is in none of the first records of the shard; declare the columns"
                self._set_aside(row, RecordError("unknown_field", message))

    def _set_aside(self, row: _Row, error: RecordError) -> None:
        record, source_path, offset = row
        self.set_aside(source_path, error, record, offset)

    def _with_valid_text(self, record: Record) -> Record:
        repairs = Repairs()
        valid: Record = with_valid_text(record, repairs)
        self.log_metrics(repairs.as_metrics())
        return valid

    def _as_table(self, records: list[Record], schema: Any) -> Any:
        import pyarrow

        repairs = Repairs()
        types = dict(zip(schema.names, schema.types))
        columns = [_as_column([record.get(name) for record in records], kind) for name, kind in types.items()]
        columns = [column if _is_finite(column) else _with_finite_numbers(column, repairs) for column in columns]
        table = pyarrow.Table.from_arrays(columns, schema=schema)
        self.log_metrics(repairs.as_metrics())
        return table


def _as_column(values: list[Any], kind: Any) -> Any:
    import pyarrow

    if not pyarrow.types.is_integer(_item(kind)):
        return pyarrow.array(values, kind)
    found = pyarrow.array(values)  # told to make integers, pyarrow would cut decimals off
    types = pyarrow.types
    if not any(is_kind(_item(found.type)) for is_kind in (types.is_integer, types.is_floating, types.is_null)):
        raise TypeError(f"{_item(found.type)} is no whole number")
    return found.cast(kind)


def _is_finite(column: Any) -> bool:
    """Whether no number in a column, or in lists and objects of it, is NaN or infinite."""
    import pyarrow
    import pyarrow.compute

    if pyarrow.types.is_floating(column.type):
        return pyarrow.compute.all(pyarrow.compute.is_finite(column), min_count=0).as_py() is not False
    if pyarrow.types.is_list(column.type):
        return _is_finite(column.flatten())
    return not pyarrow.types.is_struct(column.type) or all(map(_is_finite, column.flatten()))


def _with_finite_numbers(column: Any, repairs: Repairs) -> Any:
    import pyarrow

    return pyarrow.array(with_finite_numbers(column.to_pylist(), repairs), column.type)


def _item(kind: Any) -> Any:
    """The type of the items of a list, any other as it is."""
    import pyarrow

    return kind.value_type if pyarrow.types.is_list(kind) else kind


def misfits() -> tuple[type[Exception], ...]:
    """What pyarrow raises for a value that a column cannot hold."""
    import pyarrow

    return pyarrow.ArrowException, OverflowError, TypeError, ValueError, AttributeError


def _num_bytes(value: Any) -> int:
    """About how much room a value takes in a file."""
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_num_bytes, value.values()))
    return 4 * len(value) if isinstance(value, list) else 8


class _Sink:
    """An ``AtomicFile`` as pyarrow writes to it."""

    closed = False

    def __init__(self, file: AtomicFile) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        written = bytes(data)
        self._file.write(written)
        self.digest.update(written)
        return len(written)

    def tell(self) -> int:
        return self._file.num_bytes

    def flush(self) -> None:
        """Nothing: the file is flushed when it is committed."""

    def close(self) -> None:
        """Nothing: whoever created the file commits it."""
