"""What can still be read of an entry that is damaged: the files that it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from curator_audio.ledger.entry import NO_ENTRY, LedgerEntry, part_of_json
from curator_audio.tasks import Part

_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"\s*,?\s*")


def remains_of(line: bytes) -> LedgerEntry:
    """Return what a damaged line tells of a partition: name, files and configuration, without what it was made from.

    The line may have been cut anywhere, or be whole while what it points to is lost.

    Example:
        >>> line = b'{"partition":"a","parts":[{"path":"a.npz","num_bytes":1,"sha256":"","num_records":1},{"pat'
        >>> [part.path for part in remains_of(line).parts]
        ['a.npz']
    """
    text = line.decode(errors="replace")
    parts, quarantine = ([*_parts_in(text, name)] for name in ("parts", "quarantine"))
    partition, made_with = (_text_in(text, name) for name in ("partition", "made_with"))
    return replace(NO_ENTRY, partition=partition, parts=parts, quarantine=quarantine, made_with=made_with)


def _text_in(text: str, name: str) -> str:
    found = re.search(rf'"{name}":\s*', text)
    value, _ = _decoded(text, found.end()) if found else (None, 0)
    return value if isinstance(value, str) else ""


def _parts_in(text: str, name: str) -> Iterator[Part]:
    found = re.search(rf'"{name}":\s*\[\s*', text)
    position = found.end() if found else len(text)
    while text.startswith("{", position):
        values, position = _decoded(text, position)
        if values is None:
            return
        if not (values.get("replaces_source") or values.get("is_copy")):  # the user's own, in format 1
            with suppress(ValueError, TypeError):  # this one is damaged, too
                yield part_of_json(values)
        between = _BETWEEN.match(text, position)
        position = between.end() if between else position


def _decoded(text: str, position: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except ValueError:
        return None, position
