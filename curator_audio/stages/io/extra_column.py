"""The column ``extra`` of Parquet shards: fields without a column of their own, as JSON."""

from __future__ import annotations

from typing import Any

from curator_audio.errors import RecordError
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.limits import MAX_JSON_BYTES
from curator_audio.tasks import Record

EXTRA = "extra"


def has_extra(schema: Any) -> bool:
    """Tell whether a ``pyarrow.Schema`` has the column: it is a column of texts.

    Example:
        >>> import pyarrow
        >>> has_extra(pyarrow.schema({"extra": pyarrow.string()})), has_extra(pyarrow.schema({"extra": pyarrow.int8()}))
        (True, False)
    """
    from pyarrow import types

    return EXTRA in schema.names and any(
        types.is_string(column.type) or types.is_large_string(column.type) for column in schema if column.name == EXTRA
    )


def with_extra(record: Record) -> Record:
    """Return a record with the fields in its ``extra`` in their places; one that has a value keeps it.

    A text that is no JSON object is the value of a field that somebody else has called so, and stays.

    Raises:
        RecordError: ``too_large``.

    Example:
        >>> with_extra({"text": "so be it", "snr": None, "extra": '{"snr": "high", "tags": ["a"]}'})
        {'text': 'so be it', 'snr': 'high', 'tags': ['a']}
        >>> with_extra({"extra": None}), with_extra({"extra": "see below"})
        ({}, {'extra': 'see below'})
    """
    text = record.get(EXTRA)
    fields = _object_in(text) if isinstance(text, str) else {}
    if fields is None:
        return record
    merged = {name: value for name, value in record.items() if name != EXTRA}
    for name, value in fields.items():
        if merged.get(name) is None:
            merged[name] = value
    return merged


def _object_in(text: str) -> dict[str, Any] | None:
    if not text.lstrip().startswith("{"):
        return None
    data = text.encode(errors="surrogatepass")
    if len(data) > MAX_JSON_BYTES:
        raise RecordError("too_large", f"its '{EXTRA}' has {len(data)} bytes, more than {MAX_JSON_BYTES}")
    try:
        found = decode_line(data)
    except RecordError:
        return None
    return found if isinstance(found, dict) else None
