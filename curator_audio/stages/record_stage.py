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
    """A stage that maps one record to one, several or none; the base of nearly all stages.

    A record for which ``process_record`` raises is quarantined with its source, position and reason, and the others go
    on. The fields that ``inputs()`` declares are checked before ``process_record`` is called. ``log_metric`` counts
    something for the summary, ``log_skipped`` counts a piece of a recording that is left out.

    A stage that makes many large records of one yields them, and overrides ``process`` to hand on the records of
    ``processed`` in several batches.

    See ``ProcessingStage`` for ``setup``, ``version`` and resources, ``stages/parameters.py`` for checks of parameters,
    and ``curator_audio.testing`` for tests.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class CountWords(RecordStage):
        ...     '''Add the number of words of ``text``.'''
        ...     name = "count_words"
        ...     def inputs(self):
        ...         return [], ["text"]
        ...     def outputs(self):
        ...         return [], {"num_words": "int"}
        ...     def process_record(self, record):
        ...         return {**record, "num_words": len(record["text"].split())}
        >>> CountWords().process(AudioBatch([{"text": "so be it"}])).records
        [{'text': 'so be it', 'num_words': 3}]
    """

    @abstractmethod
    def process_record(self, record: Record) -> Record | Iterable[Record] | None:
        """Return the record's replacement, a list or iterator of several, or None to drop it.

        Pass on the fields that the stage does not know: ``{**record, "new": value}``. Never change ``record`` itself or
        anything in it. Where an iterator raises, the records that it gave before are kept.

        Raises:
            RecordError: the record cannot be processed. Any other exception quarantines the record too, with its type
                as the reason, except those that are not the record's fault: ``MemoryError``, ``ConfigurationError``,
                ``LockLostError``, and ``StorageError`` other than ``AccessError``.
        """

    def process(self, task: AudioBatch) -> AudioBatch:
        return task.followed_by(self._processed(task))

    def processed(self, task: AudioBatch) -> Iterator[tuple[Record, int]]:
        """Yield the new records of a task, each with the offset of the record it was made of; quarantine bad ones."""
        return ((record, task.offsets[index]) for record, index in self._processed(task))

    def _processed(self, task: AudioBatch) -> Iterator[tuple[Record, int]]:
        """Yield the new records of a task, each with the number of the record it was made of."""
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
