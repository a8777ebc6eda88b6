"""The base of stages that work record by record; the one place that isolates bad records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

from curator_audio.errors import (
    AccessError,
    ConfigurationError,
    LockLostError,
    RecordError,
    StorageError,
    StorageFullError,
    place_of,
)
from curator_audio.stages.base import ProcessingStage
from curator_audio.tasks import AudioBatch, Record


class RecordStage(ProcessingStage[AudioBatch, AudioBatch]):
    """A stage that maps one record to one, several or none.

    A record for which ``process_record`` raises is set aside with its source, position and reason, and the
    others go on. Declared input fields are checked before ``process_record`` is called.

    A stage that makes many large records of one yields them, and overrides ``process`` to hand on what
    ``processed`` gives in several batches.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class CountWords(RecordStage):
        ...     '''Adds the number of words of ``text``.'''
        ...     name = "count_words"
        ...     def inputs(self):
        ...         return [], ["text"]
        ...     def outputs(self):
        ...         return [], ["num_words"]
        ...     def process_record(self, record):
        ...         return {**record, "num_words": len(record["text"].split())}
        >>> CountWords().process(AudioBatch([{"text": "so be it"}])).records
        [{'text': 'so be it', 'num_words': 3}]
    """

    @abstractmethod
    def process_record(self, record: Record) -> Record | Iterable[Record] | None:
        """The record's replacement, a list or iterator of several, or None to drop it.

        Must not change ``record`` itself. Where an iterator raises, what it gave before stays.

        Raises:
            RecordError: the record cannot be processed.
        """

    def process(self, task: AudioBatch) -> AudioBatch:
        return task.followed_by(self._processed(task))

    def processed(self, task: AudioBatch) -> Iterator[tuple[Record, int]]:
        """What becomes of a task's records, with the offset of the record it came of; bad ones are set aside."""
        return ((record, task.offsets[index]) for record, index in self._processed(task))

    def _processed(self, task: AudioBatch) -> Iterator[tuple[Record, int]]:
        """The same with the number of the record it came of."""
        required = self.inputs()[1]
        for index, record in enumerate(task.records):
            try:
                for name in required:
                    if name not in record:
                        raise RecordError("missing_field", f"the record has no '{name}'")
                result = self.process_record(record)
                if isinstance(result, dict):
                    yield result, index
                elif isinstance(result, (list, Iterator)):
                    for one in result:
                        yield one, index
                elif result is not None:
                    kind = type(result).__name__
                    remedy = "return a dict, a list or iterator of dicts, or None to drop it"
                    raise ConfigurationError(f"'{self.name}' returned a {kind} for a record; {remedy}")
            except Exception as error:
                self.isolate(task, index, error)

    def isolate(self, task: AudioBatch, index: int, error: Exception) -> None:
        """Set aside a record of a task for an error that is the record's own, and raise any other.

        A bug counts as the record's: one odd record must not stop a run that lasts days.
        """
        if isinstance(error, (MemoryError, ConfigurationError, LockLostError, StorageFullError)):
            raise error
        if isinstance(error, AccessError):  # the record names a file that is not there
            self.quarantine(task, index, error)
        elif isinstance(error, StorageError):
            raise error
        elif isinstance(error, RecordError):
            self.quarantine(task, index, error)
        else:
            self.quarantine(task, index, RecordError(type(error).__name__, f"{error}{place_of(error)}"))
