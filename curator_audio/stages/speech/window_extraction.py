"""Cuts recordings into the windows that the ALM stages have chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.fields import Fields
from curator_audio.stages.optional import as_text
from curator_audio.stages.speech.cutting import CuttingStage, Span
from curator_audio.stages.speech.going_along import fields_going_along, going_along
from curator_audio.stages.speech.segments import id_in
from curator_audio.stages.speech.sound import Samples, audio_field
from curator_audio.stages.speech.sound_options import refuse_each
from curator_audio.stages.speech.windows import WINDOW_TYPES
from curator_audio.stages.times import END_OF_RECORDING, MAX_TIME_SEC, is_time
from curator_audio.tasks import Record

SEGMENT_TEXTS = ("text", "speaker", "speaker_id")
"""What a segment may say in texts; a number is one, too."""

_OF_ALM = ("truncation_events", "total_dur_window", "filtered_dur")
"""What the ALM stages tell of an entry's windows together."""

_NOT_FURTHER = frozenset((*WINDOW_TYPES, *_OF_ALM))
_DIGITS = 6
"""Of times within a window: a difference of two floats has a tail that means nothing."""


@dataclass
class WindowExtractionStage(CuttingStage):
    """Makes one record of every window of a recording, with its sound and its segments; needs the extra ``audio``.

    A window lasts from the start of its first segment to the end of its last one, as for the ALM stages, and its sound
    is the samples from ``sample_index(start, sample_rate)`` up to ``sample_index(end, sample_rate)``. A recording is
    decoded once, made one signal and resampled; memory does not grow with it. Windows may overlap; they come in the
    order of the entry. A recording without windows is not decoded (``recordings_without_windows``).

    What an entry has in texts, numbers, true or false goes along with its windows: an ``episode_id``, a licence. Paths
    do not, nor its ``duration``.

    Where segments overlap, one may reach beyond the window: its times within the window, which count from the window's
    start, are then below 0 or above ``duration_sec``, and it is counted in ``segments_reaching_beyond``.

    Skipped and counted, each as the first of these that it is: a window that is not an object with timed ``segments``
    (``skipped_invalid``), from before the start of the recording or ending before it begins (``skipped_negative``),
    without a single sample (``skipped_empty``), ending more than ``end_tolerance`` after the recording does
    (``skipped_beyond_end``), a ``skipped_silent`` one, and one with floats of another scale, above 16 times full scale
    (``skipped_out_of_range``).

    One that ends a little after the recording is clipped to its end, and so are its segments (``clipped_at_end``),
    unless the recording breaks off there. An ``end`` of -1 is that of the recording. A text or speaker of a segment, or
    a language, that is neither a text nor a number is taken for absent and counted (``optional_fields_ignored``).

    A recording of which nothing can be decoded is quarantined. Of one that breaks off half-way the windows up to there
    are made; it is counted in ``recordings_broken_off``, and a warning names it. Wrong headers, gaps, tracks and
    channels of opposite phase are told as by ``SegmenterStage``.

    Args:
        windows_field: the field with the windows: ``filtered_windows``, or ``windows`` for those before the overlap
            filter.
        sample_rate: the rate of the windows, in Hz.
        silence_threshold_db: a window whose peak is below it is silent, in dB of full scale.
        end_tolerance: by how much a window may end after the recording does, in seconds; it is clipped then.
        audio_dir: the folder of relative paths; None for the manifest's own.
        allowed_schemes: schemes of URLs that a manifest may name, besides its own store; see ``ReadsReferences``.
        allow_outside: whether a manifest may name files outside of that folder.
        allow_private_hosts: whether it may name hosts with private, loopback or link-local addresses.
        timeline: ``samples`` puts the samples end to end, ``container`` where the timestamps are: gaps and late starts
            become silence, what overlaps is dropped.
        channel: ``mix``, ``left``, ``right`` or a number from 0.
        audio_track: ``default``, a number from 0 among the audio tracks, or a language such as ``de`` or ``deu``.

    Raises:
        ConfigurationError: a parameter is out of its range; or, while running, an entry has no field of that name: the
            manifest is not what the ALM pipeline writes.

    Example:
        >>> import numpy as np
        >>> from curator_audio.stages.speech.sound import encode_flac
        >>> from curator_audio.storage.storage import Storage
        >>> from curator_audio.tasks import AudioBatch
        >>> tone = np.sin(np.arange(48000) / 20).astype(np.float32)
        >>> Storage().write("memory://doc/news/show.flac", encode_flac(tone, 16000))
        >>> window = {"segments": [{"start": 0.5, "end": 1.5, "speaker": "a", "text": "Good evening"},
        ...                        {"start": 1.25, "end": 2.0, "speaker": "b", "text": "Hello"}]}
        >>> entry = {"audio_filepath": "memory://doc/news/show.flac", "filtered_windows": [window]}
        >>> (batch,) = WindowExtractionStage().process(AudioBatch([entry]))
        >>> (record,) = batch.records
        >>> record["window_id"], record["duration_sec"], record["speakers"], record["text"]
        ('news/show_win_0', 1.5, ['news/show/a', 'news/show/b'], 'Good evening Hello')
        >>> record["segments"][1]
        {'start': 0.75, 'end': 1.5, 'speaker': 'news/show/b', 'text': 'Hello'}
    """

    windows_field: str = "filtered_windows"
    sample_rate: int = 16000
    silence_threshold_db: float = -60.0
    end_tolerance: float = 0.5
    audio_dir: str | None = None
    timeline: str = "samples"
    channel: str | int = "mix"
    audio_track: str | int = "default"

    name = "window_extraction"
    version = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_each(type(self).__name__, self.channel)
        if not isinstance(self.windows_field, str) or not self.windows_field:
            raise ConfigurationError(
                f"windows_field is {self.windows_field!r}; give the name of a field such as filtered_windows"
            )

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["audio_filepath"]  # windows_field is looked for by _windows, which knows where it comes from

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], dict(WINDOW_TYPES)

    def fields_after(self, fields: Fields) -> Fields:
        return fields_going_along(fields, WINDOW_TYPES, gone=("audio_filepath", self.windows_field, *_OF_ALM))

    def process_record(self, record: Record) -> Iterator[Record]:
        windows = self._windows(record)
        entry = self.identified(record)
        if not windows:
            self.log_metric("recordings_without_windows", 1)
            return
        spans = self._spans(entry, windows)
        met: set[Any] = set()  # windows overlap, and a segment is in many of them
        for index in spans:
            segments = [self.readable(one, SEGMENT_TEXTS, met) for one in windows[index]["segments"]]
            windows[index] = {**windows[index], "segments": segments}
        entry[self.windows_field] = windows
        yield from self.pieces(entry, spans, {index for index in spans if _times(windows[index])[1] == math.inf})

    def _windows(self, record: Record) -> list[Any]:
        if self.windows_field not in record:
            raise ConfigurationError(
                f"the entry of {record['audio_filepath']} has no '{self.windows_field}'; they are made by the "
                "ALM pipeline (python main.py --config-name pipeline …), whose output is the manifest_path to give here"
            )
        windows = record[self.windows_field]
        if not isinstance(windows, list):
            raise RecordError("wrong_type", f"{self.windows_field} is {windows!r:.80}; give a list of windows")
        return list(windows)

    def _spans(self, entry: Record, windows: list[Any]) -> dict[int, Span]:
        """The samples of every window that is not skipped for what its entry says, by its index."""
        spans = {}
        for index, window in enumerate(windows):
            reason = self._reason_to_skip(window)
            if reason:
                self.log_skipped(entry["audio_filepath"], reason)
            else:
                start, end = _times(window)
                spans[index] = self.span(start, min(end, MAX_TIME_SEC))
        return spans

    def _reason_to_skip(self, window: Any) -> str:
        segments = window.get("segments") if isinstance(window, dict) else None
        if not isinstance(segments, list) or not segments or not all(map(_is_timed, segments)):
            return "invalid"
        start, end = _times(window)
        if start < 0 or end < start:
            return "negative"
        first_sample, end_sample = self.span(start, min(end, MAX_TIME_SEC))
        return "empty" if first_sample == end_sample else ""

    def piece(self, entry: Record, index: int, samples: Samples, recording_end: float | None) -> Record:
        window = entry[self.windows_field][index]
        recording = id_in(entry["channel"], entry["audio_id"])
        window_id = f"{recording}_win_{index}"
        start, end = _times(window)
        if recording_end is not None:
            end = recording_end
        segments = [
            _within(segment, _speaker_id(segment, recording), start, end, recording_end)
            for segment in window["segments"]
        ]
        speakers = list(dict.fromkeys(segment["speaker"] for segment in segments if segment["speaker"]))
        duration = len(samples) / self.sample_rate
        self.log_metrics({"windows": 1, "window_duration": duration})
        longest = round(end - start, _DIGITS)
        if beyond := sum(segment["start"] < 0 or segment["end"] > longest for segment in segments):
            self.log_metric("segments_reaching_beyond", beyond)
        return {
            "window_id": window_id,
            "audio_id": entry["audio_id"],
            "channel": entry["channel"],
            "start": start,
            "end": end,
            "duration_sec": duration,
            "sample_rate": self.sample_rate,
            "num_speakers": len(speakers),
            "speakers": speakers,
            "text": " ".join(filter(None, (segment["text"] for segment in segments))),
            "language": as_text(entry.get("language")),
            "segments": segments,
            "audio": audio_field(samples, self.sample_rate, window_id),
            "codes": [],
            **going_along(entry, {}, _NOT_FURTHER),
        }


