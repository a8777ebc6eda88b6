"""Which of a recording's windows stay when windows that overlap too much are thinned out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import sub

from curator_audio.stages.alm.columns import in_order_sum

_ROUNDING_REACH = 2e-6
"""Times farther apart than this, in seconds, differ after rounding to ``_DIGITS`` digits, too."""

_DIGITS = 6


@dataclass
class Thinned:
    """The outcome for one recording.

    Args:
        durations: of all windows, in seconds, in window order.
        total_duration: their sum.
        kept_spans: ``[end, start]`` of the windows that stay, ordered by start and end.
        kept_durations: their durations, in the same order.
        kept_total: the sum of those.
        kept_windows: which windows stay, ascending.
    """

    durations: list[float]
    total_duration: float
    kept_spans: list[list[float]]
    kept_durations: list[float]
    kept_total: float
    kept_windows: list[int]


def thin_out(starts: Sequence[float], ends: Sequence[float], threshold: float, target_duration: float) -> Thinned:
    """Of every two windows that overlap too much, remove the one farther from the target duration.

    Args:
        starts: where the windows start, in seconds.
        ends: where they end, in seconds.
        threshold: overlap as a fraction of the shorter window from which on one of two is removed, 0 to 1.
        target_duration: the preferred duration in seconds.

    Example:
        >>> thinned = thin_out([0.0, 10.0, 200.0], [110.0, 130.0, 320.0], threshold=0.5, target_duration=120.0)
        >>> thinned.kept_spans, thinned.kept_windows
        ([[130.0, 10.0], [320.0, 200.0]], [1, 2])
    """
    durations = [end - start for start, end in zip(starts, ends)]
    spans = list(zip(starts, ends, durations))
    order = sorted(range(len(spans)), key=spans.__getitem__)
    kept_windows = [order[rank] for rank in _kept([spans[window] for window in order], threshold, target_duration)]
    kept_durations = [durations[window] for window in kept_windows]
    return Thinned(
        durations=durations,
        total_duration=in_order_sum(durations, 0.0),
        kept_spans=[[ends[window], starts[window]] for window in kept_windows],
        kept_durations=kept_durations,
        kept_total=in_order_sum(kept_durations, 0.0),
        kept_windows=_with_equal_spans(kept_windows, starts, ends, order),
    )


def _kept(spans: list[tuple[float, float, float]], threshold: float, target_duration: float) -> list[int]:
    """Which of the sorted spans (start, end, duration) stay."""
    misses = [abs(duration - target_duration) for _, _, duration in spans]
    num_spans = len(spans)
    following = list(range(1, num_spans + 1))  # the next span that is not removed
    kept = []
    i = 0
    while i < num_spans:
        _, end, duration = spans[i]
        miss = misses[i]
        before, j = i, following[i]
        while j < num_spans:
            other_start, other_end, other_duration = spans[j]
            if other_start >= end:
                kept.append(i)
                break
            overlap = (end if end < other_end else other_end) - other_start
            shorter = duration if duration < other_duration else other_duration
            if (overlap / shorter if shorter else 0.0) >= threshold:
                other_miss = misses[j]
                if other_miss < miss or (other_miss == miss and duration < other_duration):
                    break  # i is removed
                j = following[before] = following[j]  # j is removed
            else:
                before, j = j, following[j]
        else:
            kept.append(i)
        i = following[i]
    return kept


def _with_equal_spans(
    kept_windows: list[int], starts: Sequence[float], ends: Sequence[float], order: list[int]
) -> list[int]:
    """The kept windows, and those whose span is the same as a kept one when rounded, ascending."""
    ordered = [starts[window] for window in order]
    if min(map(sub, ordered[1:], ordered), default=math.inf) > _ROUNDING_REACH:
        return sorted(kept_windows)
    rounded = [(round(end, _DIGITS), round(start, _DIGITS)) for start, end in zip(starts, ends)]
    spans = {rounded[window] for window in kept_windows}
    return [window for window, span in enumerate(rounded) if span in spans]
