"""A file that a writer made of a partition."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.tasks.task import Task


@dataclass
class Part(Task):
    """A file that a writer made of a partition.

    Args:
        path: its path, relative to the writer's output folder.
        num_bytes: its size, checked before a later run trusts it.
        sha256: the hash of its bytes.
        num_records: how many records it holds.
        replaces_source: True if it was written in the place of a file that was read, which is the user's own.
        is_copy: True if it is a copy of one file of the source, and is kept when that file is gone.
        version: identifies the file's content in its storage (etag, or time of writing, and size); empty if not known.
    """

    path: str
    num_bytes: int
    sha256: str
    num_records: int
    replaces_source: bool = False
    is_copy: bool = False
    version: str = ""

    @property
    def num_items(self) -> int:
        return self.num_records

    @property
    def key(self) -> str:
        """An identifier of this part, which an older part of the same name does not have."""
        return f"{self.path}#{self.sha256}"
