"""Writing trees of ``.npz`` segments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.stages.base import QuarantinedRecord
from curator_audio.stages.speech.npz import npz_of_record, with_codes
from curator_audio.stages.speech.segments import file_name_of
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.storage import Storage, join
from curator_audio.tasks import AudioBatch, Part, Record

WRITTEN_AT_ONCE = 64


@dataclass
class NpzWriterStage(WriterStage[AudioBatch]):
    """Writes every segment to ``{output_path}/{channel}/{segment_id}.npz``.

    Where ``output_path`` is what the segments were read from, their files get the new codes and stay as they are
    otherwise. Elsewhere the audio is written as float32, rounded to the 16 bits it has inside a pipeline.

    Args:
        output_path: the folder or prefix.
    """

    output_path: str

    name = "npz_writer"
    suffix: ClassVar[str] = ".npz"
    may_replace_sources: ClassVar[bool] = True

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id", "audio", "duration_sec"]

    def encode(self, task: AudioBatch) -> bytes:
        raise TypeError("segments are files of their own; executors call write()")

    def write(self, storage: Storage, part_path: str, tasks: Iterable[AudioBatch]) -> list[Part]:
        return [part for task in tasks for part in self._written(storage, task)]

    def _written(self, storage: Storage, task: AudioBatch) -> Iterator[Part]:
        files: dict[str, Record] = {}
        for record, offset in zip(task.records, task.offsets):
            try:
                path = join(self.output_path, *file_name_of(record, ".npz"))
                if path in files:
                    raise RecordError("duplicate_segment", f"a second segment would be written to {path}")
                files[path] = record
            except RecordError as error:
                bad = QuarantinedRecord(task.source_path, offset, self.name, error.reason, error.message, record)
                self.observed.quarantined.append(bad)
        is_in_place = task.source_path.rstrip("/") == self.output_path.rstrip("/")
        paths = list(files)
        for begin in range(0, len(paths), WRITTEN_AT_ONCE):
            yield from storage.each(
                lambda path: _write(storage, path, files[path], is_in_place), paths[begin : begin + WRITTEN_AT_ONCE]
            )


def _write(storage: Storage, path: str, record: Record, is_in_place: bool) -> Part:
    data = None
    if is_in_place:
        with suppress(AccessError):  # it was read under another name: its channel was renamed
            data = with_codes(storage.read(path), record.get("codes") or [])
    if data is None:
        data = npz_of_record(record)
    storage.write(path, data)
    return Part(path, len(data), hashlib.sha256(data).hexdigest(), 1)
