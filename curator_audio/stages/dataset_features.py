"""Types of Arrow as features of the ``datasets`` library."""

from __future__ import annotations

import json
from typing import Any

_DTYPES = {"double": "float64", "float": "float32", "halffloat": "float16", "date32[day]": "date32"}


def with_features(schema: Any) -> Any:
    """Return a schema with the features of its columns for ``datasets`` in its metadata; bytes with a path are audio.

    Without them audio would load as a plain struct.

    Raises:
        TypeError: a column has a type that has no name there.
    """
    features = {field.name: feature_of(field.type, has_audio=True) for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def feature_of(kind: Any, has_audio: bool = False) -> Any:
    """Return a type as ``datasets`` writes it in JSON.

    Args:
        kind: the ``pyarrow.DataType``.
        has_audio: whether a struct of ``bytes`` and ``path`` is known to be audio.

    Raises:
        TypeError: the type has no name there.

    Example:
        >>> import pyarrow
        >>> feature_of(pyarrow.list_(pyarrow.float64()))
        {'feature': {'dtype': 'float64', '_type': 'Value'}, '_type': 'List'}
    """
    import pyarrow.types as types

    if types.is_struct(kind):
        if has_audio and {field.name for field in kind} == {"bytes", "path"}:
            return {"_type": "Audio"}
        return {field.name: feature_of(field.type, has_audio) for field in kind}
    if types.is_fixed_size_list(kind):
        return {"feature": feature_of(kind.value_type, has_audio), "length": kind.list_size, "_type": "List"}
    if types.is_list(kind):
        return {"feature": feature_of(kind.value_type, has_audio), "_type": "List"}
    if types.is_large_list(kind):
        return {"feature": feature_of(kind.value_type, has_audio), "_type": "LargeList"}
    if types.is_dictionary(kind):
        return feature_of(kind.value_type, has_audio)
    if types.is_nested(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind) or types.is_date64(kind):
        raise TypeError(kind)
    return {"dtype": _DTYPES.get(str(kind), str(kind)), "_type": "Value"}
