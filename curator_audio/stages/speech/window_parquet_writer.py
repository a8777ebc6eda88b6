"""Writing windows as Parquet shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.speech.schema import window_schema
from curator_audio.stages.speech.segments import check_columns
from curator_audio.stages.speech.windows import WINDOW_FIELDS


@dataclass
class WindowParquetWriterStage(ParquetShardWriterStage):
    """Writes windows as Parquet shards that ``datasets.load_dataset("parquet", …)`` opens, sound and segments included.

    Args:
        output_path: the folder or prefix of the shards.
        columns: the fields to write, in this order; None for all of them.

    Raises:
        ConfigurationError: a field that windows do not have.
    """

    columns: list[str] | None = None

    name = "parquet_writer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns, WINDOW_FIELDS, "windows")

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["window_id"]

    def schema(self) -> Any:
        return window_schema(tuple(self.columns or WINDOW_FIELDS))
