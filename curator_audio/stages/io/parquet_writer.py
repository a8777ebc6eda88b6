"""Writing Parquet shards."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.stages.base import QuarantinedRecord
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.atomic_file import AtomicFile
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Part, Record

ROW_GROUP_BYTES = 16 * 2**20
ROW_GROUP_RECORDS = 10_000

_Row = tuple[Record, str, int]
"""A record, and the path and position it was read from."""


@dataclass
class ParquetWriterStage(WriterStage[AudioBatch]):
    """Writes records as Parquet, a shard a partition, with a schema that is declared and the same in all shards.

    A record that does not fit the schema is quarantined; fields that the schema lacks are left out.

    Args:
        output_path: the folder or prefix of the shards.

    Raises:
        ConfigurationError: a file instead of a folder.
    """

    output_path: str

    suffix: ClassVar[str] = ".parquet"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_path.endswith(self.suffix):
            raise ConfigurationError(f"output_path is {self.output_path}; give a folder, Parquet is written as shards")

    @abstractmethod
    def schema(self) -> Any:
        """The ``pyarrow.Schema`` of the shards."""

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], []

    def encode(self, task: AudioBatch) -> bytes:
        raise TypeError("Parquet is written a shard at a time; executors call write()")

    def write(self, storage: Storage, part_path: str, tasks: Iterable[AudioBatch]) -> list[Part]:
        import pyarrow.parquet

        tables = self._tables(tasks)
        first = next(tables, None)
        if first is None:
            storage.delete([part_path])
            return []
        num_records = 0
        with storage.create(part_path) as file:
            sink = _Sink(file)
            with pyarrow.parquet.ParquetWriter(sink, self.schema(), compression="zstd") as writer:
                for table in chain([first], tables):
                    writer.write_table(table, row_group_size=len(table))
                    num_records += len(table)
        return [Part(part_path, file.num_bytes, sink.digest.hexdigest(), num_records)]

    def _tables(self, tasks: Iterable[AudioBatch]) -> Iterator[Any]:
        """The records as row groups of some MB each, whatever the size of the tasks."""
        rows: list[_Row] = []
        num_bytes = 0
        for task in tasks:
            for record, offset in zip(task.records, task.offsets):
                rows.append((record, task.source_path, offset))
                num_bytes += sum(map(_num_bytes, record.values()))
                if num_bytes >= ROW_GROUP_BYTES or len(rows) >= ROW_GROUP_RECORDS:
                    yield from self._table(rows)
                    rows, num_bytes = [], 0
        yield from self._table(rows)

    def _table(self, rows: list[_Row]) -> Iterator[Any]:
        """The rows as one table, without those that do not fit the columns."""
        schema = self.schema()
        try:
            table = _as_table([record for record, _, _ in rows], schema)
        except _misfits():
            table = _as_table(list(self._fitting(rows, schema)), schema)
        if len(table):
            yield table

    def _fitting(self, rows: list[_Row], schema: Any) -> Iterator[Record]:
        for record, source_path, offset in rows:
            try:
                _as_table([record], schema)
                yield record
            except _misfits() as error:
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


def _misfits() -> tuple[type[Exception], ...]:
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
