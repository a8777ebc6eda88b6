"""Names of types (``FieldTypes``) for values, and for the types of Arrow."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from curator_audio.stages.fields import UNTYPED

_LARGEST_INT = 2**63


def type_of_values(values: Iterable[Any]) -> str:
    """Return the type that holds all values of a field; ``UNTYPED`` where there is none, or only None tells of it.

    Example:
        >>> [type_of_values(values) for values in (["a", None], [1, 2.5], [[1], []], [{"a": 1}], [1, "a"], [2**70])]
        ['string', 'float', 'list<int>', 'object', '', '']
    """
    given = [value for value in values if value is not None]
    if given and all(isinstance(value, (list, tuple)) for value in given):
        item = type_of_values(chain.from_iterable(given))
        return f"list<{item}>" if item else UNTYPED
    found = set(map(_type_of, given))
    if found == {"int", "float"}:
        return "float"
    return found.pop() if len(found) == 1 else UNTYPED


def _type_of(value: Any) -> str:
    """The type of a value that is no list."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -_LARGEST_INT <= value < _LARGEST_INT else UNTYPED
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    if isinstance(value, bytes):
        return "binary"
    if not isinstance(value, dict):
        return UNTYPED
    return "audio" if value.keys() == {"bytes", "path"} else "object"


def type_of_arrow(kind: Any) -> str:
    """Return the name of an Arrow type, as what its values are in Python.

    Example:
        >>> import pyarrow
        >>> type_of_arrow(pyarrow.list_(pyarrow.int16())), type_of_arrow(pyarrow.timestamp("ms"))
        ('list<int32>', 'string')
    """
    from pyarrow import types

    kind = plain_type(kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = type_of_arrow(kind.value_type)
        return f"list<{item}>" if item else UNTYPED
    if types.is_struct(kind):
        return "audio" if {part.name for part in kind} == {"bytes", "path"} else "object"
    if types.is_integer(kind):
        fits = kind.bit_width < 32 or (kind.bit_width == 32 and types.is_signed_integer(kind))
        return "int32" if fits else "int"
    if types.is_boolean(kind):
        return "bool"
    if types.is_floating(kind):
        return "float" if kind.bit_width == 64 else "float32"
    if types.is_string(kind) or types.is_large_string(kind):
        return "string"
    return "binary" if types.is_binary(kind) or types.is_large_binary(kind) else UNTYPED


def plain_type(kind: Any) -> Any:
    """Return the Arrow type whose values are those of JSON (and bytes) in Python: times and decimals become texts.

    Example:
        >>> import pyarrow
        >>> plain_type(pyarrow.struct({"when": pyarrow.date32(), "n": pyarrow.int8()}))
        StructType(struct<when: string, n: int8>)
    """
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_map(kind):
        return pyarrow.list_(pyarrow.struct({"key": plain_type(kind.key_type), "value": plain_type(kind.item_type)}))
    if types.is_struct(kind):
        return pyarrow.struct([part.with_type(plain_type(part.type)) for part in kind])
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = plain_type(kind.value_type)
        return kind if item == kind.value_type else pyarrow.list_(item)
    if types.is_duration(kind):
        return pyarrow.int64()
    if types.is_float16(kind):
        return pyarrow.float32()
    if types.is_temporal(kind) or types.is_decimal(kind):
        return pyarrow.string()
    return pyarrow.binary() if types.is_fixed_size_binary(kind) else kind
