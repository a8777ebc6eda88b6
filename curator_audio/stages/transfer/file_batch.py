"""A batch of files."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.storage.storage import FileInfo
from curator_audio.tasks import Task


@dataclass
class FileBatch(Task):
    """Files below a folder or prefix, as they were listed; what is in them stays where it is.

    Args:
        root: the folder or prefix.
        files: their paths below it written in full, their sizes and versions.

    Example:
        >>> FileBatch("/data", [FileInfo("/data/a.wav", 44, "44-1767225600.0")]).num_items
        1
    """

    root: str
    files: list[FileInfo]

    @property
    def num_items(self) -> int:
        return len(self.files)
