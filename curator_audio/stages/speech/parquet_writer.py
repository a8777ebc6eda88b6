"""Writing segments as Parquet shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.stages.io.parquet_writer import ParquetWriterStage
from curator_audio.stages.speech.schema import segment_schema
from curator_audio.stages.speech.segments import SEGMENT_FIELDS


@dataclass
class SegmentParquetWriterStage(ParquetWriterStage):
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
        columns = self.columns
        if columns is not None and (not isinstance(columns, list) or not columns):
            raise ConfigurationError(f"columns is {columns!r}; give a list such as [text,codes], or null for all")
        for column in columns or ():
            if column not in SEGMENT_FIELDS:
                raise ConfigurationError(f"columns has {column!r}; segments have {', '.join(SEGMENT_FIELDS)}")

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id"]

    def schema(self) -> Any:
        return segment_schema(tuple(self.columns or SEGMENT_FIELDS))
