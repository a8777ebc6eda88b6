"""The columns of a dataset of segments or windows, and what they are in the ``datasets`` library."""

from __future__ import annotations

import json
from typing import Any

from curator_audio.stages.speech.segments import SEGMENT_FIELDS, TIME_FIELDS
from curator_audio.stages.speech.windows import WINDOW_FIELDS, WINDOW_SEGMENT_FIELDS


def segment_schema(columns: tuple[str, ...] = SEGMENT_FIELDS) -> Any:
    """The ``pyarrow.Schema`` of segments, with the features that ``datasets.load_dataset`` reads from it.

    Without them ``audio`` would load as a plain struct.

    Args:
        columns: which fields of a segment.

    Example:
        >>> segment_schema(("text", "codes")).names
        ['text', 'codes']
    """
    return _schema_of(columns)


def window_schema(columns: tuple[str, ...] = WINDOW_FIELDS) -> Any:
    """The ``pyarrow.Schema`` of windows, as that of segments; ``segments`` load as a list of dicts.

    Args:
        columns: which fields of a window.

    Example:
        >>> window_schema(("speakers", "segments")).names
        ['speakers', 'segments']
    """
    return _schema_of(columns)


def _schema_of(columns: tuple[str, ...]) -> Any:
    """Fields of a segment and of a window that share a name share a type; those not named here are text."""
    import pyarrow

    types = {
        "audio": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}),
        "codes": pyarrow.list_(pyarrow.int32()),
        "sample_rate": pyarrow.int32(),
        "num_speakers": pyarrow.int32(),
        "speakers": pyarrow.list_(pyarrow.string()),
        **dict.fromkeys(TIME_FIELDS, pyarrow.float64()),
    }

    def fields(names: tuple[str, ...]) -> list[tuple[str, Any]]:
        return [(name, types.get(name, pyarrow.string())) for name in names]

    types["segments"] = pyarrow.list_(pyarrow.struct(fields(WINDOW_SEGMENT_FIELDS)))
    return with_features(pyarrow.schema(fields(columns)))


def with_features(schema: Any) -> Any:
    """A schema with the ``datasets`` features of its columns in its metadata.

    A struct of ``bytes`` and ``path`` is audio, any other one is an object.
    """
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: Any) -> dict[str, Any]:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return {"_type": "Audio"} if set(fields) == {"bytes", "path"} else {n: _feature(t) for n, t in fields.items()}
    if pyarrow.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}
