"""Writing records of any kind as Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage, misfits
from curator_audio.stages.parameters import check_flag
from curator_audio.tasks import Record


@dataclass
class ParquetWriterStage(ParquetShardWriterStage):
    """Writes records of any kind as Parquet, a shard a partition.

    Columns are declared, or found in the first records of each shard (its first row group): a column a field, in the
    order in which they appear, of the type of its values. Declare them where fields may be missing or empty, so that
    all shards have the same ones. A record that does not fit the columns is quarantined. Fields without a declared
    column are left out; where columns are found, a record with a further field is quarantined.

    Args:
        output_path: the folder or prefix of the shards.
        compression: zstd, snappy, gzip, lz4 or none.
        row_group_mb: about how much is put into a row group, MB (2**20 bytes) before compression.
        columns: the types of the columns by their names: string, binary, bool, int32, int64, float32, float64, or
            ``list<…>`` of one of them; None for those of the records.
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
            _type_of(column, kind)

    @property
    def has_empty_shards(self) -> bool:
        return self.empty_shards

    def schema(self) -> Any:
        import pyarrow

        if self.columns is None:
            return None
        return pyarrow.schema([(column, _type_of(column, kind)) for column, kind in self.columns.items()])

    def schema_of(self, records: list[Record]) -> Any:
        import pyarrow

        names = dict.fromkeys(name for record in records for name in record)
        found = ((name, _found_type([record.get(name) for record in records])) for name in names)
        return pyarrow.schema([(name, kind) for name, kind in found if kind is not None])


def _type_of(column: str, kind: Any) -> Any:
    """The type of a column by its name."""
    import pyarrow

    text = str(kind).strip()
    if text.startswith("list<") and text.endswith(">"):
        return pyarrow.list_(_type_of(column, text.removeprefix("list<").removesuffix(">")))
    try:
        return pyarrow.type_for_alias(text)
    except ValueError:
        raise ConfigurationError(
            f"columns has {column}: {kind!r}; give string, binary, bool, int32, int64, float32, float64 or list<…>"
        ) from None


def _found_type(values: list[Any]) -> Any:
    """The type of a column with these values: of all of them, or else of the first; None where Parquet has none."""
    import pyarrow

    given = [value for value in values if value is not None]
    for some in (given, given[:1]):
        try:
            return _writable(pyarrow.array(some).type)
        except misfits():
            continue
    return pyarrow.string()


def _writable(kind: Any) -> Any:
    """A type as a column can have it: string where no value tells, None for an object without fields."""
    import pyarrow

    if pyarrow.types.is_null(kind):
        return pyarrow.string()
    if pyarrow.types.is_list(kind):
        item = _writable(kind.value_type)
        return pyarrow.list_(item) if item is not None else None
    if pyarrow.types.is_struct(kind):
        found = ((field.name, _writable(field.type)) for field in kind)
        fields = [(name, field_kind) for name, field_kind in found if field_kind is not None]
        return pyarrow.struct(fields) if fields else None
    return kind
