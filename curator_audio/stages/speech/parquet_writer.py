"""Writing segments as Parquet shards."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.stages.fields import FieldTypes
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.speech.parquet_columns import MARK
from curator_audio.stages.speech.segments import SEGMENT_TYPES, check_chosen


@dataclass
class SegmentParquetWriterStage(ParquetShardWriterStage):
    """Writes segments as Parquet shards that ``datasets.load_dataset("parquet", …)`` opens, sound included.

    Args:
        output_path: the folder or prefix of the shards.
        columns: the fields to write, in this order, further ones and ``extra`` among them; None for all of them.

    Raises:
        ConfigurationError: columns is no list of names; or, before a run, has a field that segments do not have.
    """

    columns: list[str] | None = None

    name = "parquet_writer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_chosen(self.columns)

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id"]

    def metadata(self) -> dict[bytes, bytes]:
        return {MARK: b"segments"}

    def core(self) -> FieldTypes:
        return SEGMENT_TYPES

    def chosen(self) -> list[str] | None:
        return self.columns
