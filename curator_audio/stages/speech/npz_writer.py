"""Writing trees of ``.npz`` segments."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.stages.fields import Fields
from curator_audio.stages.io.file_writer import Files, FileWriterStage
from curator_audio.stages.io.json_form import without_json_form
from curator_audio.stages.source import SourceStage
from curator_audio.stages.speech.npz import npz_of_record, with_codes_of, with_fields
from curator_audio.stages.speech.npz_reader import NpzReaderStage
from curator_audio.storage.storage import Storage
from curator_audio.storage.valid_text import Repairs, with_json_values
from curator_audio.tasks import Record


@dataclass
class NpzWriterStage(FileWriterStage):
    """Writes every segment to ``{output_path}/{channel}/{name}.npz``; the name is its id without the channel.

    Fields without an array of their own, ``start`` and ``end`` and those that segments do not have among them, stand as
    JSON in the array ``metadata``. Where ``output_path`` is what the segments were read from, their files get the new
    codes and the fields that stages have added or changed, lose those that stages have left out, and stay as they are
    otherwise; a segment of which the sound or the id has changed is quarantined. Elsewhere the audio is written as
    float32, rounded to the 16 bits it has inside a pipeline; where a segment has no codes, those of an earlier file of
    the same sound stay. A segment without sound, with a value that has no JSON form, or with the name of another of its
    partition, is quarantined.

    Args:
        output_path: the folder or prefix.

    Raises:
        ConfigurationError: a file instead of a folder.
    """

    name = "npz_writer"
    version = 4
    suffix: ClassVar[str] = ".npz"
    may_replace_sources: ClassVar[bool] = True

    _fields: Mapping[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _sample_rate: int = field(default=16000, init=False, repr=False, compare=False)

    def reading_from(self, source: SourceStage[Any]) -> NpzWriterStage:
        if not isinstance(source, NpzReaderStage):
            return self
        writer = copy.copy(self)
        writer._fields, writer._sample_rate = source.fields, source.sample_rate
        return writer

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id", "audio"]

    def lost(self, fields: Fields) -> list[str]:
        """Name the fields of bytes: arrays and JSON have no form for them."""
        return [name for name in without_json_form(fields.kinds) if name != "audio"]

    def files_of(self, record: Record) -> Files:
        return {".npz": npz_of_record(record)}

    def files_over(self, storage: Storage, record: Record, is_in_place: bool) -> Files:
        path = self.path_of(record, ".npz")
        if is_in_place:
            return {".npz": self._in_place(storage, path, record)}
        data = npz_of_record(record)
        if not record.get("codes"):  # an earlier file of the same sound may have been given codes since
            with suppress(AccessError):
                data = with_codes_of(storage.read(path), data)
        return {".npz": data}

    def _in_place(self, storage: Storage, path: str, record: Record) -> bytes:
        try:
            data = storage.read(path)
        except AccessError as error:
            remedy = "in the folder it is read from a segment keeps channel and name; choose another output_path"
            raise ConfigurationError(f"no codes can be added to {path} ({error}): {remedy}") from None
        stem = path.rpartition("/")[2].removesuffix(".npz")
        return with_fields(data, record, stem, self._sample_rate, self._fields, _json_values)


def _json_values(record: Record) -> Record:
    valid: Record = with_json_values(record, Repairs())
    return valid
