"""Reading segments from Parquet shards."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.io.extra_column import EXTRA, with_extra
from curator_audio.stages.io.parquet_errors import as_parquet
from curator_audio.stages.io.parquet_shard import ParquetShard, usable_rows
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.foreign_fields import Sources
from curator_audio.stages.speech.parquet_columns import SegmentColumns
from curator_audio.stages.speech.segment_tree_reader import SegmentTreeReaderStage
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, check_chosen
from curator_audio.storage.storage import join
from curator_audio.tasks import AudioBatch, Partition, Record

ROWS_AT_ONCE = 64


@dataclass
class SegmentParquetReaderStage(SegmentTreeReaderStage):
    """Reads segments from the Parquet shards below a folder or prefix.

    Columns are found by the names they have in known datasets, and by those that ``fields`` gives; all others follow
    under their own names, and so does what a column ``extra`` holds as JSON. Fields of a segment without a column are
    None, and a row without a name is named after its shard and its number. A file that is not Parquet, has neither
    sound, text nor codes, or unpacks to more than memory should hold (``ParquetShard``), is quarantined, and so is a
    row with text that is not UTF-8. A value of another kind than its field is taken for absent and counted
    (``optional_fields_ignored``).

    Args:
        input_path: the folder or prefix, or a single shard; a local path or any fsspec URL.
        partition_size_mb: shards are put together up to this size in MB (2**20 bytes); 0 leaves each by itself.
        columns: the fields to read, those of a segment or further ones; ``extra`` for all in it; None for all.
        fields: names of columns by what they are of a segment, as ``{"text": "transcript"}``.

    Raises:
        ConfigurationError: a parameter out of range, or a name in ``fields`` that segments do not have; or, before a
            run, a column of ``fields`` or ``columns`` that is not in the first shards.
    """

    partition_size_mb: float = 0.0
    columns: list[str] | None = None

    name = "parquet_reader"
    version = 3
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    looks_at_all_names: ClassVar[bool] = True
    looked_at: ClassVar[int] = 16  # footers are small

    _has_more: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_chosen(self.columns)

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._has_more = False

    def kinds_in(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        with self.tree.open(path, reads_ahead=False) as file, as_parquet():
            columns = SegmentColumns(ParquetShard(file).schema, self.fields)
        # What a row names its speaker comes along where it says nothing of who that is.
        self._has_more = self._has_more or columns.has_extra or not columns.sources.claimed
        return columns.kinds, columns.types

    @property
    def may_have_more(self) -> bool:
        if self.columns is not None and EXTRA not in self.columns:
            return False
        self._look()
        return self._has_more or len(self._files()) > self.looked_at

    def sources_in(self, kinds: Mapping[str, str]) -> Sources:
        sources = super().sources_in(kinds)
        if self.columns is None:
            return sources
        return replace(sources, further=tuple(n for n in sources.further if n in self.columns), not_taken=())

    def remarks(self) -> list[str]:
        kinds = self._look()
        for name in self.columns or ():
            if kinds and not (name in kinds or name in SEGMENT_FIELDS or self._has_more):
                there = ", ".join(sorted(kinds))
                raise ConfigurationError(
                    f"columns has '{name}', and {self.input_path} begins without it, it has {there}; check the name"
                )
        return super().remarks()

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
                    try:
                        if isinstance(row, RecordError):
                            raise row
                        if columns.has_extra:
                            yield self._with_extra(row, own, columns.kinds, f"{stem}_{number}")
                        else:
                            yield self.segment_of(row, own, f"{stem}_{number}")
                    except RecordError as error:
                        self.set_aside(path, error, {"row": number})
        except (RecordError, AccessError) as error:
            self.set_aside(path, error)

    def _with_extra(self, row: Record, sources: Sources, there: Collection[str], segment_id: str) -> Record:
        """The record of a segment of which some fields stand in ``extra``."""
        row = with_extra(row)
        met = {*sources.of, *sources.further}
        more = [name for name in row if name not in met and self._is_wanted(name, there)]
        of = {name: name for name in more if name in SEGMENT_FIELDS}
        further = (*sources.further, *(name for name in more if name not in of))
        return self.segment_of(row, replace(sources, of={**sources.of, **of}, further=further), segment_id)

    def _is_wanted(self, name: str, there: Collection[str]) -> bool:
        """Tell whether a field in ``extra`` is asked for: by its name, or by that of ``extra`` if it has no column."""
        return self.columns is None or name in self.columns or (EXTRA in self.columns and name not in there)

    def _rows(self, shard: ParquetShard, columns: SegmentColumns) -> Iterator[Record | RecordError]:
        names = columns.columns()
        for group in range(shard.metadata.num_row_groups):  # one by one: what is read at once of it, pyarrow holds
            for batch in shard.batches(group, names, ROWS_AT_ONCE):
                yield from usable_rows(columns.of(batch))
