"""A batch of manifest records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from curator_audio.tasks.task import Task

Record = dict[str, Any]


@dataclass
class AudioBatch(Task):
    """Manifest records (plain dicts) and where each was read from.

    Stages replace records and never mutate the values they were given: records may share parts, as the
    windows of a recording share its segments.

    Args:
        records: the records, in input order.
        source_path: the manifest the records came from.
        offsets: for each record, the byte offset of its line in the (decompressed) manifest.
        paths: for each record, the file it came from, where they came from several; else empty.

    Example:
        >>> batch = AudioBatch(records=[{"text": "a"}, {"text": "b"}])
        >>> batch.num_items
        2
    """

    records: list[Record]
    source_path: str = ""
    offsets: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.records):
            if self.offsets:
                raise ValueError(f"{len(self.records)} records but {len(self.offsets)} offsets; give one a record")
            self.offsets = [-1] * len(self.records)
        if self.paths and len(self.paths) != len(self.records):
            raise ValueError(f"{len(self.records)} records but {len(self.paths)} paths; give one a record, or none")

    def path_of(self, index: int) -> str:
        """Return the file that the record of this number came from."""
        return self.paths[index] if self.paths else self.source_path

    def followed_by(self, made: Iterable[tuple[Record, int]]) -> AudioBatch:
        """Return a batch of records that were made of these.

        Args:
            made: each with the number of the record it was made of, whose file and offset become its own.

        Example:
            >>> AudioBatch([{"a": 1}, {"a": 2}], "in.jsonl", [0, 9]).followed_by([({"b": 2}, 1)])
            AudioBatch(records=[{'b': 2}], source_path='in.jsonl', offsets=[9], paths=[])
        """
        batch = AudioBatch([], self.source_path)
        for record, index in made:
            batch.records.append(record)
            batch.offsets.append(self.offsets[index])
            if self.paths:
                batch.paths.append(self.paths[index])
        return batch

    @property
    def num_items(self) -> int:
        return len(self.records)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the sound in the records; the rest is small."""
        return sum(len(value["bytes"]) for record in self.records for value in record.values() if _is_sound(value))


def _is_sound(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("bytes"), bytes)
