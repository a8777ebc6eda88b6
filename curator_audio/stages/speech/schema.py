"""The core columns of a dataset of segments or windows, and what they are in the ``datasets`` library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from curator_audio.stages.dataset_features import with_features
from curator_audio.stages.field_types import arrow_type
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, SEGMENT_TYPES
from curator_audio.stages.speech.windows import WINDOW_FIELDS, WINDOW_TYPES


def segment_schema(columns: Iterable[str] = SEGMENT_FIELDS) -> Any:
    """The ``pyarrow.Schema`` of segments, with the features that ``datasets.load_dataset`` reads from it.

    Args:
        columns: which fields of a segment.

    Example:
        >>> segment_schema(("text", "codes")).names
        ['text', 'codes']
    """
    return _schema_of(SEGMENT_TYPES, columns)


def window_schema(columns: Iterable[str] = WINDOW_FIELDS) -> Any:
    """The ``pyarrow.Schema`` of windows, as that of segments; ``segments`` load as a list of dicts.

    Args:
        columns: which fields of a window.

    Example:
        >>> window_schema(("speakers", "segments")).names
        ['speakers', 'segments']
    """
    return _schema_of(WINDOW_TYPES, columns)


def _schema_of(types: Mapping[str, str], columns: Iterable[str]) -> Any:
    import pyarrow

    return with_features(pyarrow.schema([(name, arrow_type(types[name])) for name in columns]))
