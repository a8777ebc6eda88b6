"""What stages that decode tell of a recording, and what their parameters make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.stages.general import GetAudioDurationStage
from curator_audio.stages.speech import EstimateBandwidthStage, SegmenterStage, WindowExtractionStage
from curator_audio.stages.speech.sound import decode_sound
from curator_audio.tasks import AudioBatch, Record
from tests.stages.speech.sound_files import RATE, by_second, remuxed, tones, write_sound
from tests.stages.speech.test_tracks import tracks_file


def entry(path: Path, spans: list[tuple[float, float]]) -> Record:
    segments = [{"start": start, "end": end, "speaker": "a", "text": "x"} for start, end in spans]
    return {"audio_filepath": str(path), "segments": segments, "filtered_windows": [{"segments": segments}]}


def segmented(stage: SegmenterStage, path: Path, spans: list[tuple[float, float]]) -> list[Record]:
    return [record for batch in stage.process(AudioBatch([entry(path, spans)])) for record in batch.records]


def tone_hz(record: Record) -> int:
    samples, sample_rate = decode_sound(record["audio"]["bytes"])
    return by_second(np.resize(samples, sample_rate), sample_rate)[0]


@pytest.fixture
def gap(tmp_path: Path) -> Path:
    """A recording without what sounds from 2.5 to 4.1 s."""
    whole = write_sound(tmp_path / "whole.webm", "libopus", tones(7.0, 48000), 48000)
    return remuxed(whole, tmp_path / "gap.webm", lambda time: None if 2.5 <= time < 4.1 else time)


# What parameters do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeline", "tones_hz"), [("samples", [400, 1400]), ("container", [400, 1000])])
def test_texts_are_timed_by_samples_or_by_the_container(timeline: str, tones_hz: list[int], gap: Path) -> None:
    records = segmented(SegmenterStage(timeline=timeline, min_duration=0), gap, [(1.1, 1.9), (4.5, 4.9)])
    assert [tone_hz(record) for record in records] == tones_hz


def test_each_channel_is_a_recording_of_its_own(tmp_path: Path) -> None:
    sound = np.hstack([tones(3.0, 48000), np.roll(tones(3.0, 48000), -48000), np.zeros((144000, 1), np.int16)])
    path = write_sound(tmp_path / "call.flac", "flac", sound, 48000, layout="3.0")
    spans = [(0.1, 0.9), (0.0, 2.5), (1.1, 1.9)]
    stage = SegmenterStage(channel="each")

    records = segmented(stage, path, spans)

    assert [(record["audio_id"], record["segment_id"], record["speaker_id"]) for record in records] == [
        (f"call_ch{channel}", f"{tmp_path.name}/call_ch{channel}_seg_{index}", f"{tmp_path.name}/call_ch{channel}/a")
        for index in range(3)
        for channel in range(2)
    ]
    assert [tone_hz(record) for record in (*records[:2], *records[4:])] == [200, 400, 400, 600]
    assert stage.take_observations().metrics["skipped_silent"] == 3
    for number in range(2):
        alone = segmented(SegmenterStage(channel=number), path, spans)
        assert [one["audio"]["bytes"] for one in alone] == [record["audio"]["bytes"] for record in records[number::2]]


def test_windows_bandwidths_and_durations_are_of_the_same_sound(gap: Path) -> None:
    times = entry(gap, [(5.1, 5.9)])
    (batch,) = WindowExtractionStage(timeline="container").process(AudioBatch([times]))
    assert tone_hz(batch.records[0]) == 1200
    for timeline, duration in (("samples", 5.4), ("container", 7.0)):
        for stage in (EstimateBandwidthStage(timeline=timeline), GetAudioDurationStage(timeline=timeline)):
            assert stage.process_record(times)["duration"] == pytest.approx(duration, abs=0.03)
            assert stage.take_observations().metrics["recordings_with_gaps"] == 1


@pytest.mark.parametrize("stage", [WindowExtractionStage, EstimateBandwidthStage, GetAudioDurationStage])
def test_each_is_refused_where_one_signal_is_needed(stage: type) -> None:
    with pytest.raises(ConfigurationError, match=f"channel is 'each', but {stage.__name__} takes one signal"):
        stage(channel="each")


@pytest.mark.parametrize(
    "stage", [SegmenterStage, WindowExtractionStage, EstimateBandwidthStage, GetAudioDurationStage]
)
def test_parameters_are_checked(stage: type) -> None:
    for parameters in ({"timeline": "player"}, {"channel": "middle"}, {"audio_track": -1}):
        with pytest.raises(ConfigurationError, match=f"{next(iter(parameters))} is .*; give "):
            stage(**parameters)


# What is told -------------------------------------------------------------------------------------------------


def told(path: Path, warned: list[str], **parameters: Any) -> tuple[dict[str, float], list[str]]:
    stage = SegmenterStage(**parameters)
    segmented(stage, path, [(0.1, 0.9)])
    metrics = stage.take_observations().metrics
    names = ("recordings_with_gaps", "gap_duration", "overlap_duration", "recordings_broken_off")
    more = ("recordings_of_opposite_phase", "recordings_of_several_tracks")
    return {name: round(metrics[name], 1) for name in (*names, *more) if name in metrics}, warned


@pytest.mark.parametrize(
    ("timeline", "remedy"), [("samples", "; segmenter's timeline=container fits"), ("container", "became silence")]
)
def test_a_gap_is_counted_and_named_once(timeline: str, remedy: str, gap: Path, warned: list[str]) -> None:
    metrics, (warning,) = told(gap, warned, timeline=timeline)
    assert metrics == {"recordings_with_gaps": 1, "gap_duration": 1.6}
    assert warning.startswith(f"{gap} has a gap of 1.600 s at 2.514 s by its timestamps; ") and remedy in warning


def test_many_gaps_are_one_warning(tmp_path: Path, warned: list[str]) -> None:
    whole = write_sound(tmp_path / "whole.mkv", "flac", tones(7.0))
    path = remuxed(whole, tmp_path / "a.mkv", lambda time: None if time % 1 > 0.8 else time)
    metrics, (warning,) = told(path, warned)
    assert metrics["recordings_with_gaps"] == 1 and "and 3 more by its timestamps" in warning


def test_opposite_phase_is_counted_and_named(tmp_path: Path, warned: list[str]) -> None:
    path = write_sound(tmp_path / "a.flac", "flac", tones(3.0, RATE, 2) * np.array([[1, -1]], np.int16))
    metrics, (warning,) = told(path, warned)
    assert metrics == {"recordings_of_opposite_phase": 1}
    assert warning.startswith(f"{path} has channels of opposite phase for 3.0 s")
    assert told(path, warned, channel="left")[0] == {}


def test_several_tracks_are_counted_and_named(tmp_path: Path, warned: list[str]) -> None:
    path = tracks_file(tmp_path / "a.mkv", ["eng", "deu"], 1)
    metrics, (warning,) = told(path, warned)
    assert metrics == {"recordings_of_several_tracks": 1}
    assert warning == (
        f"{path} has several audio tracks: 0 (eng), 1 (deu, default); 1 is taken; segmenter's audio_track takes another"
    )


@pytest.mark.parametrize(
    ("parameters", "reason"), [({"channel": 1}, "no_such_channel"), ({"audio_track": "fr"}, "no_such_track")]
)
def test_what_is_not_there_sets_the_recording_aside(parameters: Record, reason: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.flac", "flac", tones(1.0))
    stage = SegmenterStage(**parameters)
    assert segmented(stage, path, [(0.1, 0.9)]) == []
    (bad,) = stage.take_observations().quarantined
    assert (bad.reason, str(path) in bad.message) == (reason, True)
