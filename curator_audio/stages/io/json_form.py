"""Which types of fields have values that JSON has a form for."""

from __future__ import annotations

from curator_audio.stages.field_types import members
from curator_audio.stages.fields import FieldTypes


def without_json_form(kinds: FieldTypes) -> list[str]:
    """Return the fields that hold bytes, which JSON has no form for, by their types.

    Example:
        >>> without_json_form({"text": "string", "raw": "binary", "marks": "list<struct<png: binary>>"})
        ['raw', 'marks']
    """
    return [name for name, kind in kinds.items() if _has_bytes(kind)]


def _has_bytes(kind: str) -> bool:
    while kind.startswith("list<"):
        kind = kind.removeprefix("list<").removesuffix(">")
    return kind in ("binary", "audio") or any(map(_has_bytes, members(kind).values()))
