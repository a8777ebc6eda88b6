"""The columns of Parquet files, as the card of a dataset names them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from loguru import logger

from curator_audio.stages.dataset_features import feature_of

PLAIN = ("Value", "List", "LargeList", "Sequence")
"""Features that tell no more than the type of their column."""
NO_NAME = (TypeError, ValueError, KeyError, AttributeError, RecursionError)
"""What comes of a type, or of a feature, that a card has no name for."""


def features_of(schemas: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The ``features`` of a card's ``dataset_info``: every column that any file has, of a type that holds those of all.

    What the metadata of a file tells ``datasets`` comes first: without it audio would be a plain struct. With these,
    ``datasets`` reads a column as null from a file that lacks it; by itself it would take the columns of the first
    file, and fail on one that has more. What cannot be brought together is warned of.

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
    special: dict[str, Any] = {}
    for schema in schemas.values():
        for name, feature in _told(schema).items():
            if _is_special(feature):
                special.setdefault(name, feature)
    features = []
    columns = _columns(schemas)
    for name, kind in columns.items():
        try:
            features.append({"name": name, **_named(special.get(name) or feature_of(kind))})
        except NO_NAME:
            if any(set(schema.names) != set(columns) for schema in schemas.values()):
                logger.warning(
                    f"the card names no columns, as it has no name for the type of '{name}', {kind}; load_dataset "
                    "takes those of the first file, and fails on one that has others"
                )
            return None
    return features or None


def _columns(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The type of each column, one that holds those of all files if there is one, else that of the first."""
    import pyarrow

    columns: dict[str, tuple[Any, str]] = {}
    others: dict[str, str] = {}
    for file, schema in schemas.items():
        for column in schema:
            kind, first = columns.setdefault(column.name, (column.type, file))
            if kind == column.type:
                continue
            both = [pyarrow.schema({"": one}) for one in (kind, column.type)]
            try:
                columns[column.name] = pyarrow.unify_schemas(both, promote_options="permissive").types[0], first
            except pyarrow.ArrowException:
                others.setdefault(file, f"'{column.name}' is {column.type} there, and {kind} in {first}")
    if others:
        file, what = next(iter(others.items()))
        logger.warning(
            f"{len(others)} file(s) have a column of a type of its own, such as {file}: {what}; load_dataset fails on "
            "what it cannot convert"
        )
    return {name: kind for name, (kind, _) in columns.items()}


def _is_special(feature: Any) -> bool:
    """Whether there is more to a feature than its column's type tells, as there is to audio."""
    if isinstance(feature, list):
        return any(map(_is_special, feature))
    if not isinstance(feature, dict):
        return False
    kind = feature.get("_type")
    if isinstance(kind, str) and kind not in PLAIN:
        return True
    return any(map(_is_special, feature.values()))


def _told(schema: Any) -> dict[str, Any]:
    """The features in the metadata that ``datasets`` writes and reads, if they are of these very columns."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) and set(features) == set(schema.names) else {}


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
