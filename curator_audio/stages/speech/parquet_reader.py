"""Reading segments from Parquet shards."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, segment_record
from curator_audio.tasks import AudioBatch, Partition, Record

ROWS_AT_ONCE = 64


@dataclass
class SegmentParquetReaderStage(TreeReaderStage[AudioBatch]):
    """Reads segments from the Parquet shards below a folder or prefix.

    Columns that are no fields of a segment are left out; fields without a column are None. A file that is not
    Parquet, or has neither sound, text nor codes, is quarantined.

    Args:
        input_path: the folder or prefix, or a single shard; a local path or any fsspec URL.
        partition_size_mb: shards are put together up to this size in MB (2**20 bytes); 0 leaves each by itself.
        columns: the fields to read; None for all of them.
    """

    partition_size_mb: float = 0.0
    columns: list[str] | None = None

    name = "parquet_reader"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["records"], list(SEGMENT_FIELDS)

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for path in self.paths(task):
            yield from segment_batches(self._records(path), path)

    def _records(self, path: str) -> Iterator[tuple[Record, int]]:
        try:
            with self.storage.open(path, reads_ahead=False) as file:
                yield from self._rows(path, file)
        except (RecordError, AccessError) as error:
            self.set_aside(path, error)

    def _rows(self, path: str, file: IO[bytes]) -> Iterator[tuple[Record, int]]:
        import pyarrow
        import pyarrow.parquet

        stem = posixpath.basename(path).removesuffix(".parquet")
        try:
            shard = pyarrow.parquet.ParquetFile(file, pre_buffer=True)
            columns = [name for name in shard.schema_arrow.names if name in (self.columns or SEGMENT_FIELDS)]
            if not {"audio", "text", "codes"}.intersection(columns):
                there = ", ".join(shard.schema_arrow.names)
                raise RecordError("missing_field", f"it has none of the columns audio, text and codes, only {there}")
            position = 0
            for batch in shard.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
                for row in batch.to_pylist():
                    yield _record(row, f"{stem}_{position}"), position
                    position += 1
        except pyarrow.ArrowInvalid as error:
            raise RecordError("not_parquet", f"it cannot be read as Parquet: {error}") from None


def _record(row: dict[str, Any], segment_id: str) -> Record:
    """A row with all fields of a segment."""
    if isinstance(row.get("audio"), bytes):
        row["audio"] = {"bytes": row["audio"], "path": None}
    record = segment_record(**row)
    record["segment_id"] = record["segment_id"] or segment_id
    record["codes"] = record["codes"] or []
    return record
