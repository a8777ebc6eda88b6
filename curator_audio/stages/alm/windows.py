"""Windows over the segments of one recording: which runs of segments make one, and what the others are lost to.

A window is a run of neighbouring segments of which only the last may be shortened. All runs share the segment
dicts, and finding them all costs little more than one pass: as long as starts do not go backwards, the run from
one start reaches at least as far as the run from the start before, so one queue of durations per speaker slides
over the recording. Where a start does go backwards, the queues begin anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NamedTuple

from curator_audio.stages.alm.columns import Segment, all_finite_floats, bandwidths, in_order_sum, speakers, times
from curator_audio.stages.optional import Ignored, as_text, is_number

NO_SPEAKER = "no-speaker"
"""The name that diarisation gives to speech it could assign to nobody; it never enters a window."""

TOP_SPEAKERS = 5
"""How many values ``speaker_durations`` has."""

_PADDING = [0.0] * TOP_SPEAKERS

LOSS_CAUSES = ("bw", "sr", "spk", "win", "no_spkr", "next_seg_bm")
"""Bandwidth, sample rate, number of speakers, length; of the last, those before a no-speaker or a low bandwidth."""


@dataclass(frozen=True)
class WindowRules:
    """What makes a window.

    Args:
        min_duration: the shortest window, in seconds.
        max_duration: the longest window, in seconds.
        min_bandwidth: segments below it, in Hz, are in no window.
        min_speakers: the fewest distinct speakers.
        max_speakers: the most distinct speakers.
        truncation: whether a segment that reaches past the longest window is shortened to fit.
        drop_fields: fields removed from every emitted segment.
    """

    min_duration: float
    max_duration: float
    min_bandwidth: float
    min_speakers: int
    max_speakers: int
    truncation: bool
    drop_fields: frozenset[str] = frozenset()


@dataclass
class Losses:
    """How many segments, and how many seconds of them, start no window, by cause."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LOSS_CAUSES, 0))
    durations: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LOSS_CAUSES, 0.0))
    window_data: list[dict[str, Any]] = field(default_factory=list)

    def add(self, cause: str, duration: float) -> None:
        """Count one segment of ``duration`` seconds as lost to ``cause``."""
        self.counts[cause] += 1
        self.durations[cause] += duration

    def as_stats(self) -> dict[str, Any]:
        """The losses as fields of ``stats``, zeros included.

        Example:
            >>> list(Losses().as_stats())[:3]
            ['lost_bw', 'dur_lost_bw', 'lost_sr']
        """
        stats: dict[str, Any] = {}
        for cause in LOSS_CAUSES:
            stats[f"lost_{cause}"] = self.counts[cause]
            stats[f"dur_lost_{cause}"] = self.durations[cause]
        stats["lost_win_full_data"] = self.window_data
        return stats


@dataclass
class Built:
    """The windows of one recording, and what was lost, cut and ignored on the way."""

    windows: list[dict[str, Any]]
    losses: Losses
    truncation_events: int
    total_duration: float
    ignored: Ignored = field(default_factory=Ignored)


def reject_for_sample_rate(segments: list[Segment]) -> Built:
    """What a recording of too low a sample rate yields: no windows, and every segment lost to the sample rate.

    Raises:
        RecordError: a segment or its times are malformed.

    Example:
        >>> reject_for_sample_rate([{"start": 0.0, "end": 2.5}]).losses.durations["sr"]
        2.5
    """
    total_duration = times(segments)[3]
    losses = Losses()
    losses.counts["sr"] = len(segments)
    losses.durations["sr"] = total_duration
    return Built([], losses, 0, total_duration)


