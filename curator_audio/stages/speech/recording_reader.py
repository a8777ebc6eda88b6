"""Reading manifests a recording at a time."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from loguru import logger

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.stages.general.audio_duration import resolved
from curator_audio.stages.io.manifest_reader import BYTE_ORDER_MARK, ManifestReaderStage
from curator_audio.stages.source import slug_of
from curator_audio.stages.speech.channels import Channels
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.ledger import LedgerEntry
from curator_audio.storage.storage import Storage, absolute
from curator_audio.tasks import AudioBatch, Partition, Record

LISTED_PROTOCOLS = ("s3://", "s3a://", "gs://", "gcs://")
"""Stores that tell of a thousand files in the time they tell of one."""


@dataclass
class RecordingReaderStage(ManifestReaderStage):
    """Reads a manifest as one partition a recording: a new or changed one is done by itself, and nothing else is.

    A recording is done again when its line or its audio file (size and etag or time) changed. Adds ``audio_id``, the
    stem of the audio file, and ``channel``, the entry's own or the name of the folder the audio file is in.

    Args:
        manifest_path: a manifest, a folder, or a glob of them; a local path or any fsspec URL.
        partition_size_mb: size in MB (2**20 bytes) of the pieces in which the manifest is looked through.
        max_line_mb: a longer line is quarantined unread.
        audio_dir: the folder of relative audio paths; None for the manifest's own.
        channels: the channels to read, by their old or new names; None for all.
        channel_mapping: new names of channels by old ones.

    Raises:
        ConfigurationError: a parameter out of range.
    """

    audio_dir: str | None = None
    channels: list[str] | None = None
    channel_mapping: dict[str, str] = field(default_factory=dict)

    name = "recording_reader"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._channels = Channels(self.channels, self.channel_mapping)

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["audio_id", "channel"]

    def partitions(self, done: Mapping[str, LedgerEntry] | None = None) -> Iterator[Partition]:
        self._check_names()
        versions = _Versions(self.storage)
        num_gone = 0
        for line in self._recordings():
            line_sha256 = hashlib.sha256(line.data).hexdigest()[:16]
            version = f"{line_sha256}-{versions.of(line.audio_path)}"
            before = (done or {}).get(line.name)
            if version.endswith(MISSING) and before is not None and before.version.startswith(line_sha256):
                version, num_gone = before.version, num_gone + 1
            data = line.data if line.coarse.data is not None else None
            end = line.start + len(line.data) + 1
            yield Partition(
                line.name, line.coarse.source_path, line.start, end, line.coarse.source_num_bytes, version, data
            )
        if num_gone:
            logger.warning(f"{num_gone} recording(s) that an earlier run read are gone; their output is kept")

    def content_sha256(self, partition: Partition) -> str:
        return ""  # the version tells whether it changed

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for batch in super().process(task):
            records = [self._identified(record, batch.source_path) for record in batch.records]
            yield AudioBatch(records, batch.source_path, batch.offsets)

    def _identified(self, record: Record, manifest_path: str) -> Record:
        try:
            channel, audio_id, _ = self._identity(record, manifest_path)
        except RecordError:
            return record  # the next stage says what is wrong with it
        return {**record, "audio_id": audio_id, "channel": self._channels.name_of(channel) or channel}

    def _identity(self, record: Record, manifest_path: str) -> tuple[str, str, str]:
        """The channel (by its old name), the recording's name and the path of its audio."""
        path = record.get("audio_filepath")
        if not isinstance(path, str) or not path:
            raise RecordError("missing_field", "the record has no 'audio_filepath'")
        folder = absolute(self.audio_dir).rstrip("/") if self.audio_dir else manifest_path.rpartition("/")[0]
        path = resolved(path, folder)
        channel = record.get("channel")
        if not isinstance(channel, str) or not channel:
            channel = posixpath.basename(posixpath.dirname(path))
        return channel, posixpath.splitext(posixpath.basename(path))[0], path

    def _recordings(self) -> Iterator[_Line]:
        """All lines of all manifests that are recordings of channels that are read, or cannot be read as such."""
        for coarse in super().partitions():
            for start, data in self._lines(coarse):
                line = data.removeprefix(BYTE_ORDER_MARK) if start == 0 else data
                if not line or line.isspace():
                    continue
                unread = _Line(slug_of(f"{coarse.source_path}#{start}"), "", start, data, coarse)
                try:
                    record = decode_line(line)
                    entry = record if isinstance(record, dict) else {}
                    channel, audio_id, path = self._identity(entry, coarse.source_path)
                except RecordError:
                    yield unread
                    continue
                name = self._channels.name_of(channel)
                if name is not None:
                    yield _Line(slug_of(f"{name}/{audio_id}.audio"), path, start, data, coarse)

    def _check_names(self) -> None:
        """Segments are named after channel and recording, so no two recordings may share both.

        Raises:
            ConfigurationError: two do, or there are none.
        """
        paths: dict[str, str] = {}
        for line in self._recordings():
            other = paths.setdefault(line.name, line.audio_path)
            if other is line.audio_path:
                continue
            if other == line.audio_path:
                raise ConfigurationError(
                    f"{other} stands in two lines of the manifest; put its segments into one, or rename a copy"
                )
            raise ConfigurationError(
                f"{other} and {line.audio_path} have the same name in the same channel, after which their segments are "
                "named; rename one, or give their entries a 'channel'"
            )
        if not paths:
            chosen = f" of the channels {', '.join(self.channels)}" if self.channels else ""
            raise ConfigurationError(f"{self.manifest_path} has no recordings{chosen}; check it")


MISSING = "missing"


@dataclass(frozen=True)
class _Line:
    """A line of a manifest, and the recording it is about."""

    name: str
    audio_path: str
    start: int
    data: bytes
    coarse: Partition


class _Versions:
    """The versions of audio files; those of a folder in a store are looked up together."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._folder = ""
        self._listed: dict[str, str] = {}

    def of(self, path: str) -> str:
        if not path:
            return MISSING
        if path.startswith(LISTED_PROTOCOLS):
            folder = path.rpartition("/")[0]
            if folder != self._folder:
                found = self._storage.list_files(folder, max_depth=1)
                self._folder, self._listed = folder, {file.path: file.version for file in found}
            return self._listed.get(path, MISSING)
        try:
            return self._storage.info(path).version
        except AccessError:
            return MISSING
