"""The base of the writers of which a part is what its tasks give, one behind the other."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain

from curator_audio.stages.base import In
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Part


class AppendedWriterStage(WriterStage[In]):
    """A writer of one part a partition; a format is its ``suffix`` and its ``encode``.

    Parts that are put one behind the other must be a valid file where ``output_path`` names one (``JoinParts``).

    Example:
        >>> from dataclasses import dataclass
        >>> from curator_audio.tasks import AudioBatch
        >>> @dataclass
        ... class TextWriterStage(AppendedWriterStage[AudioBatch]):
        ...     '''Writes the text of every record as a line.'''
        ...     output_path: str
        ...     suffix = ".txt"
        ...     def encode(self, task):
        ...         return "".join(f"{record['text']}\\n" for record in task.records).encode()
        >>> storage = Storage()
        >>> (part,) = TextWriterStage("memory://doc/out").write(
        ...     storage, "memory://doc/out/0.txt", [AudioBatch([{"text": "so"}]), AudioBatch([{"text": "be it"}])]
        ... )
        >>> part.num_records, storage.read(part.path)
        (2, b'so\\nbe it\\n')
    """

    @abstractmethod
    def encode(self, task: In) -> bytes:
        """The task's bytes in the part.

        A record that cannot be written goes to ``self.observed.quarantined``.
        """

    def write(self, storage: Storage, part_path: str, tasks: Iterable[In]) -> list[Part]:
        encoded = self.encoded(tasks)
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

    def encoded(self, tasks: Iterable[In]) -> Iterator[tuple[bytes, int]]:
        """The pieces of a part and how many records each holds; override where it has a beginning or an end.

        Records that are set aside on the way do not count.
        """
        for task in tasks:
            num_bad_before = len(self.observed.quarantined)
            if data := self.encode(task):
                yield data, task.num_items - (len(self.observed.quarantined) - num_bad_before)