def build_windows(segments: list[Segment], rules: WindowRules) -> Built:
    """Try every segment as the start of a window.

    Bandwidths, speakers and words that are none are taken for absent.

    Args:
        segments: the recording's segments, in the order given; they are shared, not changed.
        rules: what makes a window.

    Raises:
        RecordError: a segment or its times are malformed; the message names the place.

    Example:
        >>> rules = WindowRules(9.0, 11.0, 8000, 2, 5, truncation=True)
        >>> ann = {"start": 0.0, "end": 4.0, "speaker": "ann", "metrics": {"bandwidth": 9000}}
        >>> bob = {"start": 4.0, "end": 10.0, "speaker": "bob", "metrics": {"bandwidth": 9000}}
        >>> build_windows([ann, bob], rules).windows[0]["speaker_durations"]
        [6.0, 4.0, 0.0, 0.0, 0.0]
    """
    starts, ends, durations, total_duration = times(segments)
    ignored = Ignored()
    names = speakers(segments, ignored)
    with_speakers = list(map(_without_wrong_speaker, segments)) if ignored.num_fields else segments
    min_bandwidth = rules.min_bandwidth
    low = [bandwidth < min_bandwidth for bandwidth in bandwidths(segments, ignored)]
    low.append(True)  # where segments end, every walk stops
    emitted = without_fields(segments, rules.drop_fields)
    shortener = SegmentShortener(segments, emitted, rules.drop_fields, ignored)
    min_duration, max_duration = rules.min_duration, rules.max_duration
    min_speakers, max_speakers = rules.min_speakers, rules.max_speakers
    truncation = rules.truncation

    windows: list[dict[str, Any]] = []
    losses = Losses()
    truncation_events = 0
    num_segments = len(segments)
    previous_start = float("-inf")
    stop = 0  # the whole segments of the run from i are i..stop-1 ...
    spoken: dict[Any, deque[float]] = {}  # ... and these are their durations, by speaker
    for i, start in enumerate(starts):
        if stop < i or start < previous_start:
            spoken.clear()
            stop = i
        previous_start = start
        if low[i]:
            losses.add("bw", durations[i])
            continue

        shortened: Segment | None = None
        window_end = 0.0
        while not low[stop]:
            name = names[stop]
            if ends[stop] - start > max_duration:
                cut = start + max_duration
                if truncation and starts[stop] < cut:
                    truncation_events += 1
                    if name is None or name in spoken or (len(spoken) < max_speakers and name != NO_SPEAKER):
                        shortened, window_end = shortener.shorten(stop, cut)
                break
            if name in spoken:
                spoken[name].append(durations[stop])
            elif name is not None:
                if len(spoken) >= max_speakers or name == NO_SPEAKER:
                    break
                spoken[name] = deque((durations[stop],))
            stop += 1

        run = emitted[i:stop]
        if shortened is not None:
            run.append(shortened)
        else:
            window_end = ends[stop - 1] if run else ends[i]
        if len(run) < 2 or not min_duration <= window_end - start <= max_duration:
            _lose_to_window(losses, with_speakers, emitted, i, min(stop, num_segments - 1), run, low, durations[i])
        else:
            if shortened is None or names[stop] is None:
                totals = list(map(in_order_sum, spoken.values()))
            else:
                totals = _totals_with(spoken, names[stop], window_end - starts[stop])
            if min_speakers <= len(totals) <= max_speakers:
                totals.sort(reverse=True)
                windows.append({"segments": run, "speaker_durations": (totals + _PADDING)[:TOP_SPEAKERS]})
            else:
                losses.add("spk", durations[i])

        if stop > i and names[i] is not None:  # segment i leaves the run
            spans = spoken[names[i]]
            if len(spans) > 1:
                spans.popleft()
            else:
                del spoken[names[i]]
    return Built(windows, losses, truncation_events, total_duration, ignored)


def _without_wrong_speaker(segment: Segment) -> Segment:
    is_wrong = isinstance(segment.get("speaker"), (list, dict))
    return {name: value for name, value in segment.items() if name != "speaker"} if is_wrong else segment


def _lose_to_window(
    losses: Losses,
    segments: Sequence[Segment],
    emitted: Sequence[Segment],
    index: int,
    next_index: int,
    run: list[Segment],
    low: Sequence[bool],
    duration: float,
) -> None:
    """Count the start ``index``, whose walk stopped at ``next_index``, as lost to the window."""
    losses.add("win", duration)
    if segments[next_index].get("speaker", NO_SPEAKER) == NO_SPEAKER:
        losses.add("no_spkr", duration)
    elif low[next_index]:
        losses.add("next_seg_bm", duration)
    losses.window_data.append(
        {
            "index": index,
            "window_segs": run,
            "next_seg": emitted[next_index],
            "prev_seg": emitted[max(index - 1, 0)],
        }
    )


def _totals_with(spoken: dict[Any, deque[float]], name: Any, duration: float) -> list[float]:
    """The total of every speaker, with the duration of a last segment that stays in no other run."""
    if name not in spoken:
        return [*map(in_order_sum, spoken.values()), duration]
    spoken[name].append(duration)
    totals = list(map(in_order_sum, spoken.values()))
    spoken[name].pop()
    return totals


