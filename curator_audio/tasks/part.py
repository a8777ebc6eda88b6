"""What a writer made of a partition."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.tasks.task import Task


@dataclass
class Part(Task):
    """A file a writer produced for a partition.

    Args:
        path: where it is, relative to the writer's output folder.
        num_bytes: its size, checked before a later run trusts it.
        sha256: the hash of its bytes.
        num_records: how many records it holds.
        version: what its storage tells this very file by (etag, or time of writing, and size); empty where not known.
        stays: whether it stays when its source goes or the ledger is erased, as copies do.
        place: where it is a file of the source, written in its place or left as it was, that one's place; such a file
            is the user's own.
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
        """Tells this part from any other, and from an older one of the same name."""
        return f"{self.path}#{self.sha256}"
