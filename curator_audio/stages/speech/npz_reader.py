"""Reading trees of ``.npz`` segments."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.channels import Channels
from curator_audio.stages.speech.foreign_fields import Sources
from curator_audio.stages.speech.npz import npz_sources, record_of_npz, values_of_npz
from curator_audio.stages.speech.segment_tree_reader import SegmentTreeReaderStage, kinds_and_types
from curator_audio.stages.speech.segments import index_of, recording_of
from curator_audio.storage.limits import MAX_RECORD_BYTES
from curator_audio.storage.storage import join
from curator_audio.tasks import AudioBatch, Inputs, Partition, Record

READ_AT_ONCE = 64
CHANNELS_NAMED = 10


@dataclass
class NpzReaderStage(SegmentTreeReaderStage):
    """Reads segments from ``{input_path}/{channel}/{name}.npz``, those of a recording together.

    The id of a segment is ``{channel}/{name}``, its metadata that of the file: arrays of numbers and texts, and the
    JSON in ``metadata``, before which arrays go. A file that is no ``.npz`` file, or has no audio, is quarantined. Two
    files that would be the same segment, as folders of one name or a mapping could make them, are an error, and so are
    two recordings of one name that a mapping puts into one channel.

    Args:
        input_path: the folder or prefix; a local path or any fsspec URL.
        partition_size_mb: recordings are put together up to this size in MB (2**20 bytes).
        sample_rate: of the audio in Hz, where a file does not tell (by an array ``sample_rate`` or ``sr``).
        channels: the folders to read, by their old or new names; None for all.
        channel_mapping: new names of channels by old ones.
        fields: names of arrays by what they are of a segment, as ``{"text": "transcript"}``.

    Raises:
        ConfigurationError: a parameter out of range.
    """

    sample_rate: int = 16000
    channels: list[str] | None = None
    channel_mapping: dict[str, str] = field(default_factory=dict)

    name = "npz_reader"
    version = 3
    selecting: ClassVar[tuple[str, ...]] = ("input_path", "channels", "limit")
    suffixes: ClassVar[tuple[str, ...]] = (".npz",)
    _has_large: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.sample_rate, bool) or not isinstance(self.sample_rate, int) or self.sample_rate < 1:
            raise ConfigurationError(f"sample_rate is {self.sample_rate!r}; give a whole number of Hz")
        self._channels = Channels(self.channels, self.channel_mapping)
        try:
            import soundfile  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "NpzReaderStage needs soundfile, which is not installed; pip install 'curator-audio[audio]'"
            ) from None

    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        self._check_names(place for place, _ in self._by_place() if self.is_selected(place))
        yield from super().partitions(known)

    def kinds_in(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        self._check_size(path)
        values, kinds = values_of_npz(self.tree.read(path), self.fields)
        return kinds, kinds_and_types([values])[1]

    def sources_in(self, kinds: Mapping[str, str]) -> Sources:
        return npz_sources(kinds, self.fields)

    def is_selected(self, place: str) -> bool:
        return self._channels.name_of(_folder_name(place)) is not None

    def if_none_is_selected(self) -> str:
        there = sorted({_folder_name(place) for place, _ in self._by_place()})
        return (
            f"channels={self.channels} has none of the folders below {self.input_path}, which are "
            f"{', '.join(there[:CHANNELS_NAMED])}{' …' * (len(there) > CHANNELS_NAMED)}; check the names"
        )

    def group_of(self, key: str) -> str:
        return recording_of(key.removesuffix(".npz"))

    def order_of(self, key: str) -> Any:
        return self.group_of(key), index_of(key.removesuffix(".npz")), key

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        keys = sorted(task.inputs, key=self.order_of)
        self._has_large = task.end > MAX_RECORD_BYTES  # of which each file need not be asked otherwise
        for batch in segment_batches(self._records(task.source_path, keys), task.source_path):
            paths = [join(task.source_path, keys[number]) for number in batch.offsets]
            yield AudioBatch(batch.records, batch.source_path, paths=paths)

    def _records(self, folder: str, keys: list[str]) -> Iterator[tuple[Record, int]]:
        """The record of each file that has one, with the file's number."""
        for begin in range(0, len(keys), READ_AT_ONCE):
            paths = [join(folder, key) for key in keys[begin : begin + READ_AT_ONCE]]
            for number, (path, data) in enumerate(zip(paths, self.tree.each(self._read, paths)), begin):
                try:
                    if not isinstance(data, bytes):
                        raise data
                    channel = self._channels.renamed(_folder_name(keys[number])) or None
                    segment = record_of_npz(data, _stem(keys[number]), channel, self.sample_rate, self.fields)
                except (RecordError, AccessError) as error:
                    self.set_aside(path, error)
                    continue
                if segment.num_bad:
                    self.log_metric("bad_samples", segment.num_bad)
                name = _stem(keys[number])
                told = segment.record["audio_id"] if segment.record["audio_id"] != name else None
                yield self.checked(segment.record, segment.values, segment.sources, told), number

    def _read(self, path: str) -> bytes | AccessError | RecordError:
        try:
            if self._has_large:
                self._check_size(path)
            return self.tree.read(path)
        except (AccessError, RecordError) as error:  # it has gone since the folder was listed, or is a link
            return error

    def _check_size(self, path: str) -> None:
        if (num_bytes := self.storage.info(path).num_bytes) > MAX_RECORD_BYTES:
            raise RecordError("too_large", f"it has {num_bytes} bytes, more than {MAX_RECORD_BYTES}")

    def _check_names(self, keys: Iterable[str]) -> None:
        """Segments are told apart by channel and name.

        Raises:
            ConfigurationError: two files have both in common; only those of two folders can.
        """
        folders: dict[str | None, dict[str, dict[str, str]]] = {}
        for key in keys:
            folder = posixpath.dirname(key)
            channel = self._channels.name_of(posixpath.basename(folder))
            folders.setdefault(channel, {}).setdefault(folder, {})[_stem(key)] = key
        for channel, of_channel in folders.items():
            met: dict[str, str] = {}
            for files in of_channel.values() if len(of_channel) > 1 else ():
                for name in files.keys() & met.keys():
                    raise ConfigurationError(
                        f"{met[name]} and {files[name]} would both be segment {name} of channel "
                        f"'{channel}'; rename a folder, or read one of them"
                    )
                met |= files
            recordings: dict[str, str] = {}
            for folder, files in of_channel.items() if len(of_channel) > 1 else ():
                for name, key in files.items():
                    other = recordings.setdefault(recording_of(name), key)
                    if _folder_name(other) != posixpath.basename(folder):
                        raise ConfigurationError(
                            f"{other} and {key} would both be of the recording {recording_of(name)} of channel "
                            f"'{channel}', to which channel_mapping gives both folders; rename the files of one"
                        )


def _folder_name(key: str) -> str:
    return posixpath.basename(posixpath.dirname(key))


def _stem(key: str) -> str:
    return posixpath.basename(key).removesuffix(".npz")
