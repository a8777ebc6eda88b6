"""What the stage does with segments, loud, quiet and broken."""

from __future__ import annotations

import pytest
from my_stages import LoudnessStage

from curator_audio import ConfigurationError
from curator_audio.testing import assert_stage, noise, segment, tone


def test_loudness() -> None:
    segments = [segment(tone(rms_db=-20.0)), segment(noise(rms_db=-33.5))]
    levels = [-20.0, -33.5]
    expected = [{**one, "loudness_db": pytest.approx(level, abs=0.05)} for one, level in zip(segments, levels)]
    assert_stage(LoudnessStage(), segments, expected, metrics={"measured_duration": 2.0})


def test_quiet_segments_are_left_out() -> None:
    segments = [segment(tone(rms_db=-50.0)), segment(tone(rms_db=-90.0))]
    assert_stage(LoudnessStage(min_db=-40), segments, skipped={"quiet": 2})


def test_segments_without_sound_are_quarantined() -> None:
    segments = [segment(b"no sound file"), {"audio": None, "audio_id": "show"}, {"text": "so be it"}]
    reasons = {"unreadable_audio": 1, "missing_audio": 1, "missing_field": 1}
    assert_stage(LoudnessStage(), segments, quarantined=reasons)


def test_min_db_is_a_number() -> None:
    with pytest.raises(ConfigurationError, match="min_db is 10; give a number of dB from -120 to 0"):
        LoudnessStage(min_db=10)
