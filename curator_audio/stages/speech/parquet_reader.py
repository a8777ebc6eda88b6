"""Reading segments from Parquet shards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.stages.io.parquet_errors import as_parquet
from curator_audio.stages.io.parquet_shard import ParquetShard, usable_rows
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.foreign_fields import Sources
from curator_audio.stages.speech.parquet_columns import SegmentColumns
from curator_audio.stages.speech.segment_tree_reader import SegmentTreeReaderStage
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, check_columns
from curator_audio.storage.storage import join
from curator_audio.tasks import AudioBatch, Partition, Record

ROWS_AT_ONCE = 64


@dataclass
class SegmentParquetReaderStage(SegmentTreeReaderStage):
    """Reads segments from the Parquet shards below a folder or prefix.

    Columns are found by the names they have in known datasets, and by those that ``fields`` gives; those that are no
    fields of a segment are left out and named, fields without a column are None, and a row without a name is named
    after its shard and its number. A file that is not Parquet, has neither sound, text nor codes, or unpacks to more
    than memory should hold (``ParquetShard``), is quarantined, and so is a row with text that is not UTF-8. A value of
    another kind than its field is taken for absent and counted (``optional_fields_ignored``).

    Args:
        input_path: the folder or prefix, or a single shard; a local path or any fsspec URL.
        partition_size_mb: shards are put together up to this size in MB (2**20 bytes); 0 leaves each by itself.
        columns: the fields to read; None for all of them.
        fields: names of columns by what they are of a segment, as ``{"text": "transcript"}``.

    Raises:
        ConfigurationError: a parameter out of range, or a field that segments do not have; or, before a run, a column
            of ``fields`` that is not in the first shards.
    """

    partition_size_mb: float = 0.0
    columns: list[str] | None = None

    name = "parquet_reader"
    version = 2
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    looks_at_all_names: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns)

    def kinds_in(self, path: str) -> dict[str, str]:
        with self.tree.open(path, reads_ahead=False) as file, as_parquet():
            return SegmentColumns(ParquetShard(file).schema, self.fields).kinds

    def sources_in(self, kinds: Mapping[str, str]) -> Sources:
        sources = super().sources_in(kinds)
        return sources if self.columns is None else replace(sources, not_taken=())

    def wanted(self) -> Collection[str]:
        return self.columns or SEGMENT_FIELDS

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for key in task.inputs:
            path = join(task.source_path, key)
            stem = key.removesuffix(".parquet").replace("/", "_")
            yield from segment_batches(((record, -1) for record in self._records(path, stem)), path)

    def _records(self, path: str, stem: str) -> Iterator[Record]:
        try:
            with self.tree.open(path, reads_ahead=False) as file, as_parquet():
                shard = ParquetShard(file)
                columns = SegmentColumns(shard.schema, self.fields, self.columns)
                if not {"audio", "text", "codes"}.intersection(columns.sources.of):
                    there = ", ".join(columns.kinds)
                    raise RecordError(
                        "missing_field",
                        f"it has none of the columns audio, text and codes, only {there}; "
                        "'fields={text: NAME}' says which one is the text",
                    )
                own = replace(columns.sources, of={name: name for name in columns.sources.of})
                for number, row in enumerate(self._rows(shard, columns)):
                    if isinstance(row, RecordError):
                        self.set_aside(path, row, {"row": number})
                    else:
                        yield self.segment_of(row, own, f"{stem}_{number}")
        except (RecordError, AccessError) as error:
            self.set_aside(path, error)

    def _rows(self, shard: ParquetShard, columns: SegmentColumns) -> Iterator[Record | RecordError]:
        names = columns.columns()
        for group in range(shard.metadata.num_row_groups):  # one by one: what is read at once of it, pyarrow holds
            for batch in shard.batches(group, names, ROWS_AT_ONCE):
                yield from usable_rows(columns.of(batch))
