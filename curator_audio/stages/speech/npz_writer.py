"""Writing trees of ``.npz`` segments."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.stages.io.file_writer import Files, FileWriterStage
from curator_audio.stages.speech.npz import npz_of_record, with_codes, with_codes_of
from curator_audio.stages.speech.segments import SEGMENT_TYPES
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Record


@dataclass
class NpzWriterStage(FileWriterStage):
    """Writes every segment to ``{output_path}/{channel}/{name}.npz``; the name is its id without the channel.

    Fields without an array of their own, ``start`` and ``end`` and those that segments do not have among them, stand as
    JSON in the array ``metadata``. Where ``output_path`` is what the segments were read from, their files get the new
    codes, and such fields as they do not have yet, and stay as they are otherwise. Elsewhere the audio is written as
    float32, rounded to the 16 bits it has inside a pipeline; where a segment has no codes, those of an earlier file of
    the same sound stay. A segment without sound, with a value that has no JSON form, or with the name of another of its
    partition, is quarantined.

    Args:
        output_path: the folder or prefix.

    Raises:
        ConfigurationError: a file instead of a folder.
    """

    name = "npz_writer"
    version = 3
    suffix: ClassVar[str] = ".npz"
    may_replace_sources: ClassVar[bool] = True

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id", "audio"]

    def files_of(self, record: Record) -> Files:
        return {".npz": npz_of_record(record)}

    def files_over(self, storage: Storage, record: Record, is_in_place: bool) -> Files:
        path = self.path_of(record, ".npz")
        if is_in_place:
            return {".npz": self._with_codes(storage, path, record)}
        data = npz_of_record(record)
        if not record.get("codes"):  # an earlier file of the same sound may have been given codes since
            with suppress(AccessError):
                data = with_codes_of(storage.read(path), data)
        return {".npz": data}

    def _with_codes(self, storage: Storage, path: str, record: Record) -> bytes:
        try:
            data = storage.read(path)
        except AccessError as error:
            remedy = "in the folder it is read from a segment keeps channel and name; choose another output_path"
            raise ConfigurationError(f"no codes can be added to {path} ({error}): {remedy}") from None
        further = {name: value for name, value in record.items() if name not in SEGMENT_TYPES}
        return with_codes(data, record.get("codes"), further)
