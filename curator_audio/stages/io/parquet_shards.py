"""The base of the writers of Parquet shards."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.stages.field_types import short, type_of_arrow, types_seen
from curator_audio.stages.fields import Fields, FieldTypes
from curator_audio.stages.io.columns import Columns, described
from curator_audio.stages.io.typed_rows import Row, TypedRows
from curator_audio.stages.parameters import check_number
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.atomic_file import AtomicFile
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Part, Record

MAX_ROW_GROUP_RECORDS = 10_000
COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")


@dataclass
class ParquetShardWriterStage(WriterStage[AudioBatch]):
    """Writes records as Parquet, a shard a partition; what the core columns are, a subclass says.

    Behind them come the further fields that are known before a run, in the types that stages declare or that the source
    shows, and a string column ``extra`` with a JSON object of what has no column (counted as ``extra_NAME``). All
    shards of a folder have the columns that its first run settled. A value that does not fit a declared column
    quarantines its record; one that does not fit another goes to ``extra``. NaN and infinities are written as null
    (``numbers_not_finite``), halves of surrogate pairs in texts as U+FFFD (``texts_repaired``); both are counted.

    A subclass that overrides ``schema`` has these columns and no others: a further field is an error before the run.

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
    _settled: Columns | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_path.endswith(self.suffix):
            raise ConfigurationError(f"output_path is {self.output_path}; give a folder, Parquet is written as shards")
        if self.compression not in COMPRESSIONS:
            raise ConfigurationError(f"compression is {self.compression!r}; give one of {', '.join(COMPRESSIONS)}")
        check_number("row_group_mb", self.row_group_mb, "of MB above 0", 0, above=True)

    # What the columns are -----------------------------------------------------------------------------------------

    def core(self) -> FieldTypes:
        """Return the types of the columns that all datasets of this writer have, by name, in order."""
        return {}

    def chosen(self) -> list[str] | None:
        """Return the columns that the user wants, further ones included; None for all."""
        return None

    def has_features(self) -> bool:
        """Tell whether shards tell ``datasets`` what their columns are."""
        return True

    def schema(self) -> Any:
        """Return the ``pyarrow.Schema`` of all shards: what was settled, or the core columns where nothing was yet."""
        columns = self._settled or Columns.settled(self.core(), Fields(), None)
        return columns.schema(self.has_features())

    def settle(self, fields: Fields) -> dict[str, Any] | None:
        if self._is_fixed:
            return None
        return Columns.settled(self.core(), fields, self.chosen()).to_json()

    def settled_before(self) -> dict[str, Any] | None:
        core = self.core()
        return Columns.settled(core, Fields(), self.chosen() or list(core)).to_json()

    def settled_of(self, storage: Storage, path: str, settled: Mapping[str, Any]) -> dict[str, Any]:
        import pyarrow.parquet

        try:
            with storage.open(path, reads_ahead=False) as file:
                schema = pyarrow.parquet.ParquetFile(file).schema_arrow
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        return Columns.of_shard(schema, Columns.from_json(settled)).to_json()

    def with_settled(self, settled: Mapping[str, Any]) -> ParquetShardWriterStage:
        writer = copy.copy(self)
        writer._settled = Columns.from_json(settled)
        return writer

    @property
    def keeps_any(self) -> bool:
        return not self._is_fixed and (self._settled is None or self._settled.others != "none")

    def lost(self, fields: Fields) -> list[str]:
        return [] if self.keeps_any else [name for name in fields.kinds if name not in self.schema().names]

    def keeps(self) -> list[str]:
        if self._settled is not None:
            return described(self._settled)
        schema = self.schema()
        return [f"{column.name} {short(type_of_arrow(column.type))}" for column in schema]

    def leaves_out(self, fields: Fields) -> list[str]:
        return self._settled.left_out_of(fields) if self._settled is not None else []

    @property
    def _is_fixed(self) -> bool:
        return type(self).schema is not ParquetShardWriterStage.schema

    @property
    def has_empty_shards(self) -> bool:
        """Whether a partition without records makes a shard without rows, and not none."""
        return False

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], []

    # Writing ------------------------------------------------------------------------------------------------------

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
        groups = self._row_groups(tasks)
        if self._is_fixed:
            schema = self.schema()
            rows = TypedRows(schema, Columns(dict.fromkeys(schema.names, ""), frozenset(schema.names)), self)
        else:
            first = list(islice(groups, 0 if self._settled else 1))
            columns = self._settled or self._settled_by([record for rows in first for record, _, _ in rows])
            groups = chain(iter(first), groups)
            del first  # which would be held until the last one is written
            rows = TypedRows(columns.schema(self.has_features()), columns, self)
        for group in groups:
            table = rows.table(group)
            if len(table):
                yield table

    def _settled_by(self, records: list[Record]) -> Columns:
        """Return the columns of a shard that is written without a run, by its first row group."""
        num_bytes = sum(_num_bytes(record) for record in records)
        is_last = num_bytes < self.row_group_mb * 2**20 and len(records) < MAX_ROW_GROUP_RECORDS
        fields = Fields(seen=types_seen(records), open=not is_last)
        return Columns.settled(self.core(), fields, self.chosen())

    def _row_groups(self, tasks: Iterable[AudioBatch]) -> Iterator[list[Row]]:
        """The records by row groups of some MB each, whatever the size of the tasks."""
        rows: list[Row] = []
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
