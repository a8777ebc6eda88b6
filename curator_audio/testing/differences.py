"""Describe in a line how a value differs from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def difference(expected: Any, found: Any) -> str:
    """Return how a value differs from the expected one; empty where it does not.

    Dicts are compared without their order, arrays element by element; NaN is NaN, and True is not 1. An expected value
    may be one that compares itself, such as ``pytest.approx(0.5)``.

    Example:
        >>> difference({"text": "a", "n": [1, 2]}, {"text": "a", "n": [1, 3], "new": True})
        "'n'[1] is 3, expected 2; 'new' is not expected: True"
        >>> difference([float("nan")], [float("nan")])
        ''
    """
    return "; ".join(_differences(expected, found, ""))


def shown(value: Any) -> str:
    """Return a value for a message: bytes by their number, long values cut short.

    Example:
        >>> shown({"audio": {"bytes": b"fLaC", "path": "a.flac"}})
        "{'audio': {'bytes': <4 bytes>, 'path': 'a.flac'}}"
    """
    text = repr(_without_bytes(value))
    return text if len(text) <= 200 else f"{text[:200]}…"


class _Bytes:
    def __init__(self, data: Any) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<{len(self.data)} bytes>"


def _without_bytes(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return _Bytes(value)
    if isinstance(value, dict):
        return {key: _without_bytes(item) for key, item in value.items()}
    return [_without_bytes(item) for item in value] if type(value) is list else value


def _differences(expected: Any, found: Any, place: str) -> list[str]:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return [line for key in {**expected, **found} for line in _of_key(expected, found, key, place)]
    if _is_list(expected) and _is_list(found) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found))
        return [line for index, (one, other) in pairs for line in _differences(one, other, f"{place}[{index}]")]
    if _same(expected, found):
        return []
    if isinstance(expected, bytes) and isinstance(found, bytes) and len(expected) == len(found):
        return [f"{place or 'it'} has other bytes than expected"]
    return [f"{place or 'it'} is {shown(found)}, expected {shown(expected)}"]


def _of_key(expected: Mapping[Any, Any], found: Mapping[Any, Any], key: Any, place: str) -> list[str]:
    place = f"{place}[{key!r}]" if place else f"{key!r}"
    if key not in found:
        return [f"{place} is missing, expected {shown(expected[key])}"]
    if key not in expected:
        return [f"{place} is not expected: {shown(found[key])}"]
    return _differences(expected[key], found[key], place)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _same(expected: Any, found: Any) -> bool:
    if hasattr(expected, "__array__") or hasattr(found, "__array__"):
        import numpy as np

        if np.ndim(expected) or np.ndim(found):
            one, other = np.asarray(expected), np.asarray(found)
            return one.dtype == other.dtype and bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    if isinstance(expected, bool) is not isinstance(found, bool) and isinstance(expected, (bool, int, float)):
        return False
    return bool(expected == found) or bool(expected != expected and found != found)