def without_fields(segments: list[Segment], drop_fields: frozenset[str]) -> list[Segment]:
    """The segments without some of their fields; a segment that has none of them stays the same object.

    Example:
        >>> without_fields([{"start": 0.0, "words": []}, {"start": 1.0}], frozenset({"words"}))
        [{'start': 0.0}, {'start': 1.0}]
    """
    return [
        segment
        if drop_fields.isdisjoint(segment)
        else {name: value for name, value in segment.items() if name not in drop_fields}
        for segment in segments
    ]


class _Words(NamedTuple):
    """The words of a segment: when each, or else the next that has an end, ends; its text; the word as given."""

    ends: list[float]
    texts: list[str | None]
    words: list[Any]


class SegmentShortener:
    """Makes shortened copies of the segments of one recording.

    A word without an end is no place to cut: it stays or goes with the next one that has one. What is no word is left
    out.

    Args:
        segments: the segments as given.
        emitted: the same without the dropped fields.
        drop_fields: the dropped fields; copies do not get them either.
        ignored: where words that are none, or have no end, are counted, once a segment that is cut.

    Example:
        >>> words = [{"word": "so", "end": 0.5}, {"word": "be"}, {"word": "it", "end": 0.8}, {"word": "now"}]
        >>> segments = [{"start": 0.0, "end": 1.2, "words": words}]
        >>> SegmentShortener(segments, [{"start": 0.0, "end": 1.2}], frozenset({"words"})).shorten(0, 1.0)
        ({'start': 0.0, 'end': 0.8, 'text': 'so be it'}, 0.8)
    """

    def __init__(
        self,
        segments: list[Segment],
        emitted: list[Segment],
        drop_fields: frozenset[str],
        ignored: Ignored | None = None,
    ) -> None:
        self._segments = segments
        self._emitted = emitted
        self._ignored = ignored or Ignored()
        self._set_words = "words" not in drop_fields
        self._set_text = "text" not in drop_fields
        self._set_end = "end" not in drop_fields
        self._words: dict[int, _Words] = {}

    def shorten(self, index: int, latest: float) -> tuple[Segment, float]:
        """A copy of segment ``index`` with the words that end by ``latest``, and the second at which it ends."""
        segment = self._segments[index]
        words: list[Any] = []
        text, end = "", segment["start"]
        if segment.get("words") is not None:
            known = self._words_of(index)
            kept = [k for k, word_end in enumerate(known.ends) if word_end <= latest]
            words = [known.words[k] for k in kept]
            text = " ".join([spoken for k in kept if (spoken := known.texts[k])])
            end = words[-1]["end"] if words else end
        copy = self._emitted[index].copy()
        if self._set_words:
            copy["words"] = words
        if self._set_text:
            copy["text"] = text
        if self._set_end:
            copy["end"] = end
        return copy, float(end)

    def _words_of(self, index: int) -> _Words:
        """The segment's words, looked at once however many windows end in the segment."""
        found = self._words.get(index)
        if found is None:
            words = self._segments[index]["words"]
            found = self._words[index] = _usual_words(words) or self._odd_words(words)
        return found

    def _odd_words(self, words: Any) -> _Words:
        """Words of which some have no end, or are none."""
        if not isinstance(words, list):
            self._ignored.num_fields += 1
            return _Words([], [], [])
        found: list[tuple[float, str | None, Any]] = []
        end = float("inf")  # of the next word that has one
        for word in reversed(words):
            text = word.get("word") if isinstance(word, dict) else word
            if isinstance(word, dict) and is_number(word.get("end")):
                end = word["end"]
                self._ignored.num_fields += text is not None and as_text(text) is None
            else:
                self._ignored.num_fields += 1
            if isinstance(word, (dict, str)):
                found.append((end, as_text(text), word))
        found.reverse()
        return _Words([end for end, _, _ in found], [text for _, text, _ in found], [word for _, _, word in found])


def _usual_words(words: Any) -> _Words | None:
    """Words that all have an end and a text or none; None where there are others."""
    try:
        ends = [word["end"] for word in words]
        texts = [word.get("word") for word in words]
    except (TypeError, KeyError, AttributeError, IndexError):
        return None
    is_usual = isinstance(words, list) and all_finite_floats(ends) and set(map(type, texts)) <= {str, NoneType}
    return _Words(ends, texts, words) if is_usual else None
