"""What a window of a conversation is: the fields of its record, in every container."""

from __future__ import annotations

WINDOW_FIELDS = (
    "window_id",
    "audio_id",
    "channel",
    "start",
    "end",
    "duration_sec",
    "sample_rate",
    "num_speakers",
    "speakers",
    "text",
    "language",
    "segments",
    "audio",
    "codes",
)
"""The fields of a window's record, in order.

``start`` and ``end`` are the window's in its recording, ``segments`` a list of objects with ``WINDOW_SEGMENT_FIELDS``.
``speakers`` are their ids in the order in which they first speak, ``text`` is their texts joined by spaces; empty if
there are none. ``audio`` and ``codes`` are as in a segment's record; times are in seconds.
"""

WINDOW_SEGMENT_FIELDS = ("start", "end", "speaker", "text")
"""The fields of a segment within a window; its times count from the window's start."""
