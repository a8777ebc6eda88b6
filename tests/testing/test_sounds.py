"""Sounds have the level, the length and the rate that was asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from curator_audio.stages.speech.sound import decode_sound
from curator_audio.testing import noise, segment, tone


@pytest.mark.parametrize("sound", [tone, noise])
@pytest.mark.parametrize(("rms_db", "sample_rate"), [(-6.0, 8000), (-20.0, 16000), (-50.0, 48000)])
def test_level_length_and_rate(sound: Callable[..., bytes], rms_db: float, sample_rate: int) -> None:
    samples, found_rate = decode_sound(sound(0.75, rms_db=rms_db, sample_rate=sample_rate))
    assert (len(samples), found_rate) == (0.75 * sample_rate, sample_rate)
    assert 10 * np.log10(np.mean(samples.astype(float) ** 2)) == pytest.approx(rms_db, abs=0.1)


def test_a_tone_has_its_frequency() -> None:
    samples, _ = decode_sound(tone(1.0, frequency_hz=1234))
    assert np.argmax(np.abs(np.fft.rfft(samples))) == 1234


def test_a_sound_that_would_be_clipped() -> None:
    with pytest.raises(ValueError, match=r"rms_db is 0.0, of which the peaks would be clipped"):
        tone(rms_db=0.0)


def test_a_segment_tells_its_sound() -> None:
    record = segment(noise(0.5, sample_rate=8000), segment_id="news/show_seg_3", start=1.0, loudness_db=-20.0)
    assert record["audio"] == {"bytes": noise(0.5, sample_rate=8000), "path": "show_seg_3.flac"}
    assert (record["sample_rate"], record["duration_sec"], record["end"]) == (8000, 0.5, 1.5)
    broken = segment(b"no sound file")
    assert (broken["audio"]["bytes"], broken["duration_sec"]) == (b"no sound file", None)
    assert (record["loudness_db"], record["gender"], record["codes"]) == (-20.0, None, [])
