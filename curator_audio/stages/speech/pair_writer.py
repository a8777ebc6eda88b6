"""Writing training pairs as Parquet shards."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.stages.fields import FieldTypes
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.speech.pairs import PAIR_FIELDS, PAIR_TYPES


@dataclass
class PairParquetWriterStage(ParquetShardWriterStage):
    """Writes pairs as Parquet shards that ``datasets.load_dataset("parquet", …)`` opens.

    Args:
        output_path: the folder or prefix of the shards.

    Example:
        >>> PairParquetWriterStage("pairs").schema().field("target_codes").type
        ListType(list<item: int32>)
    """

    name = "pair_writer"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], list(PAIR_FIELDS)

    def core(self) -> FieldTypes:
        return PAIR_TYPES
