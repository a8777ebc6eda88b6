"""Rows of Parquet files whose texts may be anything: Arrow takes the bytes of a string column as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.tasks import Record


def rows_of(batch: Any) -> Iterator[Record | RecordError]:
    """The rows of a record batch; in place of one with text that is not UTF-8, what is wrong with it.

    Example:
        >>> import pyarrow
        >>> texts = pyarrow.array([b"so be it", b"caf\\xe9"]).view(pyarrow.string())
        >>> [str(row) for row in rows_of(pyarrow.record_batch({"text": texts}))]
        ["{'text': 'so be it'}", "invalid_utf8: its 'text' is not UTF-8; save the column as UTF-8"]
    """
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:  # before the first row was given
        pass
    for number in range(len(batch)):
        row = batch.slice(number, 1)
        try:
            yield from row.to_pylist()
        except UnicodeDecodeError:
            (name, *_) = (name for name in row.schema.names if not _is_text(row[name]))
            yield RecordError("invalid_utf8", f"its '{name}' is not UTF-8; save the column as UTF-8")


def without_invalid_text(column: Any) -> Any:
    """A string column, or a chunked one, with null for texts that are not UTF-8; any other column as it is.

    Example:
        >>> import pyarrow
        >>> without_invalid_text(pyarrow.array([b"ann", b"caf\\xe9"]).view(pyarrow.string())).to_pylist()
        ['ann', None]
    """
    import pyarrow

    if not pyarrow.types.is_string(column.type):
        return column
    try:
        column.validate(full=True)
    except pyarrow.ArrowInvalid:
        texts = (_text_of(value) for value in column.cast(pyarrow.binary()).to_pylist())
        return pyarrow.array(texts, column.type)
    return column


def _is_text(column: Any) -> bool:
    try:
        column.to_pylist()
    except UnicodeDecodeError:
        return False
    return True


def _text_of(value: bytes | None) -> str | None:
    try:
        return value if value is None else value.decode()
    except UnicodeDecodeError:
        return None
