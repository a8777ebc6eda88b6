"""Reading JSONL manifests."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.base import QuarantinedRecord, WorkerInfo
from curator_audio.stages.field_types import types_seen
from curator_audio.stages.fields import Fields
from curator_audio.stages.io.one_document import advice, kind_of_document, why_not_text
from curator_audio.stages.source import SourceStage, check_limit, slug_of, without_bookkeeping
from curator_audio.storage.byte_ranges import OVERLONG_KEPT_BYTES, Lines, read_blocks, read_lines
from curator_audio.storage.decompression import CODECS, codec_of, decompressed
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.links import is_link_to_folder
from curator_audio.storage.storage import FileInfo, Storage, absolute, fixed_folder, is_local, local_path
from curator_audio.tasks import AudioBatch, Input, Inputs, Partition, Record

MANIFEST_SUFFIXES = tuple(
    suffix + compression for suffix in (".jsonl", ".json", ".ndjson") for compression in ("", *CODECS)
)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BATCH_BYTES = 64 * 1024  # small enough for a batch, its windows and its JSON to stay in the processor's cache
SAMPLE_BYTES = 256 * 1024
SAMPLE_RECORDS = 20
TYPED_RECORDS = 1000
TYPED_BYTES = 64 * 2**20  # of a manifest whose lines are long
_PIECE = re.compile(r"(.*)\[(\d+):(\d+)\]", re.DOTALL)
LOOKED_INTO = 100
"""Manifests of a folder that are looked into before anything runs: on a store each costs a request."""


@dataclass
class ManifestReaderStage(SourceStage[AudioBatch]):
    """Reads a JSONL manifest, or all manifests of a folder or glob, in pieces of some MB.

    Plain files are cut into byte ranges that workers read in parallel; gzip and zstd files are decompressed
    once, in order. A line that is not a JSON object is quarantined; a manifest that is one JSON document over several
    lines, or a list of records, is refused.

    Args:
        manifest_path: a manifest, a folder, or a glob of them; a local path or any fsspec URL.
        partition_size_mb: size of a piece in MB (2**20 bytes) of uncompressed text.
        max_line_mb: a longer line is quarantined unread.
        limit: read no more than so many of the first records; None for all.

    Raises:
        ConfigurationError: a size that is not positive; or, when it is looked into, a manifest that is one document.

    Example:
        >>> from curator_audio.storage.storage import Storage
        >>> Storage().write("memory://doc/in.jsonl", b'{"text": "a"}\\n{"text": "b"}\\n')
        >>> reader = ManifestReaderStage("memory://doc/in.jsonl")
        >>> [record for part in reader.partitions() for batch in reader.process(part) for record in batch.records]
        [{'text': 'a'}, {'text': 'b'}]
    """

    manifest_path: str
    partition_size_mb: float = 4.0
    max_line_mb: float = 64.0
    limit: int | None = field(default=None, kw_only=True)

    name = "manifest_reader"
    selecting: ClassVar[tuple[str, ...]] = ("manifest_path", "limit")
    locating: ClassVar[tuple[str, ...]] = ("manifest_path",)
    _has_lines = False
    _tree: Storage | None = field(default=None, init=False, repr=False, compare=False)
    _places: set[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.manifest_path, str) or not self.manifest_path:
            raise ConfigurationError(f"manifest_path is {self.manifest_path!r}; give a manifest, a folder or a glob")
        for name in ("partition_size_mb", "max_line_mb"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ConfigurationError(f"{name} is {value!r}; give a number of MB above 0")
        check_limit(self.limit)
        self._is_named_folder = self.manifest_path.endswith("/")
        self.manifest_path = absolute(self.manifest_path)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tree": None, "_places": None}

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._tree, self._has_lines, self._places = None, False, None  # in an earlier run they were others

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return ["records"], {}

    @property
    def tree(self) -> Storage:
        """The manifests of a folder or glob, of which a link that leads elsewhere is a ``RecordError``; or the one."""
        if self._tree is None:
            path, self._tree = self.manifest_path, self.storage
            if is_local(path) and (self._is_glob or self._is_folder):
                self._tree = self.storage.within(fixed_folder(path) if self._is_glob else path)
        return self._tree

    @property
    def root(self) -> str:
        if self._is_glob:
            return fixed_folder(self.manifest_path)
        return self.manifest_path.rstrip("/") if self._is_folder else self.manifest_path

    def keeps(self, source: str, has_output: bool) -> bool:
        """What was made of a manifest stays when that goes; not so of a piece that it has not any more."""
        return source not in self._sources()

    def _sources(self) -> set[str]:
        """The manifests by their places; listed once a run."""
        if self._places is None:
            self._places = {self.place_of(file.path) for file in self._files()}
        return self._places

    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        if self.limit is None:
            yield from self._pieces()
            return
        done = {place for inputs in (known or {}).values() for place in inputs.unpacked()}
        num_left, self._reached_end = self.limit, False
        for piece in self._pieces():
            if num_left <= 0:
                return
            try:
                offsets = [] if self._refusal(piece.source_path) else [start for start, _ in self._lines(piece)]
            except RecordError:
                offsets = []
            yield piece if len(offsets) <= num_left else self._cut(piece, offsets[num_left], done)
            num_left -= len(offsets)
        self._reached_end = num_left >= 0

    def piece_of(self, place: str) -> tuple[str, int, int] | None:
        found = _PIECE.fullmatch(place)
        return (found[1], int(found[2]), int(found[3])) if found else None

    def _cut(self, piece: Partition, end: int, done: Collection[str]) -> Partition:
        """Return a piece up to a line, or to where an earlier run has read it: what is done is not done to less."""
        return self._up_to(piece, max([end, *self._ends(piece, done)]))

    def as_read_before(self, partition: Partition, places: Collection[str]) -> Partition:
        return self._up_to(partition, max(self._ends(partition, places), default=partition.end))

    def _ends(self, piece: Partition, done: Collection[str]) -> list[int]:
        """How far an earlier run has read a piece."""
        start = (self.place_of(piece.source_path), piece.start)
        found = (known for place in done if (known := self.piece_of(place)) and known[:2] == start)
        return [end for *_, end in found if end <= piece.end]

    def _up_to(self, piece: Partition, end: int) -> Partition:
        """Return the start of a piece."""
        if end == piece.end:
            return piece
        (version,), file = piece.inputs.values(), self.place_of(piece.source_path)
        data = None if piece.data is None else piece.data[: end - piece.start]
        return replace(
            piece, end=end, inputs={f"{file}[{piece.start}:{end}]": version}, data=data, overlong_num_bytes=0
        )

    def _pieces(self) -> Iterator[Partition]:
        """All partitions there are."""
        files = self._files()
        if not any(file.num_bytes for file in files):
            raise ConfigurationError(f"{self.manifest_path} is empty (0 bytes); give a manifest with a record a line")
        self._check_lines([file for file in files if not self._refusal(file.path)])
        for file in files:
            codec = codec_of(file.path)
            if self._refusal(file.path):
                yield self._partition(file, 0, file.num_bytes)  # for a worker to tell of
                continue
            yield from self._ranges(file) if codec is None else self._blocks(file, codec)

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        try:
            lines = self._lines(task)
        except RecordError as error:  # it is a link that leads elsewhere
            self.set_aside(task.source_path, error)
            return
        self.note_lines(task, lines)
        records: list[Record] = []
        offsets: list[int] = []
        batch_start = lines.start
        for offset, line in lines:
            record = self._record(task, lines, offset, line)
            if record is not None:
                records.append(record)
                offsets.append(offset)
            if offset - batch_start >= BATCH_BYTES and records:
                yield self._batch(task, records, offsets)
                records, offsets, batch_start = [], [], offset
        if records:
            yield self._batch(task, records, offsets)

    def note_lines(self, task: Partition, lines: Lines) -> None:
        """Note the hash of the lines of a partition."""
        for place in task.inputs:
            self.note_content(place, lines.sha256)

    def source_paths(self) -> set[str]:
        return {file.path for file in self._files()}

    def num_bytes(self) -> int | None:
        files = self._files()
        return None if any(codec_of(file.path) for file in files) else sum(file.num_bytes for file in files)

    def content_of(self, partition: Partition, place: str) -> str:
        try:
            return self._lines(partition).sha256
        except RecordError:
            return ""

    def of_format_1(self, partition: Partition, noted: Mapping[str, str]) -> Mapping[str, Input]:
        return {place: Input(noted["version"], noted["content_sha256"]) for place in partition.inputs}

    def sampled_fields(self) -> Fields:
        files = [file for file in self._files() if not self._refusal(file.path)]
        self._check_lines(files)
        for file in files:
            data = self._start_of(file)
            is_whole = len(data) < SAMPLE_BYTES
            lines = data.split(b"\n") if is_whole else data.split(b"\n")[:-1]
            records = [self.as_read(record) for line in lines if (record := _sampled(line))]
            if len(records) >= SAMPLE_RECORDS or (records and is_whole):
                return Fields.of(types_seen(records))
        return Fields.any()

    def typed_fields(self) -> Fields:
        return Fields(types_seen(map(self.as_read, self._first_records())), open=True)

    def as_read(self, record: Record) -> Record:
        """The record of a line, as the stages behind get it."""
        return record

    def _first_records(self) -> Iterator[Record]:
        """Return the records at the start of the source, as they stand there."""
        num_bytes = num_records = 0
        for partition in self._pieces():  # whatever is selected: the columns are those of all
            for batch in ManifestReaderStage.process(self, partition):
                yield from batch.records[: TYPED_RECORDS - num_records]
                num_records += len(batch.records)
                if num_records >= TYPED_RECORDS:
                    break
            num_bytes += partition.end - partition.start
            if num_records >= TYPED_RECORDS or num_bytes >= TYPED_BYTES:
                break
        self.take_observations()  # which are for when they are read to be processed

    @property
    def _is_glob(self) -> bool:
        return any(mark in self.manifest_path for mark in "*?[") and not self.storage.exists(self.manifest_path)

    @property
    def _is_folder(self) -> bool:
        return self._is_named_folder or self.storage.is_folder(self.manifest_path)

    def _refusal(self, path: str) -> RecordError | None:
        """Why a file is not read, if it is a link that may not be followed."""
        if is_local(path) and self.tree is not self.storage and os.path.islink(local_path(path)):
            try:
                with self.tree.open(path):
                    return None
            except RecordError as error:
                return error
        return None

    def _start_of(self, file: FileInfo) -> bytes:
        """The first ``SAMPLE_BYTES`` of a manifest, uncompressed."""
        codec = codec_of(file.path)
        if codec is None:
            return self.tree.read_range(file.path, 0, min(SAMPLE_BYTES, file.num_bytes), file)
        with decompressed(self.tree, file.path, codec) as read:
            return read(SAMPLE_BYTES)

    def _check_lines(self, files: list[FileInfo]) -> None:
        """Check that the first manifests have a record a line; once a run.

        Raises:
            ConfigurationError: one of them is a single JSON document, or no text in UTF-8.
        """
        if self._has_lines:
            return
        looked_into = {file.path: file for file in files[:LOOKED_INTO]}
        starts = self.storage.each(lambda path: self._start_of(looked_into[path]), list(looked_into))
        for path, start in zip(looked_into, starts):
            if (why := why_not_text(path, start)) and not any(map(_sampled, start.split(b"\n"))):
                raise ConfigurationError(why)
            if kind := kind_of_document(start, is_whole=len(start) < SAMPLE_BYTES):
                raise ConfigurationError(advice(path, kind, codec_of(path)))
        self._has_lines = True

    def first_records(self, count: int) -> list[tuple[Record, str]]:
        batches = (batch for partition in self._pieces() for batch in self.process(partition))
        records = islice(((record, batch.source_path) for batch in batches for record in batch.records), count)
        found = list(records)
        self.take_observations()  # which are for when they are read to be processed
        return found

    def _files(self) -> list[FileInfo]:
        path = self.manifest_path
        if self._is_glob:
            files = self.storage.glob(path)
            if not files:
                raise ConfigurationError(f"no file matches {path}; check the pattern")
            return files
        if self._is_folder:
            files = list(without_bookkeeping(self.storage.list_files(path)))
            # A link to a folder is not followed, and whoever would read it tells so.
            files = [file for file in files if file.path.endswith(MANIFEST_SUFFIXES) or is_link_to_folder(file.path)]
            if not files:
                raise ConfigurationError(
                    f"no manifest in {path}{'/' if self._is_named_folder else ''}; "
                    "there is no file named *.jsonl, *.json or *.ndjson, nor one of these with .gz or .zst"
                )
            return files
        return [self.storage.info(path)]

    def _ranges(self, file: FileInfo) -> Iterator[Partition]:
        step = max(1, int(self.partition_size_mb * 2**20))
        for start in range(0, file.num_bytes, step):
            end = min(start + step, file.num_bytes)
            yield self._partition(file, start, end)

    def _blocks(self, file: FileInfo, codec: str) -> Iterator[Partition]:
        with decompressed(self.tree, file.path, codec) as read:
            for block in read_blocks(read, int(self.partition_size_mb * 2**20), self._max_line_bytes):
                yield self._block_partition(file, block)

    def _partition(self, file: FileInfo, start: int, end: int) -> Partition:
        """A partition named after its file and first byte, so that names sort as the lines do."""
        inputs = {f"{self.place_of(file.path)}[{start}:{end}]": file.version}
        return Partition(f"{slug_of(file.path)}-{start:013d}", file.path, start, end, file.num_bytes, inputs)

    def _block_partition(self, file: FileInfo, block: Lines) -> Partition:
        num_bytes = max(len(block.data), block.overlong_num_bytes)
        partition = self._partition(file, block.start, block.start + num_bytes)
        partition.data = block.data
        partition.overlong_num_bytes = block.overlong_num_bytes
        return partition

    def _lines(self, partition: Partition) -> Lines:
        if partition.data is not None:
            return Lines(partition.start, partition.data, partition.overlong_num_bytes)
        if error := self._refusal(partition.source_path):
            raise error

        (version,) = partition.inputs.values()
        file = FileInfo(partition.source_path, partition.source_num_bytes, version)

        def read(start: int, end: int) -> bytes:
            return self.tree.read_range(file.path, start, min(end, file.num_bytes), file)

        return read_lines(read, partition.start, partition.end, self._max_line_bytes)

    @property
    def _max_line_bytes(self) -> int:
        return int(self.max_line_mb * 2**20)

    def _record(self, task: Partition, lines: Lines, offset: int, line: bytes) -> Record | None:
        is_last = offset + len(line) >= lines.start + len(lines.data)
        num_bytes = lines.overlong_num_bytes if lines.overlong_num_bytes and is_last else len(line)
        if offset == 0:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if num_bytes <= self._max_line_bytes and (not line or line.isspace()):
            return None
        try:
            if num_bytes > self._max_line_bytes:
                limit = f"more than the {self.max_line_mb:g} MB of max_line_mb"
                raise RecordError("line_too_long", f"the line has {num_bytes / 2**20:.1f} MB, {limit}")
            record = decode_line(line)
            if not isinstance(record, dict):
                raise RecordError("not_an_object", f"the line holds a {type(record).__name__}, not a JSON object")
            return record
        except RecordError as error:
            kept = line[:OVERLONG_KEPT_BYTES]
            self.observed.quarantined.append(
                QuarantinedRecord(task.source_path, offset, self.name, error.reason, error.message, kept, num_bytes)
            )
            return None

    def _batch(self, task: Partition, records: list[Record], offsets: list[int]) -> AudioBatch:
        if duration := sum(map(_duration_sec, records)):  # which not every manifest tells
            self.log_metric("audio_duration", duration)
        return AudioBatch(records, task.source_path, offsets)


def _sampled(line: bytes) -> Record:
    """The record in a line, an empty one where there is none."""
    try:
        record = decode_line(line)
    except RecordError:
        return {}
    return record if isinstance(record, dict) else {}


def _duration_sec(record: Record) -> float:
    """The recording's length for the progress display: its ``duration``, else the end of its last segment."""
    duration: Any = record.get("duration")
    if duration is None:
        segments = record.get("segments")
        last = segments[-1] if isinstance(segments, list) and segments else None
        duration = last.get("end") if isinstance(last, dict) else None
    is_number = isinstance(duration, (int, float)) and not isinstance(duration, bool)
    return float(duration) if is_number and 0 <= duration < 1e9 else 0.0
