"""Channels that cancel each other are noticed, and those that only look like it for a while are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.stages.speech.opposite_phase import OppositePhase
from tests.stages.speech.sound_files import by_second, decoded, tones, write_sound

RATE = 16000
DURATION_SEC = 12


def voice(seed: int = 0) -> np.ndarray:
    """Something like a voice: harmonics of a pitch that moves, below two formants, with pauses; float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(DURATION_SEC * RATE) / RATE
    pitch = 110 + 25 * seed + 25 * np.sin(2 * np.pi * 0.7 * time) + rng.normal(0, 4, DURATION_SEC)[time.astype(int)]
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    harmonics = (
        np.sin(k * phase) * (np.exp(-(((k * pitch - 500) / 400) ** 2)) + np.exp(-(((k * pitch - 1500) / 300) ** 2)) / 2)
        for k in range(1, 20)
    )
    is_speaking = np.sin(2 * np.pi * 1.3 * time + seed) > -0.5
    return (0.15 * is_speaking * sum(harmonics)).astype(np.float32)


def noise(share: float, seed: int) -> np.ndarray:
    return (share * np.random.default_rng(seed).normal(0, 1, DURATION_SEC * RATE)).astype(np.float32)


VOICE, OTHER = voice(), voice(3)
POWER = float(VOICE.std())
TONES = tones(DURATION_SEC, RATE)[: 8 * RATE, 0].astype(np.float32) / 32768


def mixed(left: np.ndarray, right: np.ndarray, lengths: list[int] | None = None) -> tuple[np.ndarray, float]:
    channels, blocks, start = np.stack([left, right]).astype(np.float32), [], 0
    for length in lengths or [RATE] * DURATION_SEC:
        blocks.append(channels[:, start : start + length])
        start += length
    found = OppositePhase()
    mono = np.concatenate(list(found.mixed([*blocks, channels[:, start:]] if start < len(left) else blocks, RATE)))
    return mono, found.sec


# What is of opposite phase ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "taken"),
    [
        (VOICE, -VOICE, 0),
        (VOICE, -0.3 * VOICE, 0),  # inverted and not as loud
        (0.3 * VOICE, -VOICE, 1),
        (VOICE + noise(0.1 * POWER, 1), -VOICE + noise(0.1 * POWER, 2), 0),  # each with its amplifier's noise
        (VOICE + 0.1, -VOICE + 0.1, 0),  # of cards that add something that does not move
        (VOICE, 0.15 * OTHER - 0.8 * VOICE, 0),  # and something else in one of them
    ],
)
def test_one_channel_is_taken(left: np.ndarray, right: np.ndarray, taken: int) -> None:
    mono, sec = mixed(left, right)
    assert np.array_equal(mono, (left, right)[taken].astype(np.float32))
    assert sec == pytest.approx(DURATION_SEC, abs=0.5)


@pytest.mark.parametrize("start_sec", [0.0, 4.35])
def test_only_a_part_of_a_recording(start_sec: float) -> None:
    is_part = (np.arange(len(VOICE)) >= start_sec * RATE) & (np.arange(len(VOICE)) < 9.5 * RATE)
    mono, sec = mixed(VOICE, np.where(is_part, -VOICE, VOICE))
    assert sec == pytest.approx(9.5 - start_sec, abs=0.7)
    lost = np.flatnonzero(np.abs(mono - VOICE) > 0.001)
    assert len(lost) < 0.1 * RATE  # no more than the window in which it begins


def test_once_it_is_known_a_word_is_enough() -> None:
    time = np.arange(len(VOICE)) / RATE
    is_speaking = (time < 4) | ((time >= 9) & (time < 9.6))
    left = VOICE * is_speaking + noise(0.02 * POWER, 1)
    mono, _ = mixed(left, -VOICE * is_speaking + noise(0.02 * POWER, 2))
    word = slice(9 * RATE + RATE // 10, 9 * RATE + RATE // 2)
    assert np.array_equal(mono[word], left[word])


@pytest.mark.parametrize("duration_sec", [0.05, 0.3, 1.5])
def test_a_short_recording(duration_sec: float) -> None:
    length = int(duration_sec * RATE)
    mono, sec = mixed(VOICE[:length], -VOICE[:length], [length])
    assert np.array_equal(mono, VOICE[:length]) and sec == pytest.approx(duration_sec)


# What is not --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (VOICE, VOICE),
        (VOICE, OTHER),  # two people
        (VOICE, 0 * VOICE),
        (0 * VOICE, 0 * VOICE),
        *((VOICE, np.roll(VOICE, delay)) for delay in (1, 4, 8, 16, 32, 64, 160)),
        *((noise(0.1, 1), np.roll(noise(0.1, 1), delay)) for delay in (1, 3, 10, 100)),
        *((VOICE + width * OTHER, VOICE - width * OTHER) for width in (0.3, 1.0, 2.0)),  # wide stereo
        (VOICE + noise(0.1, 1), VOICE - noise(0.1, 1)),
        *((TONES, np.roll(TONES, delay)) for delay in (4, 8, 16, 24, 80)),
        (np.sin(np.arange(len(VOICE)) / 6), np.sin(np.arange(len(VOICE)) / 6.01)),  # a chorus
    ],
)
def test_the_mean_is_taken(left: np.ndarray, right: np.ndarray) -> None:
    mono, sec = mixed(left, right)
    assert sec == 0
    assert np.allclose(mono, (left + right) / 2, atol=1e-6)


def test_hum_of_opposite_phase_is_still_taken_out_of_a_voice() -> None:
    hum = 2 * POWER * np.sin(2 * np.pi * 50 * np.arange(len(VOICE)) / RATE)
    mono, _ = mixed(VOICE * 2 + hum, VOICE * 2 - hum)
    is_loud = np.convolve(np.abs(VOICE), np.ones(1600) / 1600, "same") > POWER / 2
    assert np.allclose(mono[is_loud], 2 * VOICE[is_loud], atol=1e-5)


# How it is cut ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 3 * RATE), max_size=8), st.floats(0, 11))
@settings(max_examples=20, deadline=None)
def test_as_many_samples_come_out_whatever_the_blocks(lengths: list[int], start_sec: float) -> None:
    is_part = np.arange(len(VOICE)) > start_sec * RATE
    kept = [length for number, length in enumerate(lengths) if sum(lengths[: number + 1]) <= len(VOICE)]
    mono, _ = mixed(VOICE, np.where(is_part, -VOICE, VOICE), kept or None)
    assert len(mono) == len(VOICE)
    assert np.all(np.isclose(mono, VOICE) | np.isclose(mono, 0))


@pytest.mark.parametrize(
    ("codec", "suffix"), [("flac", "flac"), ("pcm_s16le", "wav"), ("aac", "m4a"), ("libmp3lame", "mp3")]
)
def test_files(codec: str, suffix: str, tmp_path: Path) -> None:
    sound = tones(3.0, 32000, 2) * np.array([[1, -1]], np.int16)
    recording, samples = decoded(write_sound(tmp_path / f"a.{suffix}", codec, sound, 32000))
    assert by_second(samples, 32000) == [200, 400, 600]
    assert recording.opposite_phase_sec == pytest.approx(3.0, abs=0.2)
