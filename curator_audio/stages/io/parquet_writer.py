"""Writing records of any kind as Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.stages.field_types import NAMES, arrow_type
from curator_audio.stages.fields import FieldTypes
from curator_audio.stages.io.extra_column import EXTRA
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.parameters import check_flag


@dataclass
class ParquetWriterStage(ParquetShardWriterStage):
    """Writes records of any kind as Parquet, a shard a partition.

    Columns are declared, or found: those that stages declare, and those of the source, each of the type of its values.
    What has none goes to the column ``extra``. All shards of a folder have the columns that its first run settled. A
    record that does not fit a declared column is quarantined. Where columns are declared, other fields are left out; a
    column ``extra``, a string, among them takes those whose type is not known before the run.

    Args:
        output_path: the folder or prefix of the shards.
        compression: zstd, snappy, gzip, lz4 or none.
        row_group_mb: about how much is put into a row group, MB (2**20 bytes) before compression.
        columns: the types of the columns by their names: string, binary, bool, int32, int64, float32, float64, or
            ``list<…>`` of one of them; None for those of stages and source.
        empty_shards: whether a partition without records makes a shard without rows; needs ``columns``.

    Raises:
        ConfigurationError: a parameter out of range, or a type that does not exist.

    Example:
        >>> ParquetWriterStage("out", columns={"text": "string", "codes": "list<int32>"}).schema().field("codes").type
        ListType(list<item: int32>)
    """

    columns: dict[str, str] | None = None
    empty_shards: bool = False

    name = "parquet_writer"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("empty_shards", self.empty_shards)
        if self.columns is not None and (not isinstance(self.columns, dict) or not self.columns):
            raise ConfigurationError(
                f"columns is {self.columns!r}; give types by names, such as {{text: string}}, or null"
            )
        if self.empty_shards and self.columns is None:
            raise ConfigurationError("empty_shards needs columns: a shard without rows has none to find them in")
        for column, kind in (self.columns or {}).items():
            _check_type(column, kind)
            if column == EXTRA and str(kind).strip() != "string":
                raise ConfigurationError(
                    f"columns has {EXTRA}: {kind!r}; it is the JSON of fields without a column, give string, or "
                    "rename the field"
                )

    @property
    def has_empty_shards(self) -> bool:
        return self.empty_shards

    def core(self) -> FieldTypes:
        return self.columns or {}

    def chosen(self) -> list[str] | None:
        return None if self.columns is None else list(self.columns)

    def has_features(self) -> bool:
        return self.columns is None

    def settled_before(self) -> dict[str, Any] | None:
        return super().settled_before() if self.columns is not None else None


def _check_type(column: str, kind: Any) -> None:
    text = str(kind).strip()
    try:
        known = arrow_type(text)
    except ValueError:
        known = None
    if known is None:
        while text.startswith("list<") and text.endswith(">"):
            text = text.removeprefix("list<").removesuffix(">")
        raise ConfigurationError(f"columns has {column}: {text!r}; give {NAMES}")
