"""What the output of a folder was made with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from curator_audio.ledger.entry import sha256_of

_OWN_CLASS = re.compile(r"curator_audio(\.\w+)*\.[A-Z]\w*")


def fingerprint_of(configuration: Any) -> str:
    """Tells a configuration from others; a parameter that is null is the same as one that is not there.

    Example:
        >>> fingerprint_of({"reader": {"version": 1, "limit": None}}) == fingerprint_of({"reader": {"version": 1}})
        True
    """
    return sha256_of(_without_nulls(configuration))[:16]


def _without_nulls(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _without_nulls(value) for key, value in values.items() if value is not None}
    return [_without_nulls(value) for value in values] if isinstance(values, (list, tuple)) else values


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """``stage.parameter: old → new`` for every difference between two configurations.

    Example:
        >>> list(differences({"reader": {"version": 1, "min": 2}}, {"reader": {"version": 1, "min": 3}}))
        ['reader.min: 2 → 3']
        >>> old, new = ({"reader": {"stage": f"curator_audio.{module}.Reader"}} for module in ("io", "stages.io"))
        >>> list(differences(old, new))
        []
    """
    if not place and isinstance(old, dict) and isinstance(new, dict):
        yield from (f"no stage {name}" for name in old if name not in new)
        yield from (f"a new stage {name}" for name in new if name not in old)
        for name in (name for name in old if name in new):
            yield from differences(old[name], new[name], name)
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key), new.get(key), f"{place}.{key}")
    elif _compared(old) != _compared(new):
        yield f"{place}: {json.dumps(old, ensure_ascii=False)} → {json.dumps(new, ensure_ascii=False)}"


def _compared(value: Any) -> Any:
    """A value as it is compared: a folder is the same with and without a slash at its end, a stage where it has moved.

    A stage of this package is known by the name of its class, which no other has.
    """
    if not isinstance(value, str):
        return value
    return value.rpartition(".")[2] if _OWN_CLASS.fullmatch(value) else value.rstrip("/")
