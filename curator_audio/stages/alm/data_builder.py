"""Builds training windows from the segments of a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.ledger import StageMetrics
from curator_audio.stages.alm.columns import hertz
from curator_audio.stages.alm.windows import (
    LOSS_CAUSES,
    Losses,
    WindowRules,
    build_windows,
    reject_for_sample_rate,
)
from curator_audio.stages.fields import Fields
from curator_audio.stages.optional import Ignored, is_number
from curator_audio.stages.parameters import check_count, check_flag, check_number, field_names
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.times import END_OF_RECORDING
from curator_audio.tasks import Record


@dataclass
class ALMDataBuilderStage(RecordStage):
    """Finds the runs of segments that make a window of the wanted length with the wanted number of speakers.

    Every segment is tried as a window start. A record gains ``windows``, ``stats`` (what was lost, and to
    what) and ``truncation_events``; the segment dicts of its windows are shared between them.

    Of a recording only its segments and their times are needed. Whatever else has a value that is none (a bandwidth of
    "8k", a word without an end, a speaker that is a list) is taken for absent and counted in
    ``optional_fields_ignored``. An ``end`` of -1 is the entry's ``duration``, where that is known.

    Args:
        target_window_duration: the wanted window length in seconds, above 0.
        tolerance: how far from it a window may be, as a fraction of it, 0 to 1.
        min_sample_rate: recordings below it, in Hz, yield no windows.
        min_bandwidth: segments below it, in Hz, are in no window.
        min_speakers: the fewest distinct speakers in a window.
        max_speakers: the most distinct speakers in a window.
        truncation: whether a segment that reaches past the longest window is shortened, at a word, to fit.
        drop_fields: fields removed from every emitted segment, as a comma-separated string or a list.
        drop_fields_top_level: fields removed from the record, likewise.

    Raises:
        ConfigurationError: a parameter is of the wrong type or out of its range.

    Example:
        >>> stage = ALMDataBuilderStage(target_window_duration=10.0)
        >>> ann = {"start": 0.0, "end": 4.0, "speaker": "ann", "metrics": {"bandwidth": 9000}}
        >>> bob = {"start": 4.0, "end": 10.0, "speaker": "bob", "metrics": {"bandwidth": 9000}}
        >>> record = stage.process_record({"audio_sample_rate": 16000, "segments": [ann, bob]})
        >>> [window["speaker_durations"] for window in record["windows"]]
        [[6.0, 4.0, 0.0, 0.0, 0.0]]
    """

    target_window_duration: float = 120.0
    tolerance: float = 0.1
    min_sample_rate: float = 16000
    min_bandwidth: float = 8000
    min_speakers: int = 2
    max_speakers: int = 5
    truncation: bool = True
    drop_fields: str | Sequence[str] = "words"
    drop_fields_top_level: str | Sequence[str] = "words,segments"

    name = "alm_data_builder"
    version = 2

    def __post_init__(self) -> None:
        """Check the parameters and derive the rules for windows."""
        check_number("target_window_duration", self.target_window_duration, "above 0", 0, above=True)
        check_number("tolerance", self.tolerance, "between 0 and 1", 0, 1)
        check_number("min_sample_rate", self.min_sample_rate, "of at least 0", 0)
        check_number("min_bandwidth", self.min_bandwidth, "of at least 0", 0)
        check_count("min_speakers", self.min_speakers, "of at least 0", 0)
        check_count("max_speakers", self.max_speakers, "of at least 0", 0)
        if self.min_speakers > self.max_speakers:
            message = f"min_speakers is {self.min_speakers}; give at most max_speakers, which is {self.max_speakers}"
            raise ConfigurationError(message)
        check_flag("truncation", self.truncation)
        slack = self.target_window_duration * self.tolerance
        self._rules = WindowRules(
            min_duration=self.target_window_duration - slack,
            max_duration=self.target_window_duration + slack,
            min_bandwidth=self.min_bandwidth,
            min_speakers=self.min_speakers,
            max_speakers=self.max_speakers,
            truncation=self.truncation,
            drop_fields=field_names("drop_fields", self.drop_fields),
        )
        self._drop_top_level = field_names("drop_fields_top_level", self.drop_fields_top_level)

    def inputs(self) -> tuple[list[str], list[str]]:
        """Records need ``segments``."""
        return [], ["segments"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        """Records gain ``windows``, ``stats`` and ``truncation_events``."""
        return [], {"windows": "list<object>", "stats": "object", "truncation_events": "int"}

    def fields_after(self, fields: Fields) -> Fields:
        """The fields before, less ``drop_fields_top_level``, and the new ones."""
        return fields.minus(self._drop_top_level).plus(self.outputs()[1])

    def process_record(self, record: Record) -> Record:
        """The record with its windows.

        Raises:
            RecordError: a segment or its times are malformed.
        """
        segments: list[dict[str, Any]] = record["segments"]
        try:
            return self._with_windows(record, segments)
        except RecordError as error:
            if error.reason != "negative_duration" or not is_number(record.get("duration")):
                raise
        return self._with_windows(record, [_ended(segment, record["duration"]) for segment in segments])

    def _with_windows(self, record: Record, segments: list[dict[str, Any]]) -> Record:
        ignored = Ignored()
        sample_rate = hertz(record.get("audio_sample_rate"), ignored)
        if sample_rate < self.min_sample_rate:
            built = reject_for_sample_rate(segments)
        else:
            built = build_windows(segments, self._rules)

        result = {name: value for name, value in record.items() if name not in self._drop_top_level}
        result["windows"] = built.windows
        result["stats"] = {
            "total_segments": len(segments),
            "total_dur": built.total_duration,
            "swift_path": record.get("swift_audio_filepath", ""),
            "audio_sample_rate": sample_rate,
            **built.losses.as_stats(),
        }
        result["truncation_events"] = built.truncation_events
        self.log_metric("windows_created", len(built.windows))
        self.log_metric("truncation_events", built.truncation_events)
        if not built.windows:
            self._log_losses(built.losses, sample_rate)
        ignored.num_fields += built.ignored.num_fields
        self.log_metrics(ignored.as_metrics())
        return result

    def _log_losses(self, losses: Losses, sample_rate: float) -> None:
        """Count what the segments of a recording without windows were lost to."""
        self.log_metric("recordings_without_windows", 1)
        self.log_metrics({f"lost_{cause}": count for cause, count in losses.counts.items() if count})
        if losses.counts["sr"] and not sample_rate:
            self.log_metric("lost_without_sample_rate", losses.counts["sr"])

    def remarks_after(self, metrics: StageMetrics) -> list[str]:
        totals = metrics.custom
        if totals.get("windows_created") or not totals.get("recordings_without_windows"):
            return []
        lost = {cause: int(totals.get(f"lost_{cause}", 0)) for cause in LOSS_CAUSES}
        num_segments = sum(lost[cause] for cause in ("sr", "bw", "spk", "win"))
        if not num_segments:
            return ["there are no windows, as the entries have no segments"]
        cause = max(("sr", "bw", "spk", "win"), key=lost.__getitem__)
        share = f"all {num_segments}" if lost[cause] == num_segments else f"{lost[cause]} of {num_segments}"
        return [f"there are no windows: {share} segments are lost to {self._said_of(cause, lost, totals)}"]

    def _said_of(self, cause: str, lost: Mapping[str, int], totals: Mapping[str, float]) -> str:
        """What a cause is that segments are lost to, with the parameter that decides."""
        rules = self._rules
        bandwidth = f"a bandwidth below min_bandwidth={rules.min_bandwidth:g}"
        if cause == "sr" and totals.get("lost_without_sample_rate") == lost["sr"]:
            remedy = "the entries have no audio_sample_rate, which the pipeline 'bandwidth' fills in"
            return f"sample rate 0 < {self.min_sample_rate:g} (min_sample_rate): {remedy}"
        if cause == "sr":
            return f"a sample rate below min_sample_rate={self.min_sample_rate:g}"
        if cause == "bw":
            return f"{bandwidth}; where the manifest has none it is 0, and the pipeline 'bandwidth' measures it"
        if cause == "spk":
            return (
                f"numbers of speakers outside {rules.min_speakers} to {rules.max_speakers} (min_speakers, max_speakers)"
            )
        ends = {"no_spkr": "a segment without a speaker", "next_seg_bm": bandwidth}
        end = max(ends, key=lost.__getitem__)
        most = f", most of them cut short by {ends[end]}" if 2 * lost[end] > lost["win"] else ""
        lengths = f"{rules.min_duration:g} to {rules.max_duration:g} s (target_window_duration, tolerance)"
        return f"window lengths outside {lengths}{most}"


def _ended(segment: dict[str, Any], duration: float) -> dict[str, Any]:
    """The segment, one to the end of the recording with that as its end."""
    return {**segment, "end": duration} if segment["end"] == END_OF_RECORDING else segment
