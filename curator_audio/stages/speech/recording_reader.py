"""Reading manifests a recording at a time."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, TypeVar

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.io.manifest_reader import BYTE_ORDER_MARK, ManifestReaderStage
from curator_audio.stages.optional import Ignored, as_text
from curator_audio.stages.reference_faults import SameCause
from curator_audio.stages.references import RULES, ReadsReferences, References
from curator_audio.stages.source import slug_of
from curator_audio.stages.speech.audio_versions import MISSING, UNREACHABLE, AudioVersions
from curator_audio.stages.speech.channels import Channels
from curator_audio.stages.speech.nemo import as_entry
from curator_audio.storage.byte_ranges import Lines
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.storage import absolute, is_local
from curator_audio.storage.valid_text import valid_text
from curator_audio.tasks import AudioBatch, Input, Inputs, Partition, Record

LOOKED_UP_AT_ONCE = 64
LOOKED_UP_BYTES = 8 * 2**20
AUDIO = ".audio"
"""Behind the place of a recording's line for that of its sound."""

Source = TypeVar("Source", bound="RecordingReaderStage")


@dataclass
class RecordingReaderStage(ReadsReferences, ManifestReaderStage):
    """Reads a manifest as one partition a recording: a new or changed one is done by itself, and nothing else is.

    A recording is done again when its line or its audio file (size and etag or time) changed. Adds ``audio_id``, the
    stem of the audio file, and ``channel``, the entry's own or the name of the folder the audio file is in; to an entry
    of a NeMo manifest, which is a segment, also ``segments``. An entry without the path of an audio file is
    quarantined, and so is one whose path may not be named or leads to what cannot be reached; when that has changed, a
    later run does it. Where all entries fail alike, the run ends.

    Args:
        manifest_path: a manifest, a folder, or a glob of them; a local path or any fsspec URL.
        partition_size_mb: size in MB (2**20 bytes) of the pieces in which the manifest is looked through.
        max_line_mb: a longer line is quarantined unread.
        limit: read no more than so many of the first recordings, of the channels to read; None for all.
        audio_dir: the folder of relative audio paths; None for the manifest's own.
        channels: the channels to read, by their old or new names; None for all.
        channel_mapping: new names of channels by old ones.
        allowed_schemes: schemes of URLs that a manifest may name, besides its own store; see ``ReadsReferences``.
        allow_outside: whether a manifest may name files outside of its folder and of ``audio_dir``.
        allow_private_hosts: whether it may name hosts with private, loopback or link-local addresses.

    Raises:
        ConfigurationError: a parameter out of range.
    """

    audio_dir: str | None = None
    channels: list[str] | None = None
    channel_mapping: dict[str, str] = field(default_factory=dict)

    name = "recording_reader"
    version = 2
    selecting: ClassVar[tuple[str, ...]] = ("manifest_path", "audio_dir", "channels", "limit")
    locating: ClassVar[tuple[str, ...]] = ("manifest_path", "audio_dir")
    missing: ClassVar[Mapping[str, str]] = {MISSING: "are gone", UNREACHABLE: "cannot be reached"}
    free_parameters: ClassVar[tuple[str, ...]] = RULES  # what was refused by them is a recording to be done
    _worker: WorkerInfo | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_rules()
        self.audio_dir = absolute(self.audio_dir) if self.audio_dir else None
        self._channels = Channels(self.channels, self.channel_mapping)

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._worker = worker

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return ["records"], {"audio_id": "string", "channel": "string"}

    def as_read(self, record: Record) -> Record:
        return as_entry(record)

    def keeps(self, source: str, has_output: bool) -> bool:
        """What was made of a recording stays when that goes; not so what is told of a line that nothing came of."""
        return has_output or super().keeps(source, has_output)

    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        if self.audio_dir and is_local(self.audio_dir) and not self.storage.is_folder(self.audio_dir):
            raise ConfigurationError(f"audio_dir is {self.audio_dir}, and there is no such folder; check the path")
        self._check_names()
        for partition, audio_version in self._looked_up():
            line, line_sha256 = next(iter(partition.inputs.items()))
            partition.inputs = {line: line_sha256, line + AUDIO: audio_version}
            yield partition

    def of_format_1(self, partition: Partition, noted: Mapping[str, str]) -> Mapping[str, Input]:
        line_sha256, _, audio_version = noted["version"].partition("-")
        return {place: Input(audio_version if place.endswith(AUDIO) else line_sha256) for place in partition.inputs}

    def whole(self: Source) -> Source:
        source = super().whole()
        source._channels = Channels(source.channels, source.channel_mapping)
        return source

    def piece_of(self, place: str) -> tuple[str, int, int] | None:
        return None  # a recording is known by its name, wherever its line stands

    def content_of(self, partition: Partition, place: str) -> str:
        return ""  # a line is known by its hash, and recordings are too large to be read for theirs

    def note_lines(self, task: Partition, lines: Lines) -> None:
        """Note nothing more."""

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for batch in super().process(task):
            identified = AudioBatch([], batch.source_path)
            for index, (record, offset) in enumerate(zip(batch.records, batch.offsets)):
                try:
                    channel, audio_id, path = self._identity(record, batch.source_path)
                    if UNREACHABLE in task.inputs.values():  # it was, when it was looked up
                        self._references(batch.source_path).version(path)
                except RecordError as error:
                    self.quarantine(batch, index, error)
                    continue
                given = record.get("channel")
                self.log_metrics(Ignored(given is not None and as_text(given) is None).as_metrics())
                name = self._channels.renamed(channel)
                identified.records.append({**as_entry(record), "audio_id": audio_id, "channel": name})
                identified.offsets.append(offset)
            if identified.records:
                yield identified

    def _identity(self, record: Record, manifest_path: str) -> tuple[str, str, str]:
        """The channel (by its old name), the recording's name and the path of its audio."""
        path = record.get("audio_filepath")
        if not isinstance(path, str) or not posixpath.basename(path):
            raise RecordError("missing_field", f"audio_filepath is {path!r:.80}; give the path of an audio file")
        path = self._references(manifest_path).resolved(path)
        channel = record.get("channel")
        channel = as_text(channel) or posixpath.basename(posixpath.dirname(path))
        return valid_text(channel), valid_text(posixpath.splitext(posixpath.basename(path))[0]), path

    def _references(self, manifest_path: str) -> References:
        return self.references_of(manifest_path, self.audio_dir, self._worker or WorkerInfo(storage=self.storage))

    def first_records(self, count: int) -> list[tuple[Record, str]]:
        batches = (batch for partition in self.partitions() for batch in self.process(partition))
        found = list(islice(((record, batch.source_path) for batch in batches for record in batch.records), count))
        self.take_observations()  # which are for when they are read to be processed
        return found

    def _recordings(self) -> Iterator[tuple[Partition, str | RecordError]]:
        """The recordings to read: a partition of its line alone, and the path of its audio, or why it has none."""
        recordings = self._all_recordings()
        yield from islice(recordings, self.limit)
        self._reached_end = self.limit is not None and next(recordings, None) is None

    def _all_recordings(self) -> Iterator[tuple[Partition, str | RecordError]]:
        for piece in self._pieces():
            try:
                lines = self._lines(piece)
            except RecordError:  # it is a link that leads elsewhere: for a worker to tell of
                piece.name = slug_of(f"{piece.source_path}#link")
                piece.inputs = {f"{self.place_of(piece.source_path)}#link": next(iter(piece.inputs.values()))}
                yield piece, ""
                continue
            for start, data in lines:
                line = data.removeprefix(BYTE_ORDER_MARK) if start == 0 else data
                if not line or line.isspace():
                    continue
                audio: str | RecordError
                try:
                    record = decode_line(line)
                    entry = record if isinstance(record, dict) else {}
                    old_channel, audio_id, audio = self._identity(entry, piece.source_path)
                    channel = self._channels.name_of(old_channel)
                    name = slug_of(f"{channel}/{audio_id}.audio")
                    place = name
                except RecordError as error:
                    channel, audio, name = "", error, slug_of(f"{piece.source_path}#{start}")
                    place = f"{self.place_of(piece.source_path)}#{start}"
                if channel is not None:
                    end = start + len(data)
                    cut = lines.overlong_num_bytes if end >= lines.start + len(lines.data) else 0
                    inputs = {place: hashlib.sha256(line).hexdigest()[:16]}
                    # The line comes along: when its turn comes it may stand elsewhere in the manifest.
                    num_bytes = piece.source_num_bytes
                    yield Partition(name, piece.source_path, start, end, num_bytes, inputs, line, cut), audio

    def _looked_up(self) -> Iterator[tuple[Partition, str]]:
        """The same with the version of the audio in place of its path, or what stands for none; some at a time.

        Raises:
            ConfigurationError: one cause that can be mended meets all of them.
        """
        versions, same = AudioVersions(self._references), SameCause()
        waiting: list[tuple[Partition, str | RecordError]] = []

        def looked_up() -> Iterator[tuple[Partition, str]]:
            found = versions.of([(partition.source_path, audio) for partition, audio in waiting])
            for result in found:
                same.add(result if isinstance(result, RecordError) else None)
            for (partition, audio), result in zip(waiting, found):
                cannot = MISSING if isinstance(audio, RecordError) else UNREACHABLE
                yield partition, cannot if isinstance(result, RecordError) else result

        num_bytes = 0
        for partition, audio in self._recordings():
            if len(waiting) >= LOOKED_UP_AT_ONCE or num_bytes > LOOKED_UP_BYTES:
                yield from list(looked_up())
                waiting, num_bytes = [], 0
            waiting.append((partition, audio))
            num_bytes += len(partition.data or b"")
        last = list(looked_up())
        same.finish()
        yield from last

    def _check_names(self) -> None:
        """Segments are named after channel and recording, so no two recordings may share both.

        Raises:
            ConfigurationError: two do, or there are none.
        """
        paths: dict[str, str] = {}
        for partition, audio in self._recordings():
            path = audio if isinstance(audio, str) else ""
            other = paths.get(partition.name)
            if other is None:
                paths[partition.name] = path
            elif other == path:
                raise ConfigurationError(
                    f"{other} stands in two lines of the manifest; put its segments into one "
                    "('segments': [{'start': …, 'end': …, 'text': …}, …]), or rename a copy"
                )
            else:
                raise ConfigurationError(
                    f"{other} and {path} have the same name in the same channel, after which their segments "
                    "are named; rename one, or give their entries a 'channel'"
                )
        if not paths:
            chosen = f" of the channels {', '.join(self.channels)}" if self.channels is not None else ""
            raise ConfigurationError(f"{self.manifest_path} has no recordings{chosen}; check it")
