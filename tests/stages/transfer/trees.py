"""Trees of files for the tests of transfers."""

from __future__ import annotations

from curator_audio.storage.storage import Storage, join

ODD_NAMES = [
    "with space",
    " leading and trailing ",
    "naïve.wav",
    "e\u0301 is not \u00e9",
    "speech 🎧",
    "50%",
    "50%25",
    "a#b",
    "a?b=c&d",
    "[1]*{2}",
    "quote\"'`",
    "back\\slash",
    "tab\tand ~ $HOME",
    "semi;colon,|<>",
    "plus+@:!",
]
"""Names that are files on a disk and objects in a store; see the tests for those that are only one of them."""


def write(root: str, files: dict[str, bytes]) -> None:
    for key, data in files.items():
        Storage().write(join(root, key), data)


def tree(root: str) -> dict[str, bytes]:
    """All files below a folder, without what the run that wrote them keeps for itself."""
    storage = Storage()
    found = {info.path.removeprefix(f"{root}/"): info.path for info in storage.list_files(root)}
    return {
        key: storage.read(path)
        for key, path in found.items()
        if not key.startswith(("_ledger/", "quarantine/")) and key != "metrics.json"
    }
