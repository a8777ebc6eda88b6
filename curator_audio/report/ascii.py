"""Print messages on terminals that have only ASCII."""

from __future__ import annotations

import codecs
import sys

_IN_ASCII = {
    "·": "|",
    "…": "...",
    "→": "->",
    "×": "x",
    "µ": "u",
    "—": "-",
    "–": "-",
    "─": "-",
    "━": "-",
    "│": "|",
    "┃": "|",
}


def print_in_ascii_where_needed() -> None:
    """Let standard output and error replace characters that their encoding lacks, instead of failing."""
    codecs.register_error("in_ascii", _replacement)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="in_ascii")  # type: ignore[union-attr]


def _replacement(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement for characters that cannot be encoded, as ``codecs.register_error`` asks for it.

    Example:
        >>> _replacement(UnicodeEncodeError("ascii", "2 → 3 ä", 2, 7, ""))
        ('-> 3 \\\\xe4', 7)
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(character: str) -> str:
    if "\u2500" <= character <= "\u257f":  # box drawing: lines, else corners
        return _IN_ASCII.get(character, "+")
    return _IN_ASCII.get(character) or character.encode("ascii", "backslashreplace").decode()
