"""Reading segments that are sound files of their own, with a JSON or a text file beside them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.sample_reader import BESIDE_SOUND, SOUND, SampleReaderStage, values_of_sample
from curator_audio.stages.speech.segment_tree_reader import kinds_and_types
from curator_audio.stages.speech.segments import index_of, recording_of
from curator_audio.storage.limits import MAX_JSON_BYTES, MAX_RECORD_BYTES
from curator_audio.storage.storage import join
from curator_audio.tasks import AudioBatch, Partition, Record

READ_AT_ONCE = 64


@dataclass
class SoundFileReaderStage(SampleReaderStage):
    """Reads segments from ``{name}.mp3`` (or flac, wav, ogg, opus, m4a), with their fields from ``{name}.json`` and
    their text from ``{name}.txt`` beside it; those of a recording together.

    Fields of a segment are found by the names they have in known datasets, and by those that ``fields`` gives; all
    others follow under their own names. A segment without an id is named after its files, and its folder is its channel
    where nothing else tells. Files with neither sound, text nor codes are quarantined, and so are those that came to
    others of their name after these were read (``read_apart``).

    Args:
        input_path: the folder or prefix; a local path or any fsspec URL.
        partition_size_mb: recordings are put together up to this size in MB (2**20 bytes).
        fields: names in the JSON by what they are of a segment, as ``{"text": "transcript"}``.

    Raises:
        ConfigurationError: a parameter out of range, or a name in ``fields`` that segments do not have.
    """

    name = "sound_file_reader"
    suffixes: ClassVar[tuple[str, ...]] = tuple(f".{suffix}" for suffix in (*SOUND, *BESIDE_SOUND))
    if_none_is_read: ClassVar[str] = "check the path, or choose another input"
    _has_large: bool = field(default=False, init=False, repr=False, compare=False)

    def is_read(self, place: str) -> bool:
        return place.lower().endswith(self.suffixes)

    def group_of(self, key: str) -> str:
        return recording_of(_split(key)[0])

    def order_of(self, key: str) -> Any:
        stem, _ = _split(key)
        return self.group_of(key), index_of(stem), stem, key

    def unit_of(self, key: str) -> str:
        return _split(key)[0]

    def kinds_in(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        stem, suffix = _split(path)
        if suffix in SOUND:
            return {"audio": "sound"}, {"audio": "audio"}
        return kinds_and_types([values_of_sample(stem, {suffix: self._content(path)})])

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        files: dict[str, list[str]] = {}
        for key in sorted(task.inputs, key=self.order_of):
            files.setdefault(_split(key)[0], []).append(key)
        self._has_large = task.end > MAX_RECORD_BYTES  # of which each file need not be asked otherwise
        segments = list(files.items())
        for batch in segment_batches(self._records(task.source_path, segments), task.source_path):
            paths = [join(task.source_path, segments[number][1][-1]) for number in batch.offsets]
            yield AudioBatch(batch.records, batch.source_path, paths=paths)

    def _records(self, folder: str, segments: Sequence[tuple[str, list[str]]]) -> Iterator[tuple[Record, int]]:
        """The record of each segment, with its number."""
        for begin in range(0, len(segments), READ_AT_ONCE):
            some = segments[begin : begin + READ_AT_ONCE]
            apart = self._apart(folder, some)
            if self.is_single_file:  # and what is beside it is not among the files asked for
                some, apart = [(stem, [*keys, *apart.get(stem, [])]) for stem, keys in some], {}
            paths = [join(folder, key) for _, keys in some for key in keys]
            read = dict(zip(paths, self.tree.each(self._read, paths)))
            for number, (stem, keys) in enumerate(some, begin):
                try:
                    if stem in apart:
                        there = f"{apart[stem][0]} is there, too, and was read before this file came"
                        raise RecordError("read_apart", f"{there}; overwrite=true reads them together")
                    files: dict[str, bytes] = {}
                    for key in keys:
                        content = read[join(folder, key)]
                        if not isinstance(content, bytes):
                            raise content
                        files[_split(key)[1]] = content
                    yield self.record_of(stem, files), number
                except (RecordError, AccessError) as error:
                    self.set_aside(join(folder, keys[-1]), error)

    def _apart(self, folder: str, segments: Sequence[tuple[str, list[str]]]) -> dict[str, list[str]]:
        """Find files of segments that are not among those to read: the sound, or what stands beside it."""
        lacking: list[tuple[str, str]] = []
        for stem, keys in segments:
            suffixes = {_split(key)[1] for key in keys}
            wanted = BESIDE_SOUND if suffixes <= {*SOUND} else () if suffixes & {*SOUND} else SOUND
            lacking += [(stem, f"{stem}.{suffix}") for suffix in wanted]
        found: dict[str, list[str]] = {}
        there = self.storage.each(self.storage.find, [join(folder, key) for _, key in lacking])
        for (stem, key), file in zip(lacking, there):
            if file is not None:
                found.setdefault(stem, []).append(key)
        return found

    def _read(self, path: str) -> bytes | AccessError | RecordError:
        try:
            return self._content(path)
        except (AccessError, RecordError) as error:  # it has gone since the folder was listed, or is a link
            return error

    def _content(self, path: str) -> bytes:
        if self._has_large and (num_bytes := self.storage.info(path).num_bytes) > MAX_RECORD_BYTES:
            raise RecordError("too_large", f"it has {num_bytes} bytes, more than {MAX_RECORD_BYTES}")
        data = self.tree.read(path)
        if len(data) > MAX_JSON_BYTES and _split(path)[1] in BESIDE_SOUND:
            raise RecordError("too_large", f"it has {len(data)} bytes, more than {MAX_JSON_BYTES}")
        return data


def _split(key: str) -> tuple[str, str]:
    """What files of a segment have in common, and what the name of one ends in.

    Example:
        >>> _split("news/v1.2_seg_0.MP3")
        ('news/v1.2_seg_0', 'mp3')
    """
    stem, suffix = posixpath.splitext(key)
    return stem, suffix[1:].lower()
