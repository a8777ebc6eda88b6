"""A batch of manifest records."""

from __future__ import annotations

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

    Example:
        >>> batch = AudioBatch(records=[{"text": "a"}, {"text": "b"}])
        >>> batch.num_items
        2
    """

    records: list[Record]
    source_path: str = ""
    offsets: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.records):
            if self.offsets:
                raise ValueError(f"{len(self.records)} records but {len(self.offsets)} offsets; give one a record")
            self.offsets = [-1] * len(self.records)

    @property
    def num_items(self) -> int:
        return len(self.records)

    @property
    def memory_bytes(self) -> int:
        """The sound in the records; the rest is little beside it."""
        return sum(len(value["bytes"]) for record in self.records for value in record.values() if _is_sound(value))


def _is_sound(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("bytes"), bytes)
