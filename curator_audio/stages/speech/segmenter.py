"""Cuts recordings into segments."""

from __future__ import annotations

import math
import posixpath
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from loguru import logger

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.alm.windows import NO_SPEAKER
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.fields import Fields
from curator_audio.stages.general.audio_duration import resolved
from curator_audio.stages.parameters import check_count, check_flag, check_number
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.resample import resampled
from curator_audio.stages.speech.segments import METADATA_FIELDS, SEGMENT_FIELDS, segment_record
from curator_audio.stages.speech.sound import Samples, audio_field
from curator_audio.storage.storage import Storage, absolute
from curator_audio.tasks import AudioBatch, Record

MAX_TIME_SEC = 1e9
"""Thirty years: what is later is no time in a recording."""

Span = tuple[int, int]
"""The first sample, and one past the last."""


@dataclass
class SegmenterStage(RecordStage):
    """Makes one record of every segment of a recording, with its sound; needs the extra ``audio``.

    A recording is decoded once, mixed to mono, resampled, and cut at sample precision: a segment is the samples from
    ``sample_index(start, sample_rate)`` up to ``sample_index(end, sample_rate)``. It may overlap others or lie
    inside them. Memory does not grow with the recording. The records come in the order of the entry's ``segments``;
    one that ends early waits, as FLAC, for those before it.

    Skipped and counted, each as the first of these that it is: a segment that is not an object with ``start`` and
    ``end`` in seconds (``skipped_invalid``), of ``no-speaker`` or without a speaker (``skipped_no_speaker``), without
    text (``skipped_no_text``), from before the start of the recording or ending before it begins
    (``skipped_negative``), without a single sample (``skipped_empty``), ``skipped_too_short``, ``skipped_too_long``,
    ending more than a sample after the recording does (``skipped_beyond_end``), and a ``skipped_silent`` one.

    A recording of which nothing can be decoded is quarantined. Of one that breaks off half-way the segments up to
    there are made; it is counted in ``recordings_broken_off``, and a warning names it.

    Args:
        sample_rate: the rate of the segments, in Hz.
        min_duration: the shortest segment, in seconds.
        max_duration: the longest segment, in seconds.
        skip_without_text: whether segments without text are skipped.
        silence_threshold_db: a segment whose peak is below it is silent, in dB of full scale.
        audio_dir: the folder of relative paths; None for the manifest's own.

    Raises:
        ConfigurationError: a parameter is out of its range.

    Example:
        >>> from curator_audio.stages.speech.sound import encode_flac
        >>> tone = np.sin(np.arange(48000) / 20).astype(np.float32)
        >>> Storage().write("memory://doc/news/show.flac", encode_flac(tone, 48000))
        >>> entry = {"audio_filepath": "memory://doc/news/show.flac", "segments": [
        ...     {"start": 0.0, "end": 0.75, "speaker": "a", "text": "Good evening"},
        ...     {"start": 0.75, "end": 1.0, "speaker": "no-speaker", "text": ""}]}
        >>> (batch,) = SegmenterStage().process(AudioBatch([entry]))
        >>> [(segment["segment_id"], segment["speaker_id"], segment["duration_sec"]) for segment in batch.records]
        [('show_seg_0', 'show/a', 0.75)]
    """

    sample_rate: int = 16000
    min_duration: float = 0.5
    max_duration: float = 30.0
    skip_without_text: bool = True
    silence_threshold_db: float = -60.0
    audio_dir: str | None = None

    name = "segmenter"
    _storage: Storage | None = field(default=None, init=False, repr=False)
    _folder: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        check_count("sample_rate", self.sample_rate, "of Hz from 4000 to 192000", 4000, 192000)
        check_number("min_duration", self.min_duration, "of seconds, at least 0", 0)
        check_number("max_duration", self.max_duration, "of seconds, at least min_duration", self.min_duration)
        check_flag("skip_without_text", self.skip_without_text)
        check_number("silence_threshold_db", self.silence_threshold_db, "of dB, from -200 to 0", -200, 0)
        try:
            import av  # noqa: F401
            import soundfile  # noqa: F401
            import soxr  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                f"SegmenterStage needs {error.name}, which is not installed; pip install 'curator-audio[audio]'"
            ) from None
        self._min_samples = sample_index(self.min_duration, self.sample_rate)
        self._max_samples = sample_index(self.max_duration, self.sample_rate)
        self._silent_peak = 10 ** (self.silence_threshold_db / 20)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["audio_filepath", "segments"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return [], list(SEGMENT_FIELDS)

    def fields_after(self, fields: Fields) -> Fields:
        return Fields(frozenset(SEGMENT_FIELDS))

    def setup(self, worker: WorkerInfo) -> None:
        self._storage = worker.storage

    def process(self, task: AudioBatch) -> Iterator[AudioBatch]:  # type: ignore[override]  # a long recording is many
        self._folder = absolute(self.audio_dir) if self.audio_dir else task.source_path.rpartition("/")[0]
        yield from segment_batches(self.processed(task), task.source_path)

    def process_record(self, record: Record) -> Iterator[Record]:
        path, segments = record["audio_filepath"], record["segments"]
        if not isinstance(path, str) or not path:
            raise RecordError("wrong_type", f"audio_filepath is {path!r:.80}; give a path")
        if not isinstance(segments, list):
            raise RecordError("wrong_type", f"segments is {segments!r:.80}; give a list of objects")
        path = resolved(path, self._folder)
        audio_id = _text(record.get("audio_id")) or posixpath.splitext(posixpath.basename(path))[0]
        channel = _text(record.get("channel")) or posixpath.basename(posixpath.dirname(path)) or None
        entry = {**record, "audio_id": audio_id, "channel": channel}
        spans = self._spans(entry, segments)
        waiting = deque(spans)
        done: dict[int, Record | None] = {}
        for index, samples in self._cut(path, spans):
            done[index] = self._segment(entry, index, samples)
            while waiting and waiting[0] in done:
                if (made := done.pop(waiting.popleft())) is not None:
                    yield made
        for index in waiting:
            if index not in done:
                self.log_metric("skipped_beyond_end", 1)
            elif (made := done[index]) is not None:
                yield made

    def _spans(self, entry: Record, segments: list[Any]) -> dict[int, Span]:
        """The samples of every segment that is not skipped for what its entry says, by its index."""
        spans = {}
        for index, segment in enumerate(segments):
            reason = self._reason_to_skip(segment, entry)
            if reason:
                self.log_metric(f"skipped_{reason}", 1)
            else:
                spans[index] = self._span(segment)
        return spans

    def _span(self, segment: Record) -> Span:
        return sample_index(segment["start"], self.sample_rate), sample_index(segment["end"], self.sample_rate)

    def _reason_to_skip(self, segment: Any, entry: Record) -> str:
        if not isinstance(segment, dict) or not (_is_time(segment.get("start")) and _is_time(segment.get("end"))):
            return "invalid"
        speaker = segment.get("speaker")
        if speaker == NO_SPEAKER or not (_text(speaker) or _own(segment, entry, "speaker_id")):
            return "no_speaker"
        if self.skip_without_text and not (_text(segment.get("text")) or "").strip():
            return "no_text"
        if segment["start"] < 0 or segment["end"] < segment["start"]:
            return "negative"
        first, end = self._span(segment)
        if first == end:
            return "empty"
        if end - first < self._min_samples:
            return "too_short"
        return "too_long" if end - first > self._max_samples else ""

    def _cut(self, path: str, spans: Mapping[int, Span]) -> Iterator[tuple[int, Samples]]:
        """Decode the recording, all of it, and give the samples of the spans."""
        with open_recording(self._storage or Storage(), path) as recording:
            yield from cut(resampled(recording.blocks(), recording.sample_rate, self.sample_rate), spans)
        duration = recording.num_samples / recording.sample_rate
        self.log_metrics({"recordings_decoded": 1, "audio_duration": duration})
        if recording.num_bad_samples:
            self.log_metric("bad_samples", recording.num_bad_samples)
        if recording.broken_off:
            self.log_metric("recordings_broken_off", 1)
            logger.warning(f"{path} breaks off after {duration:.1f} s: {recording.broken_off}; what is there is used")

    def _segment(self, entry: Record, index: int, samples: Samples) -> Record | None:
        """The record of a segment, None for a silent one."""
        if np.abs(samples).max() < self._silent_peak:
            self.log_metric("skipped_silent", 1)
            return None
        segment = entry["segments"][index]
        audio_id = entry["audio_id"]
        segment_id = f"{audio_id}_seg_{index}"
        metadata = {name: _own(segment, entry, name) for name in METADATA_FIELDS}
        metadata["speaker_id"] = metadata["speaker_id"] or f"{audio_id}/{segment['speaker']}"
        duration = len(samples) / self.sample_rate
        self.log_metric("segments", 1)
        self.log_metric("segment_duration", duration)
        return segment_record(
            segment_id=segment_id,
            audio_id=audio_id,
            text=_text(segment.get("text")),
            **metadata,
            channel=_own(segment, entry, "channel"),
            start=float(segment["start"]),
            end=float(segment["end"]),
            duration_sec=duration,
            sample_rate=self.sample_rate,
            audio=audio_field(samples, self.sample_rate, segment_id),
        )


def sample_index(time_sec: float, sample_rate: int) -> int:
    """The sample nearest to a time, of two that are equally near the later: ``floor(time_sec * sample_rate + 0.5)``.

    Python's own ``round`` would take the even one, and segments of the same length could differ by a sample.

    Example:
        >>> sample_index(1.5, 1), sample_index(2.5, 1)
        (2, 3)
    """
    return math.floor(time_sec * sample_rate + 0.5)


def cut(blocks: Iterable[Samples], spans: Mapping[int, Span]) -> Iterator[tuple[int, Samples]]:
    """The samples of spans of a stream, each as soon as its last one has come.

    Holds the blocks from the start of the earliest span that has begun and is not complete. A span that ends one
    sample after the stream, as rounding may have it, is given without that sample; others that end after the stream
    are not given.

    Args:
        blocks: the stream, float32 of shape (num_samples,) a block.
        spans: spans by their names; they may overlap and be in any order.

    Example:
        >>> stream = [np.arange(4, dtype=np.float32), np.arange(4, 8, dtype=np.float32)]
        >>> for name, samples in cut(stream, {0: (1, 6), 1: (2, 3), 2: (5, 9), 3: (7, 10)}):
        ...     print(name, samples)
        1 [2.]
        0 [1. 2. 3. 4. 5.]
        2 [5. 6. 7.]
    """
    to_come = sorted(spans, key=lambda name: spans[name], reverse=True)
    begun: list[int] = []
    held: deque[tuple[int, Samples]] = deque()
    position = 0
    for block in blocks:
        held.append((position, block))
        position += len(block)
        while to_come and spans[to_come[-1]][0] < position:
            begun.append(to_come.pop())
        for name in begun:
            if spans[name][1] <= position:
                yield name, _joined(held, *spans[name])
        begun = [name for name in begun if spans[name][1] > position]
        needed = min((spans[name][0] for name in begun), default=position)
        while held and held[0][0] + len(held[0][1]) <= needed:
            held.popleft()
    for name in begun:
        if spans[name][1] == position + 1:
            yield name, _joined(held, spans[name][0], position)


def _joined(held: Iterable[tuple[int, Samples]], first: int, end: int) -> Samples:
    pieces = [
        block[max(0, first - position) : end - position]
        for position, block in held
        if position < end and first < position + len(block)
    ]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_TIME_SEC


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _own(segment: Record, entry: Record, name: str) -> str | None:
    """What a segment says, or else its entry."""
    value = segment.get(name)
    return _text(entry.get(name) if value is None else value)
