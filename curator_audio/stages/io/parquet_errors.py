"""What is wrong with a Parquet file that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from curator_audio.errors import RecordError


@contextmanager
def as_parquet() -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file into a ``RecordError``; a store that fails raises as it does.

    Raises:
        RecordError: ``not_parquet``.
    """
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        is_of_store = isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None)
        if is_of_store or isinstance(error, MemoryError):
            raise
        raise RecordError("not_parquet", f"it cannot be read as Parquet: {error}") from None
