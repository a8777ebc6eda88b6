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
        replaces_source: whether it was written in the place of a file that was read, and is the user's own.
        is_copy: whether it is one file of the source, and stays when that has gone.
        version: what its storage tells this very file by (etag, or time of writing, and size); empty where not known.
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
        """Tells this part from any other, and from an older one of the same name."""
        return f"{self.path}#{self.sha256}"
