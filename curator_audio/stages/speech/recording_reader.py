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
from curator_audio.storage.storage import Storage, absolute, is_local
from curator_audio.tasks import AudioBatch, Partition, Record

LOOKED_UP_AT_ONCE = 64
LOOKED_UP_BYTES = 8 * 2**20
MISSING = "missing"
LISTED_PROTOCOLS = ("s3://", "s3a://", "gs://", "gcs://")
"""Stores that tell of a thousand files in the time they tell of one."""


@dataclass
class RecordingReaderStage(ManifestReaderStage):
    """Reads a manifest as one partition a recording: a new or changed one is done by itself, and nothing else is.

    A recording is done again when its line or its audio file (size and etag or time) changed. Adds ``audio_id``, the
    stem of the audio file, and ``channel``, the entry's own or the name of the folder the audio file is in. An entry
    without the path of an audio file is quarantined.

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
    keeps_vanished = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._channels = Channels(self.channels, self.channel_mapping)

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["audio_id", "channel"]

    def partitions(self, done: Mapping[str, LedgerEntry] | None = None) -> Iterator[Partition]:
        if self.audio_dir and is_local(self.audio_dir) and not self.storage.is_folder(absolute(self.audio_dir)):
            raise ConfigurationError(f"audio_dir is {self.audio_dir}, and there is no such folder; check the path")
        self._check_names()
        num_gone = 0
        for partition, audio_version in self._looked_up():
            line_sha256, partition.version = partition.version, f"{partition.version}-{audio_version or MISSING}"
            before = (done or {}).get(partition.name)
            is_same_line = before is not None and before.version.startswith(line_sha256)
            if not audio_version and before is not None and is_same_line and before.version != partition.version:
                partition.version, num_gone = before.version, num_gone + 1
            yield partition
        if num_gone:
            logger.warning(f"{num_gone} recording(s) that an earlier run read are gone; their output is kept")

    def content_sha256(self, partition: Partition) -> str:
        return ""  # the version tells whether it changed

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for batch in super().process(task):
            identified = AudioBatch([], batch.source_path)
            for index, (record, offset) in enumerate(zip(batch.records, batch.offsets)):
                try:
                    channel, audio_id, _ = self._identity(record, batch.source_path)
                except RecordError as error:
                    self.quarantine(batch, index, error)
                    continue
                name = self._channels.name_of(channel) or channel
                identified.records.append({**record, "audio_id": audio_id, "channel": name})
                identified.offsets.append(offset)
            if identified.records:
                yield identified

    def _identity(self, record: Record, manifest_path: str) -> tuple[str, str, str]:
        """The channel (by its old name), the recording's name and the path of its audio."""
        path = record.get("audio_filepath")
        if not isinstance(path, str) or not posixpath.basename(path):
            raise RecordError("missing_field", f"audio_filepath is {path!r:.80}; give the path of an audio file")
        folder = absolute(self.audio_dir).rstrip("/") if self.audio_dir else manifest_path.rpartition("/")[0]
        path = resolved(path, folder)
        channel = record.get("channel")
        channel = posixpath.basename(posixpath.dirname(path)) if channel in (None, "") else str(channel)
        return channel, posixpath.splitext(posixpath.basename(path))[0], path

    def _recordings(self) -> Iterator[tuple[Partition, str]]:
        """A partition a line, its version that of the line alone, and the path of its audio, empty for no recording."""
        for piece in super().partitions():
            try:
                lines = self._lines(piece)
            except RecordError:  # it is a link that leads elsewhere: for a worker to tell of
                piece.name = slug_of(f"{piece.source_path}#link")
                yield piece, ""
                continue
            for start, data in lines:
                line = data.removeprefix(BYTE_ORDER_MARK) if start == 0 else data
                if not line or line.isspace():
                    continue
                try:
                    record = decode_line(line)
                    entry = record if isinstance(record, dict) else {}
                    old_channel, audio_id, path = self._identity(entry, piece.source_path)
                    channel = self._channels.name_of(old_channel)
                    name = f"{channel}/{audio_id}.audio"
                except RecordError:
                    channel, path, name = "", "", f"{piece.source_path}#{start}"
                if channel is not None:
                    end = start + len(data)
                    cut = lines.overlong_num_bytes if end >= lines.start + len(lines.data) else 0
                    version = hashlib.sha256(line).hexdigest()[:16]
                    # The line comes along: when its turn comes it may stand elsewhere in the manifest.
                    num_bytes = piece.source_num_bytes
                    yield Partition(slug_of(name), piece.source_path, start, end, num_bytes, version, line, cut), path

    def _looked_up(self) -> Iterator[tuple[Partition, str]]:
        """The same with the version of the audio in place of its path, empty where there is none; some at a time."""
        versions = _Versions(self.storage)
        waiting: list[tuple[Partition, str]] = []
        num_bytes = 0
        for partition, path in self._recordings():
            waiting.append((partition, path))
            num_bytes += len(partition.data or b"")
            if len(waiting) >= LOOKED_UP_AT_ONCE or num_bytes > LOOKED_UP_BYTES:
                yield from zip((known for known, _ in waiting), versions.of([path for _, path in waiting]))
                waiting, num_bytes = [], 0
        yield from zip((known for known, _ in waiting), versions.of([path for _, path in waiting]))

    def _check_names(self) -> None:
        """Segments are named after channel and recording, so no two recordings may share both.

        Raises:
            ConfigurationError: two do, or there are none.
        """
        paths: dict[str, str] = {}
        for partition, path in self._recordings():
            other = paths.get(partition.name)
            if other is None:
                paths[partition.name] = path
            elif other == path:
                raise ConfigurationError(
                    f"{other} stands in two lines of the manifest; put its segments into one, or rename a copy"
                )
            else:
                raise ConfigurationError(
                    f"{other} and {path} have the same name in the same channel, after which their segments "
                    "are named; rename one, or give their entries a 'channel'"
                )
        if not paths:
            chosen = f" of the channels {', '.join(self.channels)}" if self.channels is not None else ""
            raise ConfigurationError(f"{self.manifest_path} has no recordings{chosen}; check it")


class _Versions:
    """The versions of audio files; those of a folder in a store are looked up together."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._folders: dict[str, dict[str, str]] = {}

    def of(self, paths: list[str]) -> list[str]:
        """The version of each, empty where there is no such file."""
        alone = [path for path in paths if path and not path.startswith(LISTED_PROTOCOLS)]
        alone.sort(key=is_local)  # requests to a store run at the same time where the first is one
        found = dict(zip(alone, self._storage.each(self._alone, alone)))
        return [found[path] if path in found else self._in_folder(path) if path else "" for path in paths]

    def _alone(self, path: str) -> str:
        try:
            return self._storage.info(path).version
        except AccessError:
            return ""

    def _in_folder(self, path: str) -> str:
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            listed = self._storage.list_files(folder, max_depth=1)
            self._folders[folder] = {file.path: file.version for file in listed}
        return self._folders[folder].get(path, "")
