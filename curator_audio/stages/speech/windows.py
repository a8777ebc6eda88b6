"""What a window of a conversation is: the fields of its record, in every container."""

from __future__ import annotations

from collections.abc import Mapping

WINDOW_SEGMENT_TYPES: Mapping[str, str] = {"start": "float", "end": "float", "speaker": "string", "text": "string"}
"""The fields of a segment within a window, and their types; its times count from the window's start."""

WINDOW_SEGMENT_FIELDS = tuple(WINDOW_SEGMENT_TYPES)
"""The same by name, in order."""

WINDOW_TYPES: Mapping[str, str] = {
    "window_id": "string",
    "audio_id": "string",
    "channel": "string",
    "start": "float",
    "end": "float",
    "duration_sec": "float",
    "sample_rate": "int32",
    "num_speakers": "int32",
    "speakers": "list<string>",
    "text": "string",
    "language": "string",
    "segments": f"list<struct<{', '.join(f'{name}: {kind}' for name, kind in WINDOW_SEGMENT_TYPES.items())}>>",
    "audio": "audio",
    "codes": "list<int32>",
}
"""The types of the fields of a window's record."""

WINDOW_FIELDS = tuple(WINDOW_TYPES)
"""The fields of a window's record, in order; others may stand behind them.

``start`` and ``end`` are the window's in its recording, ``segments`` a list of objects with ``WINDOW_SEGMENT_FIELDS``.
``speakers`` are their ids in the order in which they first speak, ``text`` is their texts joined by spaces; empty if
there are none. ``audio`` and ``codes`` are as in a segment's record; times are in seconds.
"""
