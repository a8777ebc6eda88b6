"""The names of types of record fields: what Arrow makes of them, what values say, and which values fit.

``string``, ``bool``, ``int`` (64 bits), ``int32``, ``float`` (64 bits), ``float32``, ``binary`` and ``audio``;
``list<…>`` and ``struct<name: …, other?: …>`` of these, where a member with ``?`` is missing in some of the objects;
``object`` for objects of any shape, and ``UNTYPED`` where only the name of a field is known. ``int64`` and ``float64``
are ``int`` and ``float``; what else Arrow has a name for (``uint8``, ``timestamp[us]``) has that one.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

from curator_audio.stages.fields import UNTYPED
from curator_audio.storage.json_codec import VerbatimFloat

SCALARS = ("string", "bool", "int", "int32", "int64", "float", "float32", "float64")
"""Types of single values."""

NAMES = "string, binary, bool, int32, int64, float32, float64 or list<…>"
"""What messages offer."""

_VALUES: Mapping[type, str] = {str: "string", bool: "bool", int: "int", float: "float", VerbatimFloat: "float"}
_FITTING: Mapping[str, frozenset[type]] = {
    "string": frozenset((str, type(None))),
    "bool": frozenset((bool, type(None))),
    "int": frozenset((int, type(None))),
    "float": frozenset((int, float, type(None))),
    "binary": frozenset((bytes, type(None))),
}
_SAME = {"int64": "int", "int32": "int", "float64": "float", "float32": "float"}
_ARROWS = re.compile(r"u?int(8|16|32|64)|float(16|32|64)|date(32|64)|(timestamp|duration|time(32|64))\[(s|ms|us|ns)\]")
_PLAIN = ("string", "bool", "int", "float", "binary", "audio", "object", UNTYPED)
_MEMBER = re.compile(r"[^<>,:?\s]([^<>,:?]*[^<>,:?\s])?")


def is_type(kind: Any) -> bool:
    """Tell whether there is a type of this name.

    Example:
        >>> is_type("list<float>"), is_type("list<code>"), is_type("strong"), is_type("int32")
        (True, False, False, True)
    """
    if not isinstance(kind, str):
        return False
    if (inner := _inside("list", kind)) is not None:
        return is_type(inner)
    if _inside("struct", kind) is not None:
        try:
            return all(map(is_type, members(kind).values()))
        except ValueError:
            return False
    return kind in _PLAIN or _ARROWS.fullmatch(kind) is not None


@lru_cache(maxsize=4096)
def arrow_type(kind: str) -> Any:
    """Return the ``pyarrow.DataType`` of a type; None for one that no column can hold.

    Raises:
        ValueError: there is no such type.

    Example:
        >>> arrow_type("list<float>"), arrow_type("struct<city: string>"), arrow_type("object")
        (ListType(list<item: double>), StructType(struct<city: string>), None)
    """
    import pyarrow

    if kind in (UNTYPED, "object"):
        return None
    if (inner := _inside("list", kind)) is not None:
        item = arrow_type(inner)
        return item if item is None else pyarrow.list_(item)
    if _inside("struct", kind) is not None:
        found = {name: arrow_type(of) for name, of in members(kind).items()}
        return pyarrow.struct(list(found.items())) if _is_column(kind) and None not in found.values() else None
    if kind == "audio":
        return pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    aliases = {"int": "int64", "float": "float64"}
    return pyarrow.type_for_alias(aliases.get(kind, kind))


def type_of_arrow(kind: Any) -> str:
    """Return the name of a type of Arrow, as what its values are in Python; ``UNTYPED`` where it has none.

    Example:
        >>> import pyarrow
        >>> type_of_arrow(pyarrow.list_(pyarrow.int16())), type_of_arrow(pyarrow.timestamp("ms"))
        ('list<int32>', 'string')
    """
    from pyarrow import types

    kind = plain_type(kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return f"list<{type_of_arrow(kind.value_type)}>"
    if types.is_struct(kind):
        of = {part.name: part.type for part in kind}
        if of.keys() == {"bytes", "path"} and _is_sound(of["bytes"]) and _is_path(of["path"]):
            return "audio"
        return _struct({part.name: type_of_arrow(part.type) for part in kind})
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


def _is_sound(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_path(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))


def plain_type(kind: Any) -> Any:
    """Return the type of Arrow whose values are those of JSON (and bytes) in Python: times and decimals become texts.

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


