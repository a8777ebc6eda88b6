"""Fills in the bandwidth of segments, which the ALM stages choose by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.fields import UNTYPED
from curator_audio.stages.optional import Ignored, is_number
from curator_audio.stages.parameters import check_flag
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.references import ReadsReferences, path_of
from curator_audio.stages.source import SourceStage
from curator_audio.stages.speech.bandwidth import SpectrumAverage
from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.recording_report import report_recording
from curator_audio.stages.speech.sound import Samples
from curator_audio.stages.speech.sound_options import SoundOptions, refuse_each
from curator_audio.stages.times import END_OF_RECORDING, MAX_TIME_SEC, is_time
from curator_audio.tasks import AudioBatch, Record


@dataclass
class EstimateBandwidthStage(ReadsReferences, RecordStage):
    """Adds ``metrics.bandwidth``, in whole Hz, to every segment of a recording; needs the extra ``audio``.

    What ALM stages need of a raw recording is there afterwards: an entry without ``audio_sample_rate`` or ``duration``
    gains them too. A recording is decoded once, at its own rate, and only where something is to be added; memory does
    not grow with its length.

    A segment is left as it is, and counted in ``segments_without_bandwidth``, where there is nothing to measure: its
    times are no times, it is shorter than 0.1 s or lies beyond the end of the recording. One that crosses the end, or
    has -1 for it, is measured up to there. What is there of another kind (``metrics`` that are no object, a bandwidth,
    sample rate or duration that is no number) is taken for absent, counted (``optional_fields_ignored``) and replaced.
    Silence has a bandwidth of 0 Hz. A recording that breaks off is measured up to there and counted in
    ``recordings_broken_off``; one of which nothing can be decoded is quarantined.

    Args:
        reestimate: whether bandwidths that are there already are replaced; else they are kept.
        audio_dir: the folder of relative paths; None for the manifest's own.
        allowed_schemes: schemes of URLs that a manifest may name, besides its own store; see ``ReadsReferences``.
        allow_outside: whether a manifest may name files outside of that folder.
        allow_private_hosts: whether it may name hosts with private, loopback or link-local addresses.
        timeline: ``samples`` puts the samples end to end, ``container`` where the timestamps are: gaps and late starts
            become silence, what overlaps is dropped.
        channel: ``mix``, ``left``, ``right`` or a number from 0.
        audio_track: ``default``, a number from 0 among the audio tracks, or a language such as ``de`` or ``deu``.

    Raises:
        ConfigurationError: a parameter has a value that it cannot have.

    Example:
        >>> import numpy as np
        >>> from curator_audio.stages.speech.sound import encode_flac
        >>> noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
        >>> from curator_audio.storage.storage import Storage
        >>> Storage().write("memory://doc/noise.flac", encode_flac(noise, 16000))
        >>> entry = {"audio_filepath": "memory://doc/noise.flac", "segments": [{"start": 0.5, "end": 1.5}]}
        >>> EstimateBandwidthStage().process_record(entry)["segments"]
        [{'start': 0.5, 'end': 1.5, 'metrics': {'bandwidth': 8000}}]
    """

    reestimate: bool = False
    audio_dir: str | None = None
    timeline: str = "samples"
    channel: str | int = "mix"
    audio_track: str | int = "default"

    name = "estimate_bandwidth"
    version = 2
    _worker: WorkerInfo = field(default_factory=WorkerInfo, init=False, repr=False)
    _manifest_path: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        check_flag("reestimate", self.reestimate)
        self.check_rules()
        refuse_each(type(self).__name__, self.channel)
        self._options = SoundOptions(self.timeline, self.channel, self.audio_track)
        try:
            import av  # noqa: F401
            import soxr  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                f"EstimateBandwidthStage needs {error.name}, which is not installed; pip install 'curator-audio[audio]'"
            ) from None

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["audio_filepath", "segments"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"segments": UNTYPED, "audio_sample_rate": "int", "duration": "float"}

    def check_source(self, source: SourceStage[Any]) -> None:
        self.look_into(source, self.audio_dir, "audio_filepath")

    def setup(self, worker: WorkerInfo) -> None:
        self._worker = worker

    def process(self, task: AudioBatch) -> AudioBatch:
        self._manifest_path = task.source_path
        return super().process(task)

    def process_record(self, record: Record) -> Record:
        path, segments = path_of(record), record["segments"]
        if not isinstance(segments, list):
            raise RecordError("wrong_type", f"segments is {segments!r:.80}; give a list of objects")
        wanted = [index for index, segment in enumerate(segments) if self.reestimate or not _has_bandwidth(segment)]
        lacking = [name for name in ("audio_sample_rate", "duration") if not is_number(record.get(name))]
        num_wrong = sum(record.get(name) is not None for name in lacking) + sum(map(_has_wrong_bandwidth, segments))
        self.log_metrics(Ignored(num_wrong).as_metrics())
        if not wanted and not lacking:
            return record
        times = {index: times for index in wanted if (times := _times(segments[index])) is not None}
        found, measured = self._measured(path, times)
        self.log_metrics({"segments_estimated": len(found), "segments_without_bandwidth": len(wanted) - len(found)})
        segments = [
            _with_bandwidth(segment, found[index]) if index in found else segment
            for index, segment in enumerate(segments)
        ]
        return {**record, **{name: measured[name] for name in lacking}, "segments": segments}

    def _measured(
        self, path: str, times: Mapping[int, tuple[float, float]]
    ) -> tuple[dict[int, float], dict[str, float]]:
        """The bandwidths of those of the segments that have one, and the rate and length of the recording."""
        references = self.references_of(self._manifest_path, self.audio_dir, self._worker)
        path = references.resolved(path)
        with references.reading(path) as storage, open_recording(storage, path, self._options) as recording:
            rate = recording.sample_rate
            spans = {
                index: (round(start * rate), round(min(end, MAX_TIME_SEC) * rate))
                for index, (start, end) in times.items()
            }
            found = bandwidths_of_spans(recording.blocks(), rate, spans)
        report_recording(self, path, recording)
        return found, {"audio_sample_rate": rate, "duration": recording.num_samples / rate}


def bandwidths_of_spans(
    blocks: Iterable[Samples], sample_rate: int, spans: Mapping[int, tuple[int, int]]
) -> dict[int, float]:
    """The bandwidths, in Hz, of spans of a stream of samples, in one pass.

    Args:
        blocks: mono samples of shape (num_samples,), blocks of any length.
        sample_rate: their rate in Hz.
        spans: first sample and end of each span, by its name; they may overlap and be in any order.

    Returns:
        The bandwidth by the span's name; spans of which the stream has less than a frame are missing.

    Example:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
        >>> bandwidths_of_spans([noise], 16000, {0: (8000, 16000), 1: (0, 8000), 2: (15000, 24000)})
        {1: 8000.0, 0: 8000.0}
    """
    to_come = sorted(spans, key=lambda name: spans[name][0], reverse=True)
    begun: dict[int, SpectrumAverage] = {}
    found: dict[int, float] = {}

    def finish(name: int) -> None:
        average = begun.pop(name)
        if average.num_frames:
            found[name] = average.bandwidth_hz()

    position = 0
    for block in blocks:
        while to_come and spans[to_come[-1]][0] < position + len(block):
            begun[to_come.pop()] = SpectrumAverage(sample_rate)
        for name in list(begun):
            first, end = spans[name]
            begun[name].add(block[max(0, first - position) : end - position])
            if end <= position + len(block):
                finish(name)
        position += len(block)
    for name in list(begun):
        finish(name)
    return found


def _has_bandwidth(segment: Any) -> bool:
    return is_number(_bandwidth(segment))


def _has_wrong_bandwidth(segment: Any) -> bool:
    bandwidth = _bandwidth(segment)
    return bandwidth is not None and not is_number(bandwidth)


def _bandwidth(segment: Any) -> Any:
    """What stands in the place of a segment's bandwidth: metrics that are no object do, too."""
    metrics = segment.get("metrics") if isinstance(segment, dict) else None
    return metrics.get("bandwidth") if isinstance(metrics, dict) else metrics if metrics is None else [metrics]


def _times(segment: Any) -> tuple[float, float] | None:
    """Start and end of a segment that can be measured, in seconds; to the end of the recording is infinite."""
    if not isinstance(segment, dict):
        return None
    start, end = segment.get("start"), segment.get("end")
    if end == END_OF_RECORDING and _is_time(start):
        return start, math.inf
    return (start, end) if _is_time(start) and _is_time(end) and start < end else None


def _is_time(value: Any) -> TypeGuard[float]:
    return is_time(value) and value >= 0


def _with_bandwidth(segment: Record, bandwidth: float) -> Record:
    metrics = segment.get("metrics")
    return {**segment, "metrics": {**(metrics if isinstance(metrics, dict) else {}), "bandwidth": round(bandwidth)}}