def _times(window: Record) -> tuple[float, float]:
    """When a window starts and ends, in seconds, as ``window_spans`` has it; infinite for the recording's end."""
    segments = window["segments"]
    end = float(segments[-1]["end"])
    return float(segments[0]["start"]), math.inf if end == END_OF_RECORDING else end


def _is_timed(segment: Any) -> bool:
    return isinstance(segment, dict) and is_time(segment.get("start")) and is_time(segment.get("end"))


def _speaker_id(segment: Record, recording: str) -> str | None:
    """Who speaks: the segment's own ``speaker_id``, else its label with its recording; None where there is no label."""
    label = as_text(segment.get("speaker") or None)
    return (as_text(segment.get("speaker_id") or None) or f"{recording}/{label}") if label else None


def _within(
    segment: Record, speaker: str | None, window_start: float, window_end: float, recording_end: float | None
) -> Record:
    """A segment as a window has it; no text is an empty one.

    It ends with the recording where the window does; one to the end of the recording ends with its window.
    """
    end = window_end if segment["end"] == END_OF_RECORDING else segment["end"]
    return {
        "start": round(segment["start"] - window_start, _DIGITS),
        "end": round((end if recording_end is None else min(end, recording_end)) - window_start, _DIGITS),
        "speaker": speaker,
        "text": (as_text(segment.get("text")) or "").strip(),
    }
