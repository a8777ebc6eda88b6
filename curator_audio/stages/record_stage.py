"""The base of stages that work record by record; the one place that isolates bad records."""

from __future__ import annotations

from abc import abstractmethod

from curator_audio.errors import (
    AccessError,
    ConfigurationError,
    RecordError,
    StorageError,
    StorageFullError,
    place_of,
)
from curator_audio.stages.base import ProcessingStage, QuarantinedRecord
from curator_audio.tasks import AudioBatch, Record


class RecordStage(ProcessingStage[AudioBatch, AudioBatch]):
    """A stage that maps one record to one, several or none.

    A record for which ``process_record`` raises is set aside with its source, position and reason, and the
    others go on. Declared input fields are checked before ``process_record`` is called.

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
    def process_record(self, record: Record) -> Record | list[Record] | None:
        """The record's replacement, several, or None to drop it; must not change ``record`` itself.

        Raises:
            RecordError: the record cannot be processed.
        """

    def process(self, task: AudioBatch) -> AudioBatch:
        records: list[Record] = []
        offsets: list[int] = []
        required = self.inputs()[1]
        for record, offset in zip(task.records, task.offsets):
            try:
                for name in required:
                    if name not in record:
                        raise RecordError("missing_field", f"the record has no '{name}'")
                result = self.process_record(record)
            except (MemoryError, ConfigurationError, StorageFullError):
                raise
            except AccessError as error:  # the record names a file that is not there
                self._set_aside(task, offset, record, "unreadable_file", str(error))
            except StorageError:
                raise
            except RecordError as error:
                self._set_aside(task, offset, record, error.reason, error.message)
            except Exception as error:  # a bug or an odd record: it must not stop a run that lasts days
                self._set_aside(task, offset, record, type(error).__name__, f"{error}{place_of(error)}")
            else:
                if isinstance(result, dict):
                    records.append(result)
                    offsets.append(offset)
                elif isinstance(result, list):
                    records.extend(result)
                    offsets.extend([offset] * len(result))
                elif result is not None:
                    kind = type(result).__name__
                    remedy = "return a dict, a list of dicts, or None to drop it"
                    raise ConfigurationError(f"'{self.name}' returned a {kind} for a record; {remedy}")
        return AudioBatch(records, task.source_path, offsets)

    def _set_aside(self, task: AudioBatch, offset: int, record: Record, reason: str, message: str) -> None:
        self.observed.quarantined.append(
            QuarantinedRecord(task.source_path, offset, self.name, reason, message, record)
        )
