"""Which of a recording's windows stay when windows that overlap too much are thinned out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    order = sorted(range(len(starts)), key=lambda window: (starts[window], ends[window]))
    kept = _kept(
        [starts[window] for window in order], [ends[window] for window in order], threshold, target_duration
    )
    durations = [end - start for start, end in zip(starts, ends)]
    kept_windows = [order[rank] for rank in kept]
    kept_durations = [durations[window] for window in kept_windows]
    return Thinned(
        durations=durations,
        total_duration=in_order_sum(durations),
        kept_spans=[[ends[window], starts[window]] for window in kept_windows],
        kept_durations=kept_durations,
        kept_total=in_order_sum(kept_durations),
        kept_windows=_with_equal_spans(kept_windows, starts, ends, order),
    )


def _kept(starts: list[float], ends: list[float], threshold: float, target_duration: float) -> list[int]:
    """The spans, given by start and end, that stay."""
    durations = [end - start for start, end in zip(starts, ends)]
    misses = [abs(duration - target_duration) for duration in durations]
    num_spans = len(starts)
    following = list(range(1, num_spans + 1))  # the next span not yet removed: removed ones are skipped, not revisited
    kept = []
    i = 0
    while i < num_spans:
        end, duration, miss = ends[i], durations[i], misses[i]
        before, j = i, following[i]
        while j < num_spans and starts[j] < end:
            shorter = duration if duration < durations[j] else durations[j]
            overlap = (end if end < ends[j] else ends[j]) - starts[j]
            if (overlap / shorter if shorter else 0.0) >= threshold:
                if misses[j] < miss or (misses[j] == miss and duration < durations[j]):
                    break
                following[before] = following[j]
            else:
                before = j
            j = following[j]
        else:
            kept.append(i)
        i = following[i]
    return kept


def _with_equal_spans(
    kept_windows: list[int], starts: Sequence[float], ends: Sequence[float], order: list[int]
) -> list[int]:
    """The kept windows, and those whose span is the same as a kept one when rounded, ascending."""
    ordered = [starts[window] for window in order]
    if all(later - earlier > _ROUNDING_REACH for earlier, later in zip(ordered, ordered[1:])):
        return sorted(kept_windows)
    rounded = [(round(end, _DIGITS), round(start, _DIGITS)) for start, end in zip(starts, ends)]
    spans = {rounded[window] for window in kept_windows}
    return [window for window, span in enumerate(rounded) if span in spans]
