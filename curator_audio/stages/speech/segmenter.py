"""Cuts recordings into segments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.stages.alm.windows import NO_SPEAKER
from curator_audio.stages.fields import Fields
from curator_audio.stages.optional import as_text
from curator_audio.stages.parameters import check_flag, check_number
from curator_audio.stages.speech.cutting import CuttingStage, Span, sample_index
from curator_audio.stages.speech.foreign_fields import is_nobody
from curator_audio.stages.speech.going_along import fields_going_along, going_along
from curator_audio.stages.speech.segments import METADATA_FIELDS, SEGMENT_TYPES, id_in, segment_record
from curator_audio.stages.speech.sound import Samples, audio_field
from curator_audio.stages.times import END_OF_RECORDING, is_time
from curator_audio.tasks import Record

SEGMENT_TEXTS = ("text", "speaker", "channel", *METADATA_FIELDS)
"""What a segment may say in texts; a number is one, too."""


@dataclass
class SegmenterStage(CuttingStage):
    """Makes one record of every segment of a recording, with its sound; needs the extra ``audio``.

    A recording is decoded once, made one signal, resampled, and cut at sample precision: a segment is the samples from
    ``sample_index(start, sample_rate)`` up to ``sample_index(end, sample_rate)``. It may overlap others or lie
    inside them. Memory does not grow with the recording. The records come in the order of the entry's ``segments``;
    one that ends early waits, as FLAC, for those before it.

    What else a segment has in texts, numbers, true or false goes along, and so do such fields of its entry that it does
    not have itself: an ``episode_id``, a licence. Paths do not, nor the entry's ``duration``.

    Skipped and counted, each as the first of these that it is: a segment that is not an object with ``start`` and
    ``end`` in seconds (``skipped_invalid``), of ``no-speaker`` or without a speaker (``skipped_no_speaker``), without
    text (``skipped_no_text``), from before the start of the recording or ending before it begins
    (``skipped_negative``), without a single sample (``skipped_empty``), ``skipped_too_short``, ``skipped_too_long``,
    ending more than ``end_tolerance`` after the recording does (``skipped_beyond_end``), a ``skipped_silent`` one,
    and one with floats of another scale, above 16 times full scale (``skipped_out_of_range``).

    One that ends a little after the recording is clipped to its end (``clipped_at_end``), unless the recording breaks
    off there; it must be long enough then, and no longer than ``max_duration``. An ``end`` of -1 is that of the
    recording. A text (of the segment, its speaker, its language …) that is neither a text nor a number is taken for
    absent and counted (``optional_fields_ignored``). Who is called ``unknown``, ``N/A`` or the like has no
    ``speaker_id``.

    A recording of which nothing can be decoded is quarantined. Of one that breaks off half-way the segments up to
    there are made; it is counted in ``recordings_broken_off``, and a warning names it. Warnings and counts also tell of
    recordings that hold more than their header tells (``recordings_with_wrong_headers``), whose timestamps and samples
    disagree (``recordings_with_gaps``, ``gap_duration``, ``overlap_duration``), that have several audio tracks
    (``recordings_of_several_tracks``), or channels that cancel each other in a mix, of which one is taken
    (``recordings_of_opposite_phase``).

    Args:
        sample_rate: the rate of the segments, in Hz.
        min_duration: the shortest segment, in seconds.
        max_duration: the longest segment, in seconds.
        skip_without_text: whether segments without text are skipped.
        silence_threshold_db: a segment whose peak is below it is silent, in dB of full scale.
        end_tolerance: by how much a segment may end after the recording does, in seconds; it is clipped then.
        audio_dir: the folder of relative paths; None for the manifest's own.
        allowed_schemes: schemes of URLs that a manifest may name, besides its own store; see ``ReadsReferences``.
        allow_outside: whether a manifest may name files outside of that folder.
        allow_private_hosts: whether it may name hosts with private, loopback or link-local addresses.
        timeline: ``samples`` puts the samples end to end, ``container`` where the timestamps are: gaps and late starts
            become silence, what overlaps is dropped.
        channel: ``mix``, ``left``, ``right`` or a number from 0; ``each`` for all, each as a recording of its own,
            whose ``audio_id`` ends in ``_ch0``, ``_ch1`` and so on.
        audio_track: ``default``, a number from 0 among the audio tracks, or a language such as ``de`` or ``deu``.

    Raises:
        ConfigurationError: a parameter is out of its range.

    Example:
        >>> import numpy as np
        >>> from curator_audio.stages.speech.sound import encode_flac
        >>> from curator_audio.storage.storage import Storage
        >>> from curator_audio.tasks import AudioBatch
        >>> tone = np.sin(np.arange(48000) / 20).astype(np.float32)
        >>> Storage().write("memory://doc/news/show.flac", encode_flac(tone, 48000))
        >>> entry = {"audio_filepath": "memory://doc/news/show.flac", "segments": [
        ...     {"start": 0.0, "end": 0.75, "speaker": "a", "text": "Good evening"},
        ...     {"start": 0.75, "end": 1.0, "speaker": "no-speaker", "text": ""}]}
        >>> (batch,) = SegmenterStage().process(AudioBatch([entry]))
        >>> [(segment["segment_id"], segment["speaker_id"], segment["duration_sec"]) for segment in batch.records]
        [('news/show_seg_0', 'news/show/a', 0.75)]
    """

    sample_rate: int = 16000
    min_duration: float = 0.5
    max_duration: float = 30.0
    skip_without_text: bool = True
    silence_threshold_db: float = -60.0
    end_tolerance: float = 0.5
    audio_dir: str | None = None
    timeline: str = "samples"
    channel: str | int = "mix"
    audio_track: str | int = "default"

    name = "segmenter"
    version = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("min_duration", self.min_duration, "of seconds, at least 0", 0)
        check_number("max_duration", self.max_duration, "of seconds, at least min_duration", self.min_duration)
        check_flag("skip_without_text", self.skip_without_text)
        self._min_samples = sample_index(self.min_duration, self.sample_rate)
        self._max_samples = sample_index(self.max_duration, self.sample_rate)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["audio_filepath", "segments"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], dict(SEGMENT_TYPES)

    def fields_after(self, fields: Fields) -> Fields:
        return fields_going_along(fields, SEGMENT_TYPES, "segments", gone=("audio_filepath", "segments"))

    def process_record(self, record: Record) -> Iterator[Record]:
        segments = record["segments"]
        if not isinstance(segments, list):
            raise RecordError("wrong_type", f"segments is {segments!r:.80}; give a list of objects")
        entry = self.identified(record)
        segments = [self.readable(one, SEGMENT_TEXTS) if isinstance(one, dict) else one for one in segments]
        entry = {**entry, "segments": segments}
        spans = self._spans(entry, segments)
        yield from self.pieces(entry, spans, {index for index in spans if _is_open(segments[index])})

    def _spans(self, entry: Record, segments: list[Any]) -> dict[int, Span]:
        """The samples of every segment that is not skipped for what its entry says, by its index."""
        spans = {}
        for index, segment in enumerate(segments):
            reason = self._reason_to_skip(segment, entry)
            if reason:
                self.log_skipped(entry["audio_filepath"], reason)
            else:
                first, end = self.span(segment["start"], segment["end"])
                # One to the end is followed until it is too long, and no further.
                spans[index] = (first, first + self._max_samples + 1) if _is_open(segment) else (first, end)
        return spans

    def _reason_to_skip(self, segment: Any, entry: Record) -> str:
        if not isinstance(segment, dict) or not (is_time(segment.get("start")) and is_time(segment.get("end"))):
            return "invalid"
        speaker = segment.get("speaker")
        if speaker == NO_SPEAKER or not (as_text(speaker) or _own(segment, entry, "speaker_id")):
            return "no_speaker"
        if self.skip_without_text and not (as_text(segment.get("text")) or "").strip():
            return "no_text"
        is_open = _is_open(segment)
        if segment["start"] < 0 or (segment["end"] < segment["start"] and not is_open):
            return "negative"
        if is_open:
            return ""
        first, end = self.span(segment["start"], segment["end"])
        if first == end:
            return "empty"
        # One that is a little too long may yet be clipped.
        longest_clip = sample_index(self.end_tolerance, self.sample_rate)
        reason = self.misfit(end - first)
        return "" if reason == "too_long" and not self.misfit(end - first - longest_clip) else reason

    def misfit(self, num_samples: int) -> str:
        if num_samples < self._min_samples:
            return "too_short"
        return "too_long" if num_samples > self._max_samples else ""

    def piece(self, entry: Record, index: int, samples: Samples, recording_end: float | None) -> Record:
        segment = entry["segments"][index]
        audio_id = entry["audio_id"]
        recording = id_in(entry["channel"], audio_id)  # also where a segment has a channel of its own
        segment_id = f"{recording}_seg_{index}"
        metadata = {name: _own(segment, entry, name) for name in METADATA_FIELDS}
        metadata["speaker_id"] = _speaker_id(metadata["speaker_id"], as_text(segment.get("speaker")), recording)
        duration = len(samples) / self.sample_rate
        self.log_metric("segments", 1)
        self.log_metric("segment_duration", duration)
        core = segment_record(
            segment_id=segment_id,
            audio_id=audio_id,
            text=as_text(segment.get("text")),
            **metadata,
            channel=_own(segment, entry, "channel"),
            start=float(segment["start"]),
            end=float(segment["end"]) if recording_end is None else recording_end,
            duration_sec=duration,
            sample_rate=self.sample_rate,
            audio=audio_field(samples, self.sample_rate, segment_id),
        )
        return {**core, **going_along(entry, segment, SEGMENT_TYPES)}


def _is_open(segment: Record) -> bool:
    """Whether a segment goes to the end of the recording, wherever that is."""
    is_open: bool = segment["end"] == END_OF_RECORDING
    return is_open


def _speaker_id(known: str | None, label: str | None, recording: str) -> str | None:
    """Who speaks: one known beyond the recording, or one of a label in it; several may be called nobody."""
    if known and not is_nobody(known):
        return known
    return f"{recording}/{label}" if label and not is_nobody(label) else None


def _own(segment: Record, entry: Record, name: str) -> str | None:
    """What a segment says, or else its entry."""
    value = segment.get(name)
    return as_text(entry.get(name) if value is None else value)
