"""Reading segments from Parquet shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.stages.io.parquet_errors import as_parquet
from curator_audio.stages.io.parquet_shard import ParquetShard
from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, check_columns, foreign_segment
from curator_audio.storage.storage import join
from curator_audio.tasks import AudioBatch, Partition, Record

ROWS_AT_ONCE = 64


@dataclass
class SegmentParquetReaderStage(TreeReaderStage[AudioBatch]):
    """Reads segments from the Parquet shards below a folder or prefix.

    Columns that are no fields of a segment are left out, fields without a column are None, and a row without a name is
    named after its shard and its number. A file that is not Parquet, has neither sound, text nor codes, or unpacks to
    more than memory should hold (``ParquetShard``), is quarantined.

    Args:
        input_path: the folder or prefix, or a single shard; a local path or any fsspec URL.
        partition_size_mb: shards are put together up to this size in MB (2**20 bytes); 0 leaves each by itself.
        columns: the fields to read; None for all of them.

    Raises:
        ConfigurationError: a parameter out of range, or a field that segments do not have.
    """

    partition_size_mb: float = 0.0
    columns: list[str] | None = None

    name = "parquet_reader"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["records"], list(SEGMENT_FIELDS)

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for key in task.keys:
            path = join(task.source_path, key)
            stem = key.removesuffix(".parquet").replace("/", "_")
            yield from segment_batches(((record, -1) for record in self._records(path, stem)), path)

    def _records(self, path: str, stem: str) -> Iterator[Record]:
        try:
            with self.tree.open(path, reads_ahead=False) as file, as_parquet():
                for number, row in enumerate(self._rows(file)):
                    if isinstance(row, RecordError):
                        self.set_aside(f"{path}#{number}", row)
                    else:
                        yield foreign_segment(row, f"{stem}_{number}")
        except (RecordError, AccessError) as error:
            self.set_aside(path, error)

    def _rows(self, file: IO[bytes]) -> Iterator[dict[str, Any] | RecordError]:
        shard = ParquetShard(file)
        columns = [name for name in shard.schema.names if name in (self.columns or SEGMENT_FIELDS)]
        if not {"audio", "text", "codes"}.intersection(columns):
            there = ", ".join(shard.schema.names)
            raise RecordError("missing_field", f"it has none of the columns audio, text and codes, only {there}")
        for group in range(shard.metadata.num_row_groups):
            yield from shard.rows(group, columns, ROWS_AT_ONCE)
