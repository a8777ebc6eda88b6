"""All entries of a folder in one file, and what they were made from beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from curator_audio.ledger.entry import LedgerEntry
from curator_audio.ledger.paths import LedgerPaths
from curator_audio.storage.storage import Storage, join
from curator_audio.tasks import Inputs
from curator_audio.tasks.inputs import digest_of

INPUTS_IN_LINE = 8
"""Places of an entry that stand in its own line; those of one with more are in the file of all."""
_INPUTS = re.compile(r"inputs-[0-9a-f]{16}\.gz")


def write_gathered(storage: Storage, paths: LedgerPaths, entries: Iterable[LedgerEntry]) -> None:
    """Write all entries into one file, in the order of their names.

    What they were made from is written first, under a name of its own, so that a run which is killed in between leaves
    the older entries with the older file. It is written even where a file of that name is there, which may be damaged.
    """
    ordered = sorted(entries, key=lambda entry: entry.partition)
    packed = [entry.inputs.packed for entry in ordered if entry.inputs.num > INPUTS_IN_LINE]
    name = f"inputs-{hashlib.sha256(b''.join(packed)).hexdigest()[:16]}.gz"
    path = join(paths.folder, name)
    if packed:
        storage.write(path, b"".join(packed))
    lines, position = [], 0
    for entry in ordered:
        if entry.inputs.num <= INPUTS_IN_LINE:
            lines.append(entry.to_json())
        else:
            lines.append(entry.to_json((name, position, len(entry.inputs.packed))))
            position += len(entry.inputs.packed)
    storage.write(paths.gathered, b"\n".join([*lines, b""]))
    found = [info.path for info in storage.list_files(paths.folder, max_depth=1)]
    kept = {path} if packed else set()
    storage.delete([file for file in found if _INPUTS.fullmatch(file.rpartition("/")[2]) and file not in kept])


class GatheredInputs:
    """What entries were made from, where that is in the file beside them; read once.

    Args:
        storage: where it is.
        paths: of the ledger.
        listed: the files of the ledger.
    """

    def __init__(self, storage: Storage, paths: LedgerPaths, listed: set[str]) -> None:
        self._storage, self._folder, self._listed = storage, paths.folder, listed
        self._files: dict[str, bytes] = {}

    def at(self, values: Mapping[str, Any], name: str, start: int, num_bytes: int) -> Inputs:
        """Return those of an entry.

        Args:
            values: what is in its line: number and digest of them.
            name: the file they are in.
            start: the first byte of them.
            num_bytes: how many there are.

        Raises:
            ValueError: they are not there.
        """
        path = join(self._folder, name)
        if not _INPUTS.fullmatch(name) or path not in self._listed:
            raise ValueError(f"{name} is not there")
        if name not in self._files:
            self._files[name] = self._storage.read(path)
        packed = self._files[name][start : start + num_bytes]
        inputs = Inputs(packed, values["num_inputs"], values["inputs_sha256"])
        if len(packed) != num_bytes or digest_of(inputs.unpacked()) != inputs.sha256:
            raise ValueError("its inputs are others")
        return inputs
