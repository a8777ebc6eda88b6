"""Whether a declared column takes values as they are: Arrow would take more, and cut it without a word."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Any

from curator_audio.storage.json_codec import VerbatimFloat

_NONE = type(None)


def takes(values: Iterable[Any], kind: Any) -> bool:
    """Tell whether a column gives back these values, other than that numbers are rounded to those of the column.

    Whole numbers may be floats, and NumPy's values are those of Python. None always fits, and so does an object that
    lacks some of the members. Of other types than texts, bytes, numbers, lists and objects of them, Arrow knows best.

    Args:
        values: the values.
        kind: the type of the column, a ``pyarrow.DataType``.

    Example:
        >>> import pyarrow
        >>> takes([1, 0.5, None], pyarrow.float64()), takes([True], pyarrow.float64()), takes([1.5], pyarrow.int32())
        (True, False, False)
        >>> takes(["abc"], pyarrow.list_(pyarrow.string())), takes([{"a": 1, "b": 2}], pyarrow.struct({"a": "int8"}))
        (False, False)
    """
    from pyarrow import types

    if (single := _single(kind)) is not None:
        listed = list(values)
        return set(map(type, listed)) <= single or all(value is None or _is_one(value, single) for value in listed)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lists = [_plain(value) for value in values if value is not None]
        return all(isinstance(value, (list, tuple)) for value in lists) and takes(
            chain.from_iterable(lists), kind.value_type
        )
    if types.is_struct(kind):
        names = {part.name for part in kind}
        given = [value for value in values if value is not None]
        return all(isinstance(value, dict) and _has_no_other(value, names) for value in given) and all(
            takes([value.get(part.name) for value in given], part.type) for part in kind
        )
    return True


@lru_cache(maxsize=256)
def _single(kind: Any) -> frozenset[type] | None:
    """Return which single values a column of a type is for; None for any other type."""
    from pyarrow import types

    if types.is_string(kind) or types.is_large_string(kind):
        return frozenset((str, _NONE))
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return frozenset((bytes, bytearray, memoryview, _NONE))
    if types.is_boolean(kind):
        return frozenset((bool, _NONE))
    if types.is_integer(kind):
        return frozenset((int, _NONE))
    return frozenset((float, int, VerbatimFloat, _NONE)) if types.is_floating(kind) else None


def _is_one(value: Any, single: frozenset[type]) -> bool:
    value = _plain(value)
    if isinstance(value, bool):
        return bool in single
    if isinstance(value, float) and float not in single:
        return int in single and value.is_integer()
    return isinstance(value, tuple(single))


def _has_no_other(value: dict[Any, Any], names: set[str]) -> bool:
    return value.keys() <= names or all(value[name] is None for name in value.keys() - names)


def _plain(value: Any) -> Any:
    """Return a number or an array of NumPy as Python has it, any other value as it is."""
    return value.tolist() if type(value).__module__ == "numpy" else value
