"""Where a run may write and delete."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from curator_audio.storage.storage import is_local, join

_NAMES_A_FILE = re.compile(r"[^\0\ud800-\udc7f\udd00-\udfff]*[^\0\ud800-\udc7f\udd00-\udfff/]").fullmatch
"""Of file names that are no UTF-8, bytes from 128 stand as U+DC80 to U+DCFF."""


class Places:
    """The output folder of a run, and where else its own writer and steps put what they make.

    What a ledger names is only deleted, read or written over where it lies in one of them: the folder may be somebody
    else's, and name anything.

    Args:
        output_dir: the output folder.
        others: files, and folders with all that is below them.

    Example:
        >>> places = Places("/data/out", ["/data/speech.jsonl"])
        >>> [path in places for path in ("/data/out/a.npz", "/data/speech.jsonl", "/data/in.jsonl")]
        [True, True, False]
    """

    def __init__(self, output_dir: str, others: Iterable[str] = ()) -> None:
        self._roots = [place_of(path).rstrip("/") for path in (output_dir, *others)]
        self._folders: dict[str, str] = {}

    def __contains__(self, path: str) -> bool:
        if not _NAMES_A_FILE(path) or {".", ".."} & set(path.split("/")):
            return False
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = place_of(folder)  # a link in the folder may lead out of it
        place = join(self._folders[folder], name)
        return any(place == root or place.startswith(root + "/") for root in self._roots)


def place_of(path: str) -> str:
    """The path by which a folder or file is known whatever way led there."""
    return os.path.realpath(path) if is_local(path) else path.replace("s3a://", "s3://", 1).rstrip("/")
