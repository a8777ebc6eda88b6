"""Reading what the ALM stages need from segments: whole columns at once, with an exact complaint where one is bad.

The usual column (all floats, all present) is taken with a few calls; only where that fails is it gone through
value by value, which finds the place to name.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.stages.optional import Ignored, is_number
from curator_audio.stages.times import END_OF_RECORDING

Segment = dict[str, Any]

_ONLY_FLOAT = {float}
_ONLY_INT = {int}
_PLAIN_SPEAKERS = {str, type(None)}

if sys.version_info >= (3, 12):  # the built-in sum compensates rounding errors from here on

    def in_order_sum(values: Iterable[float], start: float = 0.0) -> float:
        """The float sum from left to right, each step rounded: the same bits on every version of Python."""
        return functools.reduce(operator.add, values, start)

else:
    in_order_sum = sum


def segment_list(value: Any, place: str) -> list[Segment]:
    """``value`` itself, where it is a list of objects.

    Raises:
        RecordError: it is not a list, or something in it is not an object (``wrong_type``).

    Example:
        >>> segment_list([{"start": 0.0}, 7], "segments")
        Traceback (most recent call last):
            ...
        curator_audio.errors.RecordError: wrong_type: segments[1] is 7; give an object
    """
    if not isinstance(value, list):
        raise RecordError("wrong_type", f"{place} is {shown(value)}; give a list of objects")
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise RecordError("wrong_type", f"{place}[{index}] is {shown(item)}; give an object")
    return value


def times(segments: Sequence[Segment]) -> tuple[list[float], list[float], list[float], float]:
    """Starts, ends and durations of the segments, and the total duration, all in seconds.

    Raises:
        RecordError: a time is missing, no number or not finite, or a segment ends before it starts.

    Example:
        >>> times([{"start": 1.5, "end": 4.0}, {"start": 4.0, "end": 5.0}])
        ([1.5, 4.0], [4.0, 5.0], [2.5, 1.0], 3.5)
    """
    if not isinstance(segments, list):
        segment_list(segments, "segments")
    starts = seconds(segments, "start")
    ends = seconds(segments, "end")
    durations = [end - start for start, end in zip(starts, ends)]
    total = in_order_sum(durations, 0.0)
    if durations and min(durations) < 0:
        index = next(i for i, duration in enumerate(durations) if duration < 0)
        place = f"segments[{index}] ends at {ends[index]}, before its start {starts[index]}"
        remedy = "give an end of at least the start"
        if ends[index] == END_OF_RECORDING:
            remedy += ", or the entry's 'duration', which -1 would stand for"
        raise RecordError("negative_duration", f"{place}; {remedy}")
    if not math.isfinite(total):
        raise RecordError("not_finite", "the total duration of the segments is beyond the range of a float")
    return starts, ends, durations, total


def seconds(segments: Sequence[Segment], key: str) -> list[float]:
    """One time of every segment, as floats.

    Raises:
        RecordError: a time is missing, no number or not finite.

    Example:
        >>> seconds([{"start": 1}, {"start": 2.5}], "start")
        [1.0, 2.5]
    """
    try:
        values = [segment[key] for segment in segments]
        if all_finite_floats(values):
            return values
    except (KeyError, TypeError, IndexError):
        segment_list(segments, "segments")
    return [second(segment, key, f"segments[{index}]") for index, segment in enumerate(segments)]


def all_finite_floats(values: list[Any]) -> bool:
    """Whether every value is a plain float, and none infinite or NaN.

    Example:
        >>> all_finite_floats([0.5, 1.0]), all_finite_floats([0.5, True]), all_finite_floats([float("nan")])
        (True, False, False)
    """
    return set(map(type, values)) <= _ONLY_FLOAT and all(map(math.isfinite, values))


def second(holder: Segment, key: str, place: str) -> float:
    """The time ``holder[key]`` in seconds, as a float.

    Args:
        holder: the segment or word.
        key: the name of the time.
        place: where ``holder`` is in the record, for the message.

    Raises:
        RecordError: ``missing_field``, ``not_a_number`` or ``not_finite``.

    Example:
        >>> second({"end": "7"}, "end", "segments[3]")
        Traceback (most recent call last):
            ...
        curator_audio.errors.RecordError: not_a_number: segments[3].end is "7"; give seconds as a finite number
    """
    if key not in holder:
        raise RecordError("missing_field", f"{place}.{key} is missing; give seconds as a finite number")
    value = holder[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RecordError("not_a_number", f"{place}.{key} is {shown(value)}; give seconds as a finite number")
    number = as_float(value)
    if not math.isfinite(number):
        raise RecordError("not_finite", f"{place}.{key} is {shown(value)}; give seconds as a finite number")
    return number


def bandwidths(segments: Sequence[Segment], ignored: Ignored) -> list[float]:
    """The bandwidth of every segment in Hz; an absent or null one (or absent or null metrics) is 0.

    Args:
        segments: the segments.
        ignored: where metrics that are no object and bandwidths that are no number are counted; they are 0, too.

    Example:
        >>> bandwidths([{"metrics": {"bandwidth": 8000}}, {"metrics": None}, {"metrics": "loud"}], Ignored())
        [8000, 0, 0]
    """
    try:
        values = [segment["metrics"]["bandwidth"] for segment in segments]
        if set(map(type, values)) == _ONLY_INT:
            return values
    except (KeyError, TypeError, IndexError):
        pass  # most often one that is absent
    return [_bandwidth(segment, ignored) for segment in segments]


def _bandwidth(segment: Segment, ignored: Ignored) -> float:
    metrics = segment.get("metrics")
    if isinstance(metrics, dict):
        return hertz(metrics.get("bandwidth"), ignored)
    if metrics is not None:
        ignored.num_fields += 1
    return 0


def hertz(value: Any, ignored: Ignored) -> float:
    """A bandwidth or sample rate in Hz; 0 for null, and for what is no number, which is counted.

    Example:
        >>> hertz(16000, Ignored()), hertz(None, Ignored()), hertz("8k", Ignored())
        (16000, 0, 0)
    """
    if type(value) is int or is_number(value):
        number: float = value
        return number
    if value is not None:
        ignored.num_fields += 1
    return 0


def speakers(segments: Sequence[Segment], ignored: Ignored) -> list[Any]:
    """The speaker of every segment; None where there is none (missing, null, empty, 0).

    Args:
        segments: the segments.
        ignored: where lists and objects, which are no speakers, are counted.

    Example:
        >>> speakers([{"speaker": "ann"}, {"speaker": ""}, {}, {"speaker": ["ann"]}], Ignored())
        ['ann', None, None, None]
    """
    values = [segment.get("speaker") or None for segment in segments]
    if not set(map(type, values)) <= _PLAIN_SPEAKERS or None in values:
        for index, segment in enumerate(segments):
            if isinstance(segment.get("speaker"), (list, dict)):
                values[index] = None
                ignored.num_fields += 1
    return values


def as_float(value: float) -> float:
    """The double nearest to ``value``, infinite where an integer is beyond all of them.

    Example:
        >>> as_float(2), as_float(10**400)
        (2.0, inf)
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def shown(value: Any) -> str:
    """``value`` as a message shows it: as JSON, cut at 60 characters, containers by their kind only.

    Example:
        >>> shown(float("nan")), shown(True), shown([1, 2])
        ('NaN', 'true', 'a list')
    """
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
