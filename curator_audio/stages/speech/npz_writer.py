"""Writing trees of ``.npz`` segments."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.stages.speech.npz import npz_of_record, with_codes, with_codes_of
from curator_audio.stages.speech.segment_file_writer import SegmentFileWriterStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Record


@dataclass
class NpzWriterStage(SegmentFileWriterStage):
    """Writes every segment to ``{output_path}/{channel}/{name}.npz``; the name is its id without the channel.

    Where ``output_path`` is what the segments were read from, their files get the new codes and stay as they are
    otherwise. Elsewhere the audio is written as float32, rounded to the 16 bits it has inside a pipeline; where a
    segment has no codes, those of an earlier file of the same sound stay. A segment without sound, or with the name of
    another of its partition, is quarantined.

    Args:
        output_path: the folder or prefix.

    Raises:
        ConfigurationError: a file instead of a folder.
    """

    name = "npz_writer"
    version = 2
    suffix: ClassVar[str] = ".npz"
    may_replace_sources: ClassVar[bool] = True

    def file_of(self, storage: Storage, path: str, record: Record) -> bytes:
        data = npz_of_record(record)
        if not record.get("codes"):  # an earlier file of the same sound may have been given codes since
            with suppress(AccessError):
                return with_codes_of(storage.read(path), data)
        return data

    def file_in_place(self, storage: Storage, path: str, record: Record) -> bytes:
        try:
            data = storage.read(path)
        except AccessError as error:
            remedy = "in the folder it is read from a segment keeps channel and name; choose another output_path"
            raise ConfigurationError(f"no codes can be added to {path} ({error}): {remedy}") from None
        return with_codes(data, record.get("codes"))
