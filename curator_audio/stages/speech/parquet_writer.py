"""Writing segments as Parquet shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.speech.schema import segment_schema
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, check_columns


@dataclass
class SegmentParquetWriterStage(ParquetShardWriterStage):
    """Writes segments as Parquet shards that ``datasets.load_dataset("parquet", …)`` opens, sound included.

    Args:
        output_path: the folder or prefix of the shards.
        columns: the fields to write, in this order; None for all of them.

    Raises:
        ConfigurationError: a field that segments do not have.
    """

    columns: list[str] | None = None

    name = "parquet_writer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id"]

    def schema(self) -> Any:
        return segment_schema(tuple(self.columns or SEGMENT_FIELDS))
