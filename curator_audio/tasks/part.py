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
        version: identifies the file's content in its storage (etag, or time of writing, and size); empty if not known.
        stays: True if it is kept when its source goes or the ledger is erased, as copies are.
        place: the place of the input that it is, for a file of the source that was left as it was or written in its
            place; such a file is the user's own. Empty for all others.
    """

    path: str
    num_bytes: int
    sha256: str
    num_records: int
    version: str = ""
    stays: bool = False
    place: str = ""

    @property
    def num_items(self) -> int:
        return self.num_records

    @property
    def key(self) -> str:
        """An identifier of this part, which an older part of the same name does not have."""
        return f"{self.path}#{self.sha256}"
