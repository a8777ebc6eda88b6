"""Thins out windows that overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import gt
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.stages.alm.columns import all_finite_floats, second, shown
from curator_audio.stages.alm.data_builder import ALMDataBuilderStage
from curator_audio.stages.alm.overlap import thin_out
from curator_audio.stages.base import ProcessingStage
from curator_audio.stages.fields import UNTYPED
from curator_audio.stages.optional import Ignored
from curator_audio.stages.parameters import check_number
from curator_audio.stages.record_stage import RecordStage
from curator_audio.tasks import Record

_FIELDS = {
    "total_dur_window": "float",
    "total_dur_list_window": "list<float>",
    "total_dur_list_window_timestamps": "list<list<float>>",
    "filtered": "list<list<float>>",
    "filtered_windows": "list<object>",
    "filtered_dur": "float",
    "filtered_dur_list": "list<float>",
    "manifest_filepath": "string",
    "swift_filepath": UNTYPED,  # whatever the entry has
}


@dataclass
class ALMDataOverlapStage(RecordStage):
    """Of every two windows that overlap too much, keeps the one nearer to the target duration.

    A record keeps its ``windows`` and gains ``filtered_windows``, which shares their dicts, and the durations
    and spans (``[end, start]`` in seconds) of both.

    Args:
        overlap_percentage: from which overlap on, in percent of the shorter window, one of two goes; 0 removes
            every overlap, 100 only windows within others.
        target_duration: the preferred window length in seconds, above 0.

    Raises:
        ConfigurationError: a parameter is of the wrong type or out of its range.

    Example:
        >>> def window(start, end):
        ...     return {"segments": [{"start": start, "end": end}]}
        >>> record = {"windows": [window(0.0, 110.0), window(5.0, 125.0)]}
        >>> ALMDataOverlapStage(overlap_percentage=50).process_record(record)["filtered"]
        [[125.0, 5.0]]
    """

    overlap_percentage: float = 50
    target_duration: float = 120.0

    name = "alm_data_overlap"
    version = 2

    def __post_init__(self) -> None:
        """Check the parameters."""
        check_number("overlap_percentage", self.overlap_percentage, "between 0 and 100", 0, 100)
        check_number("target_duration", self.target_duration, "above 0", 0, above=True)

    def doubts(self, before: Sequence[ProcessingStage[Any, Any]]) -> list[str]:
        """That windows are made of one length, and those of another preferred."""
        builders = [stage for stage in before if isinstance(stage, ALMDataBuilderStage)]
        return [
            f"target_duration is {self.target_duration:g} s, and target_window_duration of '{builder.name}' is "
            f"{builder.target_window_duration:g} s; give both the same, unless that is meant"
            for builder in builders
            if builder.target_window_duration != self.target_duration
        ]

    def inputs(self) -> tuple[list[str], list[str]]:
        """Records need ``windows``."""
        return [], ["windows"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        """Records gain the totals of all windows, the windows that stay and their totals."""
        return [], dict(_FIELDS)

    def process_record(self, record: Record) -> Record:
        """The record with its windows thinned out.

        Raises:
            RecordError: the windows are malformed.
        """
        windows = record["windows"]
        starts, ends = window_spans(windows)
        thinned = thin_out(starts, ends, self.overlap_percentage / 100, self.target_duration)
        if not math.isfinite(thinned.total_duration):
            raise RecordError("not_finite", "the total duration of the windows is beyond the range of a float")
        self.log_metric("output_windows (after overlap)", len(thinned.kept_windows))
        self.log_metric("filtered_audio_duration", thinned.kept_total)
        return {
            **record,
            "total_dur_window": thinned.total_duration,
            "total_dur_list_window": thinned.durations,
            "total_dur_list_window_timestamps": [[end, start] for start, end in zip(starts, ends)],
            "filtered": thinned.kept_spans,
            "filtered_windows": [windows[index] for index in thinned.kept_windows],
            "filtered_dur": thinned.kept_total,
            "filtered_dur_list": thinned.kept_durations,
            "manifest_filepath": None,
            "swift_filepath": self._swift_path(record) if windows else None,
        }

    def _swift_path(self, record: Record) -> Any:
        stats = record.get("stats")
        if isinstance(stats, dict):
            return stats.get("swift_path", "")
        if stats is not None:
            self.log_metrics(Ignored(1).as_metrics())
        return ""


def window_spans(windows: Any) -> tuple[list[float], list[float]]:
    """Where the windows start and end, in seconds.

    Raises:
        RecordError: ``windows`` is not a list of objects with a non-empty list of timed ``segments`` each.

    Example:
        >>> window_spans([{"segments": [{"start": 0.0, "end": 2.0}, {"start": 2.0, "end": 5.0}]}])
        ([0.0], [5.0])
    """
    if not isinstance(windows, list):
        raise RecordError("wrong_type", f"windows is {shown(windows)}; give a list of objects")
    try:
        starts = [window["segments"][0]["start"] for window in windows]
        ends = [window["segments"][-1]["end"] for window in windows]
        if all_finite_floats(starts) and all_finite_floats(ends) and not any(map(gt, starts, ends)):
            return starts, ends
    except (KeyError, IndexError, TypeError):
        pass
    spans = [_span(window, f"windows[{index}]") for index, window in enumerate(windows)]
    return [start for start, _ in spans], [end for _, end in spans]


def _span(window: Any, place: str) -> tuple[float, float]:
    if not isinstance(window, dict):
        raise RecordError("wrong_type", f"{place} is {shown(window)}; give an object")
    if "segments" not in window:
        raise RecordError("missing_field", f"{place}.segments is missing; give a list of segments")
    segments = window["segments"]
    if not isinstance(segments, list) or not segments:
        raise RecordError("wrong_type", f"{place}.segments is {shown(segments)}; give a list with a segment at least")
    last = len(segments) - 1
    for index in (0, last):
        if not isinstance(segments[index], dict):
            raise RecordError("wrong_type", f"{place}.segments[{index}] is {shown(segments[index])}; give an object")
    start = second(segments[0], "start", f"{place}.segments[0]")
    end = second(segments[last], "end", f"{place}.segments[{last}]")
    if end < start:
        raise RecordError("negative_duration", f"{place} ends at {end}, before its start {start}")
    return start, end
