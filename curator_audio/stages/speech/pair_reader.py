"""Drawing training pairs for voice cloning from a dataset of segments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

import numpy as np
from loguru import logger

from curator_audio.errors import ConfigurationError, RecordError, StorageError
from curator_audio.ledger import sha256_of
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.field_types import plain_type
from curator_audio.stages.fields import UNTYPED, Fields
from curator_audio.stages.io.extra_column import EXTRA
from curator_audio.stages.io.parquet_rows import without_invalid_text
from curator_audio.stages.io.parquet_shard import ParquetShard
from curator_audio.stages.parameters import check_count, check_number
from curator_audio.stages.source import SourceStage, check_limit
from curator_audio.stages.speech.foreign_fields import Sources, local_speaker
from curator_audio.stages.speech.pairs import (
    PAIR_TYPES,
    SHARED_FIELDS,
    SIDE_FIELDS,
    SIDES,
    drawn_pairs,
    further_types,
    left_out,
    merged,
)
from curator_audio.stages.speech.parquet_columns import SegmentColumns
from curator_audio.stages.speech.parquet_reader import SegmentParquetReaderStage
from curator_audio.stages.speech.schema import segment_schema
from curator_audio.stages.speech.segment_tree_reader import common_type
from curator_audio.stages.speech.segments import SEGMENT_FIELDS
from curator_audio.stages.speech.speaker_index import NOBODY, SpeakerIndex, Speakers, speaker_of, speakers_of
from curator_audio.storage.storage import join
from curator_audio.tasks import AudioBatch, Inputs, Partition, Record

NEEDED_COLUMNS = ("speaker_id", *SIDE_FIELDS)
KNOWN_BY = ("speaker_id", "channel", "audio_id")
"""The columns that tell one speaker from another; the last one where speakers are those of a diarization."""
ROWS_AT_ONCE = 1024
SPEAKERS_AT_ONCE = 2**16
PAIRS_AT_ONCE = 500
LOOKED_AT = 16


class _Segment(NamedTuple):
    """A segment that has text and codes, and the shard and row it is in."""

    segment_id: str
    duration_sec: float
    shard: str
    row: int


@dataclass
class PairReaderStage(SourceStage[AudioBatch]):
    """Draws pairs of a reference and a target, two segments of one speaker, from Parquet shards of segments.

    A ``speaker_id`` is a speaker within a channel: two channels may well call two people by one name. Where it is one
    person, a warning counts those names, and a mapping of the channels to one (as ``dataset`` has) puts them together.

    Speakers are put together into partitions; those of a partition of an earlier run stay together, so that new
    speakers make new partitions. A partition is done again when a shard with segments of its speakers changed. Sound is
    never read. A worker holds the ids, and what is drawn, of one partition; the driver 8 bytes a segment of all.

    Left out and counted: segments without a speaker, an id, text or codes, and a second one of the same id; speakers
    with fewer than two segments, and those without a reference of the wanted length.

    Args:
        input_path: the folder or prefix of the shards, or a single one; a local path or any fsspec URL.
        seed: of the draw, which is made for every speaker by itself.
        max_pairs_per_speaker: how many pairs to draw of a speaker; all there are if they are no more.
        min_reference_duration: the shortest reference, in seconds.
        max_reference_duration: the longest reference, in seconds.
        segments_per_partition: speakers are put together up to this number of segments.
        fields: names of columns by what they are of a segment, as ``{"text": "transcript"}``.
        limit: draw pairs of no more than so many of the first speakers, those of earlier runs included; None for all.

    Raises:
        ConfigurationError: a parameter out of range.

    Example:
        >>> from curator_audio.stages.speech.parquet_writer import SegmentParquetWriterStage
        >>> from curator_audio.stages.speech.segments import segment_record
        >>> from curator_audio.storage.storage import Storage
        >>> segments = [
        ...     segment_record(segment_id=f"a_{n}", speaker_id="a/spk0", text="so be it", codes=[n], duration_sec=2.0)
        ...     for n in range(3)
        ... ]
        >>> writer = SegmentParquetWriterStage("memory://pairs")
        >>> parts = writer.write(Storage(), "memory://pairs/0.parquet", [AudioBatch(segments)])
        >>> reader = PairReaderStage("memory://pairs", max_pairs_per_speaker=2)
        >>> (batch,) = [batch for partition in reader.partitions() for batch in reader.process(partition)]
        >>> [(pair["reference_segment_id"], pair["target_segment_id"]) for pair in batch.records]
        [('a_0', 'a_2'), ('a_1', 'a_0')]
    """

    input_path: str
    seed: int = 0
    max_pairs_per_speaker: int = 100
    min_reference_duration: float = 1.0
    max_reference_duration: float = 15.0
    segments_per_partition: int = 20_000
    fields: dict[str, str] = field(default_factory=dict)
    limit: int | None = field(default=None, kw_only=True)

    name = "pair_reader"
    version = 2
    selecting: ClassVar[tuple[str, ...]] = ("input_path", "limit")
    locating: ClassVar[tuple[str, ...]] = ("input_path",)
    batch_of: ClassVar[str] = "speaker"

    def __post_init__(self) -> None:
        self._shards = SegmentParquetReaderStage(self.input_path, fields=self.fields)
        self._seen: tuple[int, list[tuple[Any, SegmentColumns]]] | None = None
        self.input_path = self._shards.input_path
        check_limit(self.limit)
        check_count("seed", self.seed, "of at least 0", 0)
        check_count("max_pairs_per_speaker", self.max_pairs_per_speaker, "of at least 1", 1)
        check_number("min_reference_duration", self.min_reference_duration, "of seconds, at least 0", 0)
        least = self.min_reference_duration
        allowed = "of seconds, at least min_reference_duration"
        check_number("max_reference_duration", self.max_reference_duration, allowed, least)
        check_count("segments_per_partition", self.segments_per_partition, "of at least 1", 1)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_seen": None}  # which is for the driver

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._shards.setup(worker)
        self._seen = None  # of an earlier run

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return ["records"], dict(PAIR_TYPES)

    def sampled_fields(self) -> Fields:
        further: dict[str, str] = {}
        num_shards, seen = self._first_shards()
        is_open = num_shards > LOOKED_AT
        for schema, columns in seen:
            types = further_types(schema, columns)
            is_open |= any(further.get(name, kind) != kind for name, kind in types.items())
            further |= {name: common_type(further.get(name, UNTYPED), kind) for name, kind in types.items()}
        types = {f"{side}_{name}": kind for side in SIDES for name, kind in further.items() if name != EXTRA}
        return Fields({**PAIR_TYPES, **types}, open=is_open or EXTRA in further)

    def remarks(self) -> list[str]:
        names = dict.fromkeys(name for schema, columns in self._first_shards()[1] for name in left_out(schema, columns))
        quoted = ", ".join(f"'{name}'" for name in names)
        return [f"pairs leave out {quoted} of {self.input_path}, for bytes stay with the segments"] if names else []

    def _first_shards(self) -> tuple[int, list[tuple[Any, SegmentColumns]]]:
        """Return how many shards there are, and of the first ones the schema and which columns are fields of segments.

        They are looked into once a run.
        """
        if self._seen is None:
            shards = [key for shard in self._shards.partitions() for key in shard.inputs]
            schemas = self.storage.each(self._schema, [join(self.root, key) for key in shards[:LOOKED_AT]])
            self._seen = len(shards), list(schemas)
        return self._seen

    @property
    def root(self) -> str:
        return self._shards.root

    def source_paths(self) -> set[str]:
        return self._shards.source_paths()

    def folders_read(self) -> set[str]:
        return self._shards.folders_read()

    # The driver: which speakers there are, and where --------------------------------------------------------

    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        root = self.root
        index = self._index(root)
        self._warn_of_one_name(index.speakers)
        left = dict.fromkeys(index.speakers)
        num_before = 0
        for name, inputs in sorted((known or {}).items()):
            num_before = int(name.partition("-")[0]) + 1
            found = [speaker for speaker in inputs.unpacked() if speaker in left]
            for speaker in found:
                del left[speaker]
            if found:
                yield _partition(name, root, found, index)
        num_left = len(left)
        if self.limit is not None:
            num_done = sum(speaker not in left for speaker in index.speakers if speaker != NOBODY)
            num_left = self.limit - num_done + (NOBODY in left)
        for number, speakers in enumerate(self._batches(left, index), num_before):
            if num_left <= 0:
                return
            partition = _partition(f"{number:06d}-{sha256_of(speakers)[:16]}", root, speakers[:num_left], index)
            yield replace(partition, is_cut=len(speakers) > num_left)
            num_left -= len(speakers)

    def _index(self, root: str) -> SpeakerIndex:
        shards = {key: mark for shard in self._shards.partitions() for key, mark in shard.inputs.items()}
        return SpeakerIndex(shards, self.storage.each(self._speakers, [join(root, key) for key in shards]))

    def _warn_of_one_name(self, speakers: list[str]) -> None:
        channels = Counter(speaker_of(key)[1] for key in speakers)
        if several := sorted(name for name, number in channels.items() if name and number > 1):
            logger.warning(
                f"{len(several)} speaker_id(s) such as '{several[0]}' are in several channels; pairs stay within a "
                "channel. Where they are the same people, give the channels one name (channel_mapping of dataset)"
            )

    def _speakers(self, path: str) -> list[Speakers]:
        """The speakers of the rows of a shard, in pieces."""
        with self._opened(path) as shard:
            columns = SegmentColumns(shard.schema, self.fields)
            for name in NEEDED_COLUMNS:
                if name not in columns.sources.of:
                    raise ConfigurationError(
                        f"{path} has no column '{self.fields.get(name, name)}', only "
                        f"{', '.join(columns.kinds)}; pairs need {', '.join(NEEDED_COLUMNS)}, and "
                        f"'fields={{{name}: NAME}}' says which one is the {name}"
                    )
            _as_segments(columns.of(shard.schema.empty_table(), NEEDED_COLUMNS))
            known_by = KNOWN_BY[: 2 if columns.sources.claimed else 3]
            return [
                _speakers_in(_as_segments(columns.of(batch, known_by)), columns.sources)
                for group in range(shard.metadata.num_row_groups)
                for batch in shard.batches(group, columns.columns(known_by), SPEAKERS_AT_ONCE)
            ]

    @contextmanager
    def _opened(self, path: str) -> Iterator[ParquetShard]:
        """A shard, to be read in the block.

        Raises:
            ConfigurationError: it is none, or more than memory should hold.
        """
        import pyarrow

        try:
            with self._shards.tree.open(path, reads_ahead=False) as file:
                yield ParquetShard(file)
        except (pyarrow.ArrowException, RecordError) as error:
            reason = error.message if isinstance(error, RecordError) else str(error)
            raise ConfigurationError(f"{path} cannot be read as a shard of segments: {reason}; remove it") from None

    def _batches(self, speakers: Iterable[str], index: SpeakerIndex) -> Iterator[list[str]]:
        batch: list[str] = []
        num_segments = 0
        for speaker in speakers:
            num_more = index.num_segments(speaker)
            if batch and num_segments + num_more > self.segments_per_partition:
                yield batch
                batch, num_segments = [], 0
            batch.append(speaker)
            num_segments += num_more
        if batch:
            yield batch

    # A worker: the pairs of some speakers -------------------------------------------------------------------

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        segments = self._segments(task)
        pairs = [
            (*pair, speaker_of(speaker)[1])
            for speaker in sorted(segments)
            for pair in self._drawn(speaker, segments[speaker])
        ]
        places = sorted({segment[2:] for *pair, _ in pairs for segment in pair})
        number = {place: index for index, place in enumerate(places)}
        table, further = self._table(task.source_path, places)
        for begin in range(0, len(pairs), PAIRS_AT_ONCE):
            some = pairs[begin : begin + PAIRS_AT_ONCE]
            sides = []
            for segments_of_side in ([reference for reference, _, _ in some], [target for _, target, _ in some]):
                those = [number[segment.shard, segment.row] for segment in segments_of_side]
                rows = table.take(those).to_pylist()
                sides.append([{**further[place], **row} for place, row in zip(those, rows)] if further else rows)
            speakers = [speaker_id for _, _, speaker_id in some]
            yield AudioBatch([_pair(*three) for three in zip(*sides, speakers)], task.source_path)

    def _segments(self, task: Partition) -> dict[str, list[_Segment]]:
        """The segments of each speaker that can be in a pair, in order of their ids."""
        import pyarrow.compute

        segments: dict[str, list[_Segment]] = {speaker: [] for speaker in task.inputs}
        for shard, rows in json.loads(task.data or b"{}").items():
            path = join(task.source_path, shard)
            for numbers, table, sources, _ in self._pieces(path, rows, dict.fromkeys((*NEEDED_COLUMNS, *KNOWN_BY))):
                lengths = pyarrow.compute.list_value_length(table["codes"])
                keys, of_row = _speakers_in(table, sources)
                columns = [table[name] for name in ("segment_id", "text", "duration_sec")]
                values = zip(numbers, of_row.tolist(), *(column.to_pylist() for column in [*columns, lengths]))
                for row, speaker_number, segment_id, text, duration, num_codes in values:
                    speaker = keys[speaker_number]
                    if speaker not in segments:
                        raise StorageError(_changed(path))
                    if lacks := _lacking(speaker, segment_id, text, num_codes):
                        self.log_metric(f"segments_without_{lacks}", 1)
                        continue
                    duration = -1.0 if duration is None else duration
                    segments[speaker].append(_Segment(segment_id, duration, shard, row))
        segments.pop(NOBODY, None)
        return {speaker: self._once_each(found) for speaker, found in segments.items()}

    def _once_each(self, segments: list[_Segment]) -> list[_Segment]:
        once = {segment.segment_id: segment for segment in sorted(segments, reverse=True)}
        if len(once) < len(segments):
            self.log_metric("segments_of_the_same_id", len(segments) - len(once))
        return sorted(once.values())

    def _drawn(self, speaker: str, segments: list[_Segment]) -> Iterator[tuple[_Segment, _Segment]]:
        low, high = self.min_reference_duration, self.max_reference_duration
        references = [number for number, segment in enumerate(segments) if low <= segment.duration_sec <= high]
        self.log_metric("speakers", 1)
        if len(segments) < 2:
            self.log_metric("speakers_without_two_segments", 1)
        elif not references:
            self.log_metric("speakers_without_reference", 1)
        _, speaker_id = speaker_of(speaker)
        drawn = drawn_pairs(speaker_id, len(segments), references, self.max_pairs_per_speaker, self.seed)
        return ((segments[reference], segments[target]) for reference, target in drawn)

    def _table(self, root: str, places: list[tuple[str, int]]) -> tuple[Any, list[Record]]:
        """The rows at these places, in their order, without sound, and the further fields of each, if there are any."""
        import pyarrow

        columns = dict.fromkeys((*NEEDED_COLUMNS, *SHARED_FIELDS))
        pieces = []
        further: list[Record] = []
        for shard, those in groupby(places, key=lambda place: place[0]):
            for _, table, _, more in self._pieces(join(root, shard), [row for _, row in those], columns, True):
                pieces.append(table)
                further += more
        table = pyarrow.concat_tables(pieces, promote_options="default").combine_chunks() if pieces else None
        return table, further if any(further) else []

    def _schema(self, path: str) -> tuple[Any, SegmentColumns]:
        with self._opened(path) as shard:
            return shard.schema, SegmentColumns(shard.schema, self.fields)

    def _pieces(
        self, path: str, rows: list[int], names: Iterable[str], has_further: bool = False
    ) -> Iterator[tuple[list[int], Any, Sources, list[Record]]]:
        """Rows of a shard, some at a time, with their numbers; fields that it lacks are left out.

        With them comes where the fields are from, which tells who the speakers are, and, where it is asked for, what
        the rows have beside the fields of segments, without sound.
        """
        with self._opened(path) as shard:
            columns = SegmentColumns(shard.schema, self.fields)
            further = list(further_types(shard.schema, columns)) if has_further else []
            num_read = 0
            for numbers, table in _rows_of(shard, rows, [*columns.columns(names), *further]):
                num_read += len(numbers)
                beside = _plain(table.select(further)).to_pylist() if further else [{}] * len(numbers)
                yield numbers, _as_segments(columns.of(table, names)), columns.sources, list(map(merged, beside))
            if num_read < len(rows):
                raise StorageError(_changed(path))


def _partition(name: str, root: str, speakers: list[str], index: SpeakerIndex) -> Partition:
    rows: dict[str, list[int]] = {}
    for speaker in speakers:
        for shard, there in index.rows(speaker).items():
            rows.setdefault(shard, []).extend(there)
    data = json.dumps({shard: sorted(there) for shard, there in sorted(rows.items())}).encode()
    inputs = {speaker: index.mark(speaker) for speaker in speakers}
    return Partition(name, root, 0, 0, inputs=inputs, data=data)


def _rows_of(shard: Any, rows: list[int], columns: list[str]) -> Iterator[tuple[list[int], Any]]:
    """The rows of a Parquet file with these numbers, which are in order; other row groups are not read."""
    import pyarrow

    wanted = np.array(rows)
    first = 0
    for index in range(shard.metadata.num_row_groups):
        after = first + shard.metadata.row_group(index).num_rows
        if np.searchsorted(wanted, first) < np.searchsorted(wanted, after):
            position = first
            for batch in shard.batches(index, columns, ROWS_AT_ONCE):
                chosen = wanted[np.searchsorted(wanted, position) : np.searchsorted(wanted, position + len(batch))]
                if len(chosen):
                    yield chosen.tolist(), pyarrow.Table.from_batches([batch]).take(chosen - position)
                position += len(batch)
        first = after


def _speakers_in(table: Any, sources: Sources) -> Speakers:
    """The speakers of a table's rows; a label of a diarization is one of its recording, if not said to be more."""
    import pyarrow

    def rows(name: str) -> Any:
        there = name in table.column_names
        return table[name].combine_chunks() if there else pyarrow.nulls(len(table), pyarrow.string())

    speakers, channels = rows("speaker_id"), rows("channel")
    speakers = speakers.dictionary_encode()
    if not all(map(sources.is_person, speakers.dictionary.to_pylist())):
        those = zip(*(column.to_pylist() for column in (speakers, channels, rows("audio_id"))))
        names = [name if sources.is_person(name) else local_speaker(name, *where) for name, *where in those]
        speakers = pyarrow.array(names, pyarrow.string()).dictionary_encode()
    return speakers_of(speakers, channels.dictionary_encode())


