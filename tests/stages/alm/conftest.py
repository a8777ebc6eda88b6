"""The window rules written down once more, word for word and without regard to speed, to compare with."""

from __future__ import annotations

from typing import Any

import pytest

Entry = dict[str, Any]


def plain_windows(
    entry: Entry,
    target_window_duration: float = 120.0,
    tolerance: float = 0.1,
    min_sample_rate: float = 16000,
    min_bandwidth: float = 8000,
    min_speakers: int = 2,
    max_speakers: int = 5,
    truncation: bool = True,
    drop_fields: str = "words",
    drop_fields_top_level: str = "words,segments",
) -> Entry:
    """What the window builder makes of an entry."""
    min_duration = target_window_duration - target_window_duration * tolerance
    max_duration = target_window_duration + target_window_duration * tolerance
    dropped = drop_fields.split(",")
    segments = entry["segments"]
    windows: list[Entry] = []
    truncation_events = 0
    stats: Entry = {
        "total_segments": len(segments),
        "total_dur": 0.0,
        "swift_path": entry.get("swift_audio_filepath", ""),
        "audio_sample_rate": entry.get("audio_sample_rate") or 0,
    }
    for cause in ("bw", "sr", "spk", "win", "no_spkr", "next_seg_bm"):
        stats[f"lost_{cause}"] = 0
        stats[f"dur_lost_{cause}"] = 0.0
    stats["lost_win_full_data"] = []

    def duration(segment: Entry) -> float:
        return segment["end"] - segment["start"]

    def lose(cause: str, segment: Entry) -> None:
        stats[f"lost_{cause}"] += 1
        stats[f"dur_lost_{cause}"] += duration(segment)

    def bandwidth(segment: Entry) -> float:
        return (segment.get("metrics") or {}).get("bandwidth") or 0

    def emitted(segment: Entry) -> Entry:
        return {name: value for name, value in segment.items() if name not in dropped}

    def shortened(segment: Entry, cut: float) -> Entry:
        words = [word for word in segment.get("words") or [] if word["end"] <= cut]
        text = " ".join(word["word"] for word in words if word["word"])
        return {**segment, "words": words, "text": text, "end": words[-1]["end"] if words else segment["start"]}

    def speakers_of(run: list[Entry]) -> list[Any]:
        return list(dict.fromkeys(segment["speaker"] for segment in run if segment.get("speaker")))

    def fits(run: list[Entry]) -> bool:
        return len(speakers_of(run)) <= max_speakers and "no-speaker" not in speakers_of(run)

    for segment in segments:
        stats["total_dur"] += duration(segment)
    rejected = stats["audio_sample_rate"] < min_sample_rate
    if rejected:
        for segment in segments:
            lose("sr", segment)
    for i, first in enumerate(segments if not rejected else []):
        if bandwidth(first) < min_bandwidth:
            lose("bw", first)
            continue
        run: list[Entry] = []
        window_start, window_end = first["start"], first["end"]
        following = segments[-1]
        for segment in segments[i:]:
            following = segment
            if bandwidth(segment) < min_bandwidth:
                break
            if segment["end"] - window_start > max_duration:
                cut = window_start + max_duration
                if truncation and segment["start"] < cut:
                    truncation_events += 1
                    last = shortened(segment, cut)
                    if fits([*run, last]):
                        run.append(last)
                        window_end = last["end"]
                break
            if not fits([*run, segment]):
                break
            run.append(segment)
            window_end = segment["end"]
        else:
            following = segments[-1]

        if len(run) < 2 or not min_duration <= window_end - window_start <= max_duration:
            lose("win", first)
            if "speaker" not in following or following["speaker"] == "no-speaker":
                lose("no_spkr", first)
            elif bandwidth(following) < min_bandwidth:
                lose("next_seg_bm", first)
            stats["lost_win_full_data"].append(
                {
                    "index": i,
                    "window_segs": [emitted(segment) for segment in run],
                    "next_seg": emitted(following),
                    "prev_seg": emitted(segments[max(i - 1, 0)]),
                }
            )
        elif not min_speakers <= len(speakers_of(run)) <= max_speakers:
            lose("spk", first)
        else:
            spoken = []
            for speaker in speakers_of(run):
                total = 0.0
                for segment in run:
                    if segment.get("speaker") == speaker:
                        total += duration(segment)
                spoken.append(total)
            durations = (sorted(spoken, reverse=True) + [0.0] * 5)[:5]
            windows.append({"segments": [emitted(segment) for segment in run], "speaker_durations": durations})

    kept = {name: value for name, value in entry.items() if name not in drop_fields_top_level.split(",")}
    return {**kept, "windows": windows, "stats": stats, "truncation_events": truncation_events}


def plain_overlap(entry: Entry, overlap_percentage: float = 50, target_duration: float = 120.0) -> Entry:
    """What the overlap filter makes of an entry."""
    windows = entry["windows"]
    ends_starts = [[window["segments"][-1]["end"], window["segments"][0]["start"]] for window in windows]
    spans = sorted((start, end) for end, start in ends_starts)
    removed = [False] * len(spans)
    for i, (start_i, end_i) in enumerate(spans):
        if removed[i]:
            continue
        for j in range(i + 1, len(spans)):
            if removed[j]:
                continue
            start_j, end_j = spans[j]
            if start_j >= end_i:
                break
            duration_i, duration_j = end_i - start_i, end_j - start_j
            shorter = min(duration_i, duration_j)
            ratio = (min(end_i, end_j) - max(start_i, start_j)) / shorter if shorter else 0.0
            if ratio >= overlap_percentage / 100:
                miss_i, miss_j = abs(duration_i - target_duration), abs(duration_j - target_duration)
                if miss_i > miss_j or (miss_i == miss_j and duration_i < duration_j):
                    removed[i] = True
                    break
                removed[j] = True
    filtered = [[end, start] for (start, end), gone in zip(spans, removed) if not gone]
    rounded = [(round(end, 6), round(start, 6)) for end, start in filtered]
    durations = [end - start for end, start in ends_starts]
    filtered_durations = [end - start for end, start in filtered]
    return {
        **entry,
        "total_dur_window": add_up(durations),
        "total_dur_list_window": durations,
        "total_dur_list_window_timestamps": ends_starts,
        "filtered": filtered,
        "filtered_windows": [
            window for window, (end, start) in zip(windows, ends_starts) if (round(end, 6), round(start, 6)) in rounded
        ],
        "filtered_dur": add_up(filtered_durations),
        "filtered_dur_list": filtered_durations,
        "manifest_filepath": None,
        "swift_filepath": entry.get("stats", {}).get("swift_path", "") if windows else None,
    }


def add_up(values: list[float]) -> float:
    """The sum from left to right."""
    total = 0.0
    for value in values:
        total += value
    return total


@pytest.fixture(scope="session")
def naive_windows() -> Any:
    """The plain window builder: ``naive_windows(entry, **parameters)``."""
    return plain_windows


@pytest.fixture(scope="session")
def naive_overlap() -> Any:
    """The plain overlap filter: ``naive_overlap(entry, **parameters)``."""
    return plain_overlap
