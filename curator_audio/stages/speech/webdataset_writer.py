"""Writing segments as WebDataset tar shards."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.fields import Fields
from curator_audio.stages.io.appended_writer import AppendedWriterStage
from curator_audio.stages.io.json_form import without_json_form
from curator_audio.stages.speech.sample_reader import BESIDE_SOUND, SOUND
from curator_audio.stages.speech.segments import file_name_of, sound_of
from curator_audio.storage.json_codec import encode_fields
from curator_audio.storage.names import short_name
from curator_audio.storage.valid_text import Repairs, with_json_values
from curator_audio.tasks import AudioBatch, Record

LONGEST_SUFFIX_BYTES = len(".json")
END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)
SUFFIXES = {b"fLaC": "flac", b"RIFF": "wav", b"OggS": "ogg", b"ID3": "mp3"}
"""Of sound files, by how they begin."""


@dataclass
class WebDatasetWriterStage(AppendedWriterStage[AudioBatch]):
    """Writes segments as tar shards of ``{channel}/{name}.flac`` and ``….json``, a shard a partition.

    The name is the segment's id without its channel. The JSON has all fields, those too that segments do not have;
    bytes in a field that is called like a file (``.npy``) are that file. A segment whose files another one of the shard
    has is quarantined, and so is one with a value that has no JSON form.

    Args:
        output_path: the folder or prefix of the shards.

    Raises:
        ConfigurationError: a file instead of a folder.
    """

    output_path: str

    _taken: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    name = "webdataset_writer"
    version = 3
    suffix: ClassVar[str] = ".tar"
    id_field: ClassVar[str] = "segment_id"
    """After which a record's files are named."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_path.endswith(self.suffix):
            raise ConfigurationError(f"output_path is {self.output_path}; give a folder, tars are written as shards")

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], [self.id_field]

    def lost(self, fields: Fields) -> list[str]:
        """Name the fields of bytes: that are no file of a key, as JSON has no form for them."""
        return [
            name
            for name in without_json_form(fields.kinds)
            if name != "audio" and not (fields.kinds[name] == "binary" and _is_suffix(name))
        ]

    def encode(self, task: AudioBatch) -> bytes:
        file = io.BytesIO()
        repairs = Repairs()
        for index, record in enumerate(task.records):
            try:
                key, files = self._files(with_json_values(record, repairs))
                if key in self._taken:
                    raise RecordError("duplicate_segment", f"a second segment would be written to {key}.json")
                file.write(b"".join(_member(key + suffix, data) for suffix, data in files))
                self._taken.add(key)
            except RecordError as error:
                self.quarantine(task, index, error)
        self.log_metrics(repairs.as_metrics())
        return file.getvalue()

    def encoded(self, tasks: Iterable[AudioBatch]) -> Iterator[tuple[bytes, int]]:
        self._taken = set()
        is_empty = True
        for data, num_records in super().encoded(tasks):
            is_empty = False
            yield data, num_records
        if not is_empty:
            yield END_OF_ARCHIVE, 0

    def _files(self, record: Record) -> tuple[str, list[tuple[str, bytes]]]:
        """The key of a record, and what its files end in and hold."""
        *folder, name = file_name_of(record, "", self.id_field)
        # What follows the first dot of a name is its kind to WebDataset; the JSON has the name as it is.
        key = "/".join([*folder, short_name(name.replace(".", "_"), LONGEST_SUFFIX_BYTES)])
        own = {name: value for name, value in record.items() if isinstance(value, bytes) and _is_suffix(name)}
        fields = {name: value for name, value in record.items() if name != "audio" and name not in own}
        files = [(".json", encode_fields(fields)), *own.items()]
        if record.get("audio") is not None:
            sound = sound_of(record)
            files.insert(0, (_suffix(record["audio"], sound), sound))
        return key, files


def _is_suffix(name: str) -> bool:
    """Whether a field is a file of a key, as the reader names it: ``.npy``."""
    return re.fullmatch(r"(\.[a-z0-9_-]{1,20})+", name) is not None and name[1:] not in (*SOUND, *BESIDE_SOUND)


def _suffix(audio: dict[str, Any], sound: bytes) -> str:
    """What the name of a sound file ends in: as it did before, else by how it begins."""
    named = str(audio.get("path") or "").rpartition(".")[2].lower()
    return "." + (named if named in SOUND else next((SUFFIXES[b] for b in SUFFIXES if sound.startswith(b)), "mp3"))


def _member(name: str, data: bytes) -> bytes:
    """A file in a tar: header, content and padding; without owner and time, so that the same bytes come out."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    padding = bytes(-len(data) % tarfile.BLOCKSIZE)
    return info.tobuf(tarfile.PAX_FORMAT) + data + padding
