"""The base of the writers of Parquet shards."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.stages.base import QuarantinedRecord
from curator_audio.stages.parameters import check_number
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.atomic_file import AtomicFile
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Part, Record

MAX_ROW_GROUP_RECORDS = 10_000
COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")

_Row = tuple[Record, str, int]
"""A record, and the path and position it was read from."""


@dataclass
class ParquetShardWriterStage(WriterStage[AudioBatch]):
    """Writes records as Parquet, a shard a partition; what the columns are, a subclass says.

    A record that does not fit the columns is quarantined; fields without a column are left out.

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

    def encode(self, task: AudioBatch) -> bytes:
        raise TypeError("Parquet is written a shard at a time; executors call write()")

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
                    writing = beside.submit(writer.write_table, table, row_group_size=len(table) or None)
                    num_records += len(table)
                if writing is not None:
                    writing.result()
        return [Part(part_path, file.num_bytes, sink.digest.hexdigest(), num_records)]

    def _tables(self, tasks: Iterable[AudioBatch]) -> Iterator[Any]:
        """The records as a table a row group; none that is empty."""
        schema = self.schema()
        for rows in self._row_groups(tasks):
            if schema is None:
                schema = self.schema_of([record for record, _, _ in rows])
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
            return _as_table([record for record, _, _ in rows], schema)
        except misfits():
            return _as_table(list(self._fitting(rows, schema)), schema)

    def _fitting(self, rows: list[_Row], schema: Any) -> Iterator[Record]:
        for record, source_path, offset in rows:
            try:
                _as_table([record], schema)
                yield record
            except misfits() as error:
                message = f"it does not fit the columns: {error}"
                bad = QuarantinedRecord(source_path, offset, self.name, "wrong_type", message, record)
                self.observed.quarantined.append(bad)


def _as_table(records: list[Record], schema: Any) -> Any:
    import pyarrow

    columns = [_as_column([record.get(field.name) for record in records], field.type) for field in schema]
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _as_column(values: list[Any], kind: Any) -> Any:
    import pyarrow

    item_kind = kind.value_type if pyarrow.types.is_list(kind) else kind
    if pyarrow.types.is_integer(item_kind):  # told to make them, pyarrow would cut the decimals off
        return pyarrow.array(values).cast(kind)
    return pyarrow.array(values, kind)


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
