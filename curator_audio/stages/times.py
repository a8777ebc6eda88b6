"""What can be a time in a recording."""

from __future__ import annotations

from typing import Any

MAX_TIME_SEC = 1e9
"""Thirty years: what is later is no time in a recording."""

END_OF_RECORDING = -1
"""As the end of a segment: where the recording ends, as Kaldi and NeMo have it."""


def is_time(value: Any) -> bool:
    """Whether a value is a number of seconds that can be a time in a recording, or before it; NaN is not.

    Example:
        >>> is_time(-0.5), is_time(True), is_time(float("nan")), is_time(10**400)
        (True, False, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_TIME_SEC