def type_of_values(values: Iterable[Any]) -> str:
    """Return the type of a field that has these values, as ``types_seen`` finds it.

    Example:
        >>> [type_of_values(values) for values in (["a", None], [1, 2.5], [[1], []], [{"a": 1}], [1, "a"], [2**70])]
        ['string', 'float', 'list<int>', 'struct<a: int>', 'int', '']
    """
    return _all_merged(_type_of(value, 0) for value in values)


def members(kind: str) -> dict[str, str]:
    """Return the types of the members of an object, or of the objects in a list, by name; none for any other type.

    Example:
        >>> members("list<struct<start: float, words?: list<object>>>")
        {'start': 'float', 'words': 'list<object>'}
    """
    return {name.rstrip("?"): of for name, of in _split(kind)}


def short(kind: str) -> str:
    """Return a type as a table shows it, without the members of objects.

    Example:
        >>> short("list<struct<start: float, end: float>>"), short("struct<a: list<int>>"), short("float")
        ('list<object>', 'object', 'float')
    """
    if (inner := _inside("list", kind)) is not None:
        return f"list<{short(inner)}>"
    return "object" if _inside("struct", kind) is not None else kind


def types_seen(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the types that values of fields have, by name, in the order in which the fields appear.

    Where a field has values of several types, the first decides, and whole numbers are floats among floats. Objects are
    looked into where they are a field's value or in a list that is.

    Example:
        >>> types_seen([{"snr": 9, "tags": []}, {"snr": 9.5, "tags": ["a"], "place": {"city": "Oslo"}, "note": None}])
        {'snr': 'float', 'tags': 'list<string>', 'place': 'struct<city: string>', 'note': ''}
    """
    found: dict[str, str] = {}
    for record in records:
        for name, value in record.items():
            found[name] = _merged(found.get(name, UNTYPED), _type_of(value, 0))
    return found


def fits(values: Iterable[Any], kind: str, may_round: bool = False) -> bool:
    """Tell whether a column of a type gives back each of these values as it is; None always fits.

    Args:
        values: the values.
        kind: the type.
        may_round: whether ``float32`` is for any number, to be rounded, and not for those alone that it holds.

    Example:
        >>> fits([1, 0.5, None], "float"), fits([1, True], "int"), fits([{"a": 1}], "struct<a: int, b: int>")
        (True, False, False)
        >>> fits([0.5], "float32"), fits([0.1], "float32")
        (True, False)
    """
    plain = _FITTING.get(_SAME.get(kind, kind))
    if plain is not None:
        listed = list(values)
        if not (set(map(type, listed)) <= plain or all(type(v) in plain or _is_not_finite(v) for v in listed)):
            return False
        return kind != "float32" or may_round or _are_float32(listed)
    given = [value for value in values if value is not None]
    if (inner := _inside("list", kind)) is not None:
        return set(map(type, given)) <= {list} and fits(chain.from_iterable(given), inner, may_round)
    if _inside("struct", kind) is not None:
        of = members(kind)
        is_shaped = all(type(value) is dict and value.keys() == of.keys() for value in given)
        return is_shaped and all(fits([value[name] for value in given], kind, may_round) for name, kind in of.items())
    if kind == "audio":
        return all(type(value) is dict and value.keys() <= {"bytes", "path"} for value in given) and (
            fits([value.get("bytes") for value in given], "binary")
            and fits([value.get("path") for value in given], "string")
        )
    return True  # what else there is, Arrow knows


def _are_float32(values: list[Any]) -> bool:
    """Tell whether numbers are the same in 32 bits; NaN is, as it is null everywhere."""
    given = [value for value in values if value is not None]
    try:
        rounded = array("f", given)
    except OverflowError:  # a whole number beyond all floats
        return False
    return all(one == other or one != one for one, other in zip(given, rounded))


def _is_not_finite(value: Any) -> bool:
    """Tell whether a value is a number that is written as null wherever it stands."""
    return type(value) is VerbatimFloat and value - value != 0


def _type_of(value: Any, depth: int) -> str:
    kind = _VALUES.get(type(value))
    if kind is not None:
        return UNTYPED if kind == "int" and not -(2**63) <= value < 2**63 else kind
    if isinstance(value, list):
        kinds = set(map(type, value))
        if kinds <= _VALUES.keys() | {type(None)}:
            some = [next(item for item in value if type(item) is of) for of in dict.fromkeys(map(type, value))]
            return f"list<{_all_merged(_type_of(item, 2) for item in some)}>"
        return "object" if depth else f"list<{_all_merged(_type_of(item, 1) for item in value)}>"
    if isinstance(value, dict):
        if (
            value.keys() == {"bytes", "path"}
            and isinstance(value["bytes"], bytes)
            and (value["path"] is None or isinstance(value["path"], str))
        ):
            return "audio"
        return "object" if depth > 1 else _struct({name: _type_of(item, 2) for name, item in value.items()})
    return "binary" if isinstance(value, bytes) else UNTYPED


def _all_merged(kinds: Iterable[str]) -> str:
    found = UNTYPED
    for kind in kinds:
        found = _merged(found, kind)
    return found


@lru_cache(maxsize=4096)
def _merged(first: str, second: str) -> str:
    """Return the type of a field that has values of both."""
    if first == second or not second:
        return first
    if not first:
        return second
    if {first, second} == {"int", "float"}:
        return "float"
    inner = _inside("list", first), _inside("list", second)
    if inner[0] is not None and inner[1] is not None:
        return f"list<{_merged(inner[0], inner[1])}>"
    if _inside("struct", first) is not None and _inside("struct", second) is not None:
        one, other = dict(_split(first)), dict(_split(second))
        both = {name.rstrip("?"): UNTYPED for name in (*one, *other)}
        marked = {name if name in one and name in other else f"{name}?": name for name in both}
        kinds = [members(first), members(second)]
        return _struct({mark: _all_merged(of.get(name, UNTYPED) for of in kinds) for mark, name in marked.items()})
    return first


def _struct(of: Mapping[str, str]) -> str:
    if not all(isinstance(name, str) and _MEMBER.fullmatch(name.removesuffix("?")) for name in of):
        return "object"
    return f"struct<{', '.join(f'{name}: {kind}' for name, kind in of.items())}>"


def _is_column(kind: str) -> bool:
    found = _split(kind)
    return bool(found) and not any(name.endswith("?") for name, _ in found)


def _inside(word: str, kind: str) -> str | None:
    """Return what stands between the brackets of ``word<…>``."""
    return kind[len(word) + 1 : -1].strip() if kind.startswith(f"{word}<") and kind.endswith(">") else None


@lru_cache(maxsize=4096)
def _split(kind: str) -> tuple[tuple[str, str], ...]:
    """Return the members of an object or of those in a list, as they are written."""
    listed = _inside("list", kind)
    text = _inside("struct", kind if listed is None else listed)
    if not text:
        return ()
    pieces, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign == "<") - (sign == ">")
        if sign == "," and depth == 0:
            pieces.append(text[start:place])
            start = place + 1
    pieces.append(text[start:])
    named = [piece.partition(":") for piece in pieces]
    if not all(colon for _, colon, _ in named):
        raise ValueError(kind)
    return tuple((name.strip(), of.strip()) for name, _, of in named)
