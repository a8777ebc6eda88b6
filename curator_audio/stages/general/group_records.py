"""Put records that belong together into one batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.base import ProcessingStage
from curator_audio.storage.json_codec import encode_value
from curator_audio.tasks import AudioBatch, Record


@dataclass
class GroupRecordsStage(ProcessingStage[AudioBatch, AudioBatch]):
    """Make a batch of all records of a partition that agree in some fields, in the order they came.

    For stages that need all records of a recording, a speaker or a day at once. A worker holds all records of a
    partition, so leave out sound that is not needed. Records of different partitions are never put together.

    Args:
        by: the fields; records that lack one agree with others that lack it.

    Raises:
        ConfigurationError: ``by`` is not a list of fields.

    Example:
        >>> stage = GroupRecordsStage(by=["speaker"])
        >>> tasks = [AudioBatch([{"speaker": 1, "n": 0}, {"speaker": 2, "n": 1}]), AudioBatch([{"speaker": 1, "n": 2}])]
        >>> [[record["n"] for record in batch.records] for batch in stage.process_partition(iter(tasks))]
        [[0, 2], [1]]
    """

    by: list[str]

    name = "group_records"

    def __post_init__(self) -> None:
        if not isinstance(self.by, list) or not self.by or not all(isinstance(name, str) and name for name in self.by):
            raise ConfigurationError(f"by is {self.by!r}; give a list of fields, such as [speaker_id,audio_id]")

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], []

    def process(self, task: AudioBatch) -> list[AudioBatch]:
        return list(self.process_partition(iter([task])))

    def process_partition(self, tasks: Iterator[AudioBatch]) -> Iterator[AudioBatch]:
        groups: dict[Any, AudioBatch] = {}
        for task in tasks:
            for index, record in enumerate(task.records):
                try:
                    key = self._key(record)
                except RecordError as error:
                    self.quarantine(task, index, error)
                    continue
                group = groups.setdefault(key, AudioBatch([], task.source_path))
                group.records.append(record)
                group.offsets.append(task.offsets[index])
                group.paths.append(task.path_of(index))
        while groups:
            yield groups.pop(next(iter(groups)))

    def _key(self, record: Record) -> Any:
        values = tuple(record.get(name) for name in self.by)
        return tuple(value if isinstance(value, str) else encode_value(value) for value in values)
