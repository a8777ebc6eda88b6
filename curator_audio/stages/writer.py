"""The base of the stages a pipeline ends with."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.stages.base import In, ProcessingStage
from curator_audio.storage.storage import Storage, absolute, join
from curator_audio.tasks import Part


class WriterStage(ProcessingStage[In, Part]):
    """A stage that makes one part of every partition; a format is its ``suffix`` and its ``encode``.

    Where ``output_path`` names a file (it ends in ``suffix``), parts are kept aside until they are joined into it; else
    it is a folder in which every part is a shard.
    """

    output_path: str
    suffix: ClassVar[str]
    depth: ClassVar[int] = 1
    """How deep below a folder ``output_path`` its files lie: 1 for those in the folder itself."""
    may_replace_sources: ClassVar[bool] = False
    """Whether it may write into the folder it reads from: it then writes each file in the place of its source."""

    def __post_init__(self) -> None:
        if not isinstance(self.output_path, str) or not self.output_path:
            raise ConfigurationError(f"output_path is {self.output_path!r}; give a file (*{self.suffix}) or a folder")
        self.output_path = absolute(self.output_path)

    @property
    def is_single_file(self) -> bool:
        return self.output_path.endswith(self.suffix)

    @property
    def output_places(self) -> list[str]:
        """The files, and folders with all below them, that it writes to: what ledgers name elsewhere is left alone."""
        return [self.output_path]

    def part_path(self, name: str, parts_folder: str) -> str:
        """Where the part of a partition is written: among the parts that wait to be joined, or as a shard."""
        return join(parts_folder if self.is_single_file else self.output_path, name + self.suffix)

    @abstractmethod
    def encode(self, task: In) -> bytes:
        """The task's bytes in the part; a part is its tasks' bytes, one after the other.

        A record that cannot be written goes to ``self.observed.quarantined``.
        """

    def write(self, storage: Storage, part_path: str, tasks: Iterable[In]) -> list[Part]:
        """Write the tasks of one partition to ``part_path``, whole or not at all; no file for no records."""
        encoded = self._encoded(tasks)
        first = next(encoded, None)
        if first is None:
            storage.delete([part_path])  # which an earlier version of the source may have had
            return []
        digest = hashlib.sha256()
        num_records = 0
        with storage.create(part_path) as file:
            for data, num_items in chain([first], encoded):
                file.write(data)
                digest.update(data)
                num_records += num_items
        return [Part(part_path, file.num_bytes, digest.hexdigest(), num_records, version=file.version)]

    def _encoded(self, tasks: Iterable[In]) -> Iterator[tuple[bytes, int]]:
        """Each task's bytes and how many records they hold: those set aside on the way do not count."""
        for task in tasks:
            num_bad_before = len(self.observed.quarantined)
            if data := self.encode(task):
                yield data, task.num_items - (len(self.observed.quarantined) - num_bad_before)

    def process(self, task: In) -> Any:
        raise TypeError(f"writer '{self.name}' writes whole partitions; executors call write()")
