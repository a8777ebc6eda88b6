"""The base of the writers that make a file of every segment."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.speech.segments import file_name_of
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.storage import Storage, join
from curator_audio.storage.valid_text import Repairs, with_valid_text
from curator_audio.tasks import AudioBatch, Part, Record

WRITTEN_AT_ONCE = 64


@dataclass
class SegmentFileWriterStage(WriterStage[AudioBatch]):
    """Writes every segment to ``{output_path}/{channel}/{name}`` and a suffix; a format is its ``file_of``.

    The name is the segment's id without its channel. A segment without sound, or with the name of another of its
    partition, is quarantined.

    Args:
        output_path: the folder or prefix.

    Raises:
        ConfigurationError: a file instead of a folder.
    """

    output_path: str

    depth: ClassVar[int] = 2
    version = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_path.endswith(self.suffix):
            raise ConfigurationError(
                f"output_path is {self.output_path}; give a folder, segments are files of their own"
            )

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id", "audio"]

    @abstractmethod
    def file_of(self, storage: Storage, path: str, record: Record) -> bytes:
        """The file of a segment's record.

        Args:
            storage: where ``path`` is.
            path: the file, of which an earlier one may be there.
            record: the segment.

        Raises:
            RecordError: none can be made of it.
        """

    def file_in_place(self, storage: Storage, path: str, record: Record) -> bytes:
        """The file of a segment that was read from ``path``, where the writer ``may_replace_sources``."""
        raise NotImplementedError(f"'{self.name}' does not write where it reads")

    def encode(self, task: AudioBatch) -> bytes:
        raise TypeError("segments are files of their own; executors call write()")

    def write(self, storage: Storage, part_path: str, tasks: Iterable[AudioBatch]) -> list[Part]:
        taken: set[str] = set()
        return [part for task in tasks for part in self._written(storage, task, taken)]

    def _written(self, storage: Storage, task: AudioBatch, taken: set[str]) -> Iterator[Part]:
        """Write the records of a task, and give what was written.

        Args:
            storage: where to.
            task: the records.
            taken: the paths of this partition so far; those of the task are added.
        """
        repairs = Repairs()
        is_in_place = task.source_path.rstrip("/") == self.output_path.rstrip("/") and self.may_replace_sources
        for begin in range(0, task.num_items, WRITTEN_AT_ONCE):
            chosen = slice(begin, begin + WRITTEN_AT_ONCE)
            records: dict[str, tuple[Record, int]] = {}
            for index, record in enumerate(task.records[chosen], begin):
                record = with_valid_text(record, repairs)
                try:
                    path = join(self.output_path, *file_name_of(record, self.suffix))
                    if path in taken:
                        raise RecordError("duplicate_segment", f"a second segment would be written to {path}")
                    taken.add(path)
                    records[path] = record, index
                except RecordError as error:
                    self.quarantine(task, index, error)
            done = storage.each(partial(self._write, storage, records, is_in_place), list(records))
            for (_, index), result in zip(records.values(), done):
                if isinstance(result, Part):
                    yield result
                else:
                    self.quarantine(task, index, result)
        self.log_metrics(repairs.as_metrics())

    def _write(
        self, storage: Storage, records: dict[str, tuple[Record, int]], is_in_place: bool, path: str
    ) -> Part | RecordError:
        """Write one segment; an error of its own is returned, so that the others of its batch are written too."""
        record, _ = records[path]
        try:
            data = self.file_in_place(storage, path, record) if is_in_place else self.file_of(storage, path, record)
        except RecordError as error:
            return error
        version = storage.written(path, data)
        return Part(path, len(data), hashlib.sha256(data).hexdigest(), 1, version=version)