def _lacking(speaker: str, segment_id: str | None, text: str | None, num_codes: int | None) -> str:
    """What a segment lacks to be in a pair, if anything."""
    if not speaker:
        return "speaker"
    if not segment_id:
        return "id"
    if not (text or "").strip():
        return "text"
    return "" if num_codes else "codes"


def _pair(reference: Record, target: Record, speaker_id: str) -> Record:
    pair: Record = {name: target.get(name) for name in SHARED_FIELDS} | {"speaker_id": speaker_id}
    for side, segment in zip(SIDES, (reference, target)):
        pair |= {f"{side}_{name}": segment[name] for name in SIDE_FIELDS}
    for side, segment in zip(SIDES, (reference, target)):
        pair |= {f"{side}_{name}": value for name, value in segment.items() if name not in SEGMENT_FIELDS}
    return pair


def _plain(table: Any) -> Any:
    """The table with values that JSON has."""
    import pyarrow

    columns = [without_invalid_text(column.cast(plain_type(column.type))) for column in table.columns]
    return pyarrow.table(columns, names=table.column_names)


def _as_segments(table: Any) -> Any:
    """The table with the types that the columns of segments have; text that is not UTF-8 is none."""
    import pyarrow

    table = table.cast(segment_schema(tuple(table.column_names)))
    return pyarrow.Table.from_arrays(list(map(without_invalid_text, table.columns)), schema=table.schema)


def _changed(path: str) -> str:
    return f"{path} was written again while pairs were drawn from it; run again"
