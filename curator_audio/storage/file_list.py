"""Many files in little memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

from curator_audio.storage.storage import FileInfo

BLOCK = 1024


class FileList:
    """Files in the order in which they were added, at some 20 to 40 bytes each.

    Example:
        >>> files = FileList()
        >>> files.add(FileInfo("/data/a.npz", 3, "3-1.5"))
        >>> len(files), files.num_bytes, list(files)
        (1, 3, [FileInfo(path='/data/a.npz', num_bytes=3, version='3-1.5')])
    """

    def __init__(self) -> None:
        self.num_bytes = 0
        self._packed: list[bytes] = []
        self._last: list[FileInfo] = []

    def add(self, file: FileInfo) -> None:
        """Add a file at the end."""
        self.num_bytes += file.num_bytes
        self._last.append(file)
        if len(self._last) == BLOCK:
            values = [[file.path, file.num_bytes, file.version] for file in self._last]
            self._packed.append(zlib.compress(json.dumps(values).encode(), 1))
            self._last = []

    def __len__(self) -> int:
        return BLOCK * len(self._packed) + len(self._last)

    def __iter__(self) -> Iterator[FileInfo]:
        for block in self._packed:
            for path, num_bytes, version in json.loads(zlib.decompress(block)):
                yield FileInfo(path, num_bytes, version)
        yield from self._last
