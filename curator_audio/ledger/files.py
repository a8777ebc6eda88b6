"""What tells the files that runs have made from others of their names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from curator_audio.ledger.entry import StepEntry
from curator_audio.storage.storage import FileInfo, Storage, is_local
from curator_audio.tasks import Part

BLOCK_BYTES = 8 * 2**20


class MadeFiles:
    """Files as they lie in their folders, by path; looked for once, and then noted.

    Args:
        storage: where they are.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._there: dict[str, FileInfo] = {}
        self._wrong: set[tuple[str, str]] = set()

    def __contains__(self, path: str) -> bool:
        return path in self._there

    def look_in(self, paths: Iterable[str]) -> None:
        """Take up all files in the folders of some."""
        for file in self._beside(paths):
            self._there[file.path] = file

    def look_again(self, paths: set[str]) -> None:
        """Look for some files once more."""
        found = map(self._storage.find, paths) if len(paths) == 1 else self._beside(paths)
        now = [info for info in found if info is not None]
        for path in paths:
            del self._there[path]
        self._there |= {info.path: info for info in now if info.path in paths}

    def note(self, path: str, part: Part) -> None:
        """Take up a file that was just made."""
        self._there[path] = FileInfo(path, part.num_bytes, part.version)

    def forget(self, path: str) -> bool:
        """Take a file for gone; returns whether it was there."""
        return self._there.pop(path, None) is not None

    def is_that(self, path: str, part: Part) -> bool:
        """Whether a file is the one noted, in the very version."""
        there = self._there.get(path)
        return there is not None and (there.num_bytes, there.version) == (part.num_bytes, part.version)

    def is_intact(self, path: str, part: Part, may_read: bool = True) -> bool:
        """Whether a file is the one that was made; what is noted of one that was only copied or moved is renewed."""
        there = self._there.get(path)
        if there is None or there.num_bytes != part.num_bytes:
            return False
        is_other = bool(part.version and there.version) and part.version != there.version
        if is_other and not (may_read and part.sha256 and self._holds(there, [(part.num_bytes, part.sha256)])):
            return False
        part.version = there.version or part.version  # which entries of older versions have not
        return True

    def is_still_joined(self, path: str, part: Part, step: StepEntry) -> bool:
        """Whether a file that was put together holds the parts it was made of; it has no hash of its own."""
        there = self._there.get(path)
        if not step.ranges or there is None or there.num_bytes != part.num_bytes:
            return False
        ranges = sorted(step.ranges.items(), key=lambda item: item[1])
        if not self._holds(there, [(num_bytes, key.rpartition("#")[2]) for key, (_, num_bytes) in ranges]):
            return False
        part.version = there.version
        return True

    def _beside(self, paths: Iterable[str]) -> list[FileInfo]:
        folders = sorted({path.rpartition("/")[0] for path in paths}, key=is_local)
        return [info for files in self._storage.each(self._files_in, folders) for info in files]

    def _files_in(self, folder: str) -> list[FileInfo]:
        return self._storage.list_files(folder, max_depth=1)

    def _holds(self, file: FileInfo, pieces: list[tuple[int, str]]) -> bool:
        """Whether a file is made of pieces of these sizes and hashes; read once, if it is not."""
        if (file.path, file.version) in self._wrong:
            return False
        position = 0
        for num_bytes, sha256 in pieces:
            digest, end = hashlib.sha256(), position + num_bytes
            while position < end:
                data = self._storage.read_range(file.path, position, min(end, position + BLOCK_BYTES))
                if not data:
                    break
                digest.update(data)
                position += len(data)
            if position != end or digest.hexdigest() != sha256:
                break
        else:
            if position == file.num_bytes:
                return True
        self._wrong.add((file.path, file.version))
        return False
