"""Writing training pairs as Parquet shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_audio.stages.dataset_features import with_features
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.speech.pairs import PAIR_FIELDS


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

    def schema(self) -> Any:
        import pyarrow

        def kind_of(name: str) -> Any:
            if name.endswith("_codes"):
                return pyarrow.list_(pyarrow.int32())
            return pyarrow.float64() if name.endswith("_sec") else pyarrow.string()

        return with_features(pyarrow.schema([(name, kind_of(name)) for name in PAIR_FIELDS]))
