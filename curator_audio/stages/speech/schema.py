"""The columns of a dataset of segments, and what they are in the ``datasets`` library."""

from __future__ import annotations

import json
from typing import Any

from curator_audio.stages.speech.segments import SEGMENT_FIELDS

_FLOATS = ("start", "end", "duration_sec")


def segment_schema(columns: tuple[str, ...] = SEGMENT_FIELDS) -> Any:
    """The ``pyarrow.Schema`` of segments, with the features that ``datasets.load_dataset`` reads from it.

    Without them ``audio`` would load as a plain struct.

    Args:
        columns: which fields of a segment.

    Example:
        >>> segment_schema(("text", "codes")).names
        ['text', 'codes']
    """
    import pyarrow

    types = {
        "audio": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}),
        "codes": pyarrow.list_(pyarrow.int32()),
        "sample_rate": pyarrow.int32(),
        **dict.fromkeys(_FLOATS, pyarrow.float64()),
    }
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in columns])
    return with_features(schema)


def with_features(schema: Any) -> Any:
    """A schema with the ``datasets`` features of its columns in its metadata.

    A struct of ``bytes`` and ``path`` is audio.
    """
    features = {field.name: _feature(field.type) for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: Any) -> dict[str, Any]:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return {"_type": "Audio"}
    if pyarrow.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}
