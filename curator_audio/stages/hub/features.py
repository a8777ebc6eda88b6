"""The columns of Parquet files, as the card of a dataset names them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from loguru import logger

_DTYPES = {"double": "float64", "float": "float32", "halffloat": "float16", "date32[day]": "date32"}


def card_features(schema: Any) -> list[dict[str, Any]] | None:
    """The ``features`` of a card's ``dataset_info``, of a ``pyarrow.Schema``.

    Those that its metadata tells ``datasets`` come first: without them audio would be a plain struct.

    Returns:
        A mapping a column; None where a column is of a type that has no name there.

    Example:
        >>> import pyarrow
        >>> card_features(pyarrow.schema({"text": pyarrow.string(), "codes": pyarrow.list_(pyarrow.int32())}))
        [{'name': 'text', 'dtype': 'string'}, {'name': 'codes', 'list': 'int32'}]
    """
    told = _told(schema)
    try:
        return [{"name": column.name, **_named(told.get(column.name) or _feature(column.type))} for column in schema]
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


def features_of(schemas: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The ``features`` of a dataset of several files: every column that any has, of its type in the first that has it.

    With these in its card, ``datasets`` reads a column as null from a file that lacks it; by itself it would take
    the columns of the first file, and fail on one that has more. A column of two types is warned of.

    Args:
        schemas: the ``pyarrow.Schema`` of each file by its name.

    Returns:
        A mapping a column; None where there is no file, or a column of a type that has no name there.

    Example:
        >>> import pyarrow
        >>> first, second = pyarrow.schema({"text": pyarrow.string()}), pyarrow.schema({"num_turns": pyarrow.int32()})
        >>> features_of({"a.parquet": first, "b.parquet": second})
        [{'name': 'text', 'dtype': 'string'}, {'name': 'num_turns', 'dtype': 'int32'}]
    """
    columns: dict[str, tuple[dict[str, Any], str]] = {}
    others: dict[str, str] = {}
    for file, schema in schemas.items():
        features = card_features(schema)
        if features is None:
            return None
        for feature in features:
            known, first = columns.setdefault(feature["name"], (feature, file))
            if known != feature:
                others.setdefault(file, f"'{feature['name']}' is {_kind(feature)} there, and {_kind(known)} in {first}")
    if others:
        file, what = next(iter(others.items()))
        logger.warning(
            f"{len(others)} file(s) have a column of another type, such as {file}: {what}; "
            "load_dataset converts it, or fails where it cannot"
        )
    return [feature for feature, _ in columns.values()] or None


def _kind(feature: dict[str, Any]) -> str:
    return str(feature.get("dtype") or {name: value for name, value in feature.items() if name != "name"})


def _told(schema: Any) -> dict[str, Any]:
    """The features in the metadata that ``datasets`` writes and reads, if they are of these very columns."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) and set(features) == set(schema.names) else {}


def _feature(kind: Any) -> Any:
    """A type of Arrow as ``datasets`` writes it in JSON."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if types.is_fixed_size_list(kind):
        return {"_type": "List", "feature": _feature(kind.value_type), "length": kind.list_size}
    if types.is_list(kind):
        return {"_type": "List", "feature": _feature(kind.value_type)}
    if types.is_large_list(kind):
        return {"_type": "LargeList", "feature": _feature(kind.value_type)}
    if types.is_dictionary(kind):
        return _feature(kind.value_type)
    if types.is_nested(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind) or types.is_date64(kind):
        raise TypeError(kind)
    return {"_type": "Value", "dtype": _DTYPES.get(str(kind), str(kind))}


def _named(feature: Any) -> dict[str, Any]:
    """The same in the words of a card."""
    if isinstance(feature, list):
        return _list_of("list", feature[0], {})
    kind = feature.get("_type")
    rest = {name: value for name, value in feature.items() if name not in ("_type", "feature") and value is not None}
    if not isinstance(kind, str):  # a column may be called _type
        return {"struct": [{"name": name, **_named(inner)} for name, inner in feature.items()]}
    if kind in ("List", "Sequence", "LargeList"):
        return _list_of("large_list" if kind == "LargeList" else "list", feature["feature"], rest)
    if kind == "Value":
        return {"dtype": rest["dtype"]}
    if kind == "ClassLabel":
        rest = {"names": {str(number): name for number, name in enumerate(rest["names"])}}
    snake = re.sub(r"(?<=[a-z\d])(?=[A-Z])", "_", kind).lower()
    return {"dtype": {snake: rest} if rest else snake}


def _list_of(word: str, feature: Any, rest: dict[str, Any]) -> dict[str, Any]:
    inner = _named(feature)
    only = next(iter(inner.values())) if len(inner) == 1 and next(iter(inner)) in ("dtype", "struct") else inner
    return {word: only if isinstance(only, (str, list)) else inner, **rest}
