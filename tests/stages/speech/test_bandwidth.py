"""How far up the estimated bandwidth reaches: signals cut at a known frequency, and those that were not cut."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.stages.speech.bandwidth import SpectrumAverage, bandwidth_hz
from curator_audio.stages.speech.sound import Samples
from tests.extras import needs_program

# ---- signals


def noise(seconds: float, rate: int, octave_db: float = 0.0, seed: int = 0) -> Samples:
    """Noise that falls by so many dB an octave above 100 Hz: 0 is white, 3 pink, 6 brown."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(seconds * rate)))
    octaves = np.log2(np.maximum(frequencies_of(spectrum, rate), 100) / 100)
    samples = np.fft.irfft(spectrum * 10 ** (-octave_db * octaves / 20), round(seconds * rate))
    return (0.1 * samples / samples.std()).astype(np.float32)


@cache
def speech(seconds: float, rate: int, hissing: bool = True) -> Samples:
    """Something like speech: four syllables a second, each a gliding voice with three formants, an s and a pause."""
    num_samples = round(seconds * rate)
    rng = np.random.default_rng(1)
    pulses = np.zeros(num_samples)
    time = 0.0
    while time * rate < num_samples:
        pulses[int(time * rate)] = 1.0
        time += 1 / (150 + 60 * np.sin(4 * time))
    spectrum = np.fft.rfft(pulses + 0.05 * rng.standard_normal(num_samples))
    frequencies = frequencies_of(spectrum, rate)
    formants = sum(1 / (1 + ((frequencies - center) / 150) ** 2) for center in (500, 1500, 2500))
    voice = np.fft.irfft(spectrum * (formants + 0.1) / (1 + (frequencies / 300) ** 2), num_samples)
    hiss = noise(seconds, rate) - lowpass(noise(seconds, rate), rate, 3000)
    within = (np.arange(num_samples) / rate * 4) % 1
    samples = voice / voice.std() * (within < 0.6) + 0.3 * hiss * ((within > 0.6) & (within < 0.8) & hissing)
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


def frequencies_of(spectrum: np.ndarray, rate: int) -> np.ndarray:
    return np.fft.rfftfreq(2 * len(spectrum) - 2, 1 / rate)


# ---- filters


def brick_wall(samples: Samples, rate: int, cut: float) -> Samples:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(len(samples), 1 / rate) > cut] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def lowpass(samples: Samples, rate: int, cut: float) -> Samples:
    """A windowed sinc that goes from 1 to -90 dB over 4 % of the cut-off frequency, half-way at the cut-off."""
    half = round(2.9 / 0.04 * rate / cut)
    taps = np.sinc(2 * cut / rate * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, 9.0) * 2 * cut / rate
    size = len(samples) + len(taps)
    filtered = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(taps, size), size)
    return filtered[half : half + len(samples)].astype(np.float32)


def resampled(samples: Samples, rate: int, cut: float) -> Samples:
    """What comes back from a file of twice the cut-off frequency."""
    import soxr

    there = soxr.resample(samples, rate, 2 * cut, quality="HQ")
    back: Samples = soxr.resample(there, 2 * cut, rate, quality="HQ")[: len(samples)]
    return back


FILTERS = [brick_wall, lowpass, resampled]
Filter = Callable[[Samples, int, float], Samples]


def in_16_bits(samples: Samples) -> Samples:
    return (np.round(np.clip(samples, -1, 1) * 32767) / 32768).astype(np.float32)


def error(samples: Samples, rate: int, cut: float) -> float:
    return abs(bandwidth_hz(samples, rate) / cut - 1)


# ---- cut at a known frequency


@pytest.mark.parametrize("filtered", FILTERS)
@pytest.mark.parametrize("octave_db", [0, 6])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_noise(rate: int, octave_db: float, filtered: Filter) -> None:
    for cut in (1000, 2000, 3400, 4000, 5250, 7500, 8000, 10000, 12000, 16000):
        for seconds in (0.3, 1.0):
            if cut < 0.95 * rate / 2:
                samples = filtered(noise(seconds, rate, octave_db), rate, cut)
                assert error(samples, rate, cut) < 0.05
                assert error(in_16_bits(samples), rate, cut) < 0.05


@pytest.mark.parametrize("filtered", FILTERS)
@pytest.mark.parametrize("cut", [3400, 4000, 5250, 7500, 8000, 10000])
def test_speech(cut: int, filtered: Filter) -> None:
    for rate in (16000, 24000, 48000):
        if cut < 0.95 * rate / 2:
            check_speech(rate, cut, filtered)


def check_speech(rate: int, cut: int, filtered: Filter) -> None:
    samples = filtered(speech(2.0, rate), rate, cut)
    assert error(samples, rate, cut) < 0.05
    assert error(in_16_bits(samples), rate, cut) < 0.05
    assert error(in_16_bits(0.05 * samples), rate, cut) < 0.05
    assert error(samples[: rate // 2], rate, cut) < 0.05


def test_speech_here_falls_as_speech_does() -> None:
    samples = speech(3.0, 48000)
    power = np.abs(np.fft.rfft(samples.reshape(30, 4800) * np.hanning(4800), axis=1)) ** 2
    level = 10 * np.log10(power.mean(axis=0).reshape(-1)[:2400].reshape(24, 100).mean(axis=1))  # by kHz
    assert 40 < level[0] - level[8] < 60


@pytest.mark.parametrize("cut", [3400, 5250, 8000])
def test_a_segment_without_a_fricative(cut: int) -> None:
    samples = lowpass(speech(2.0, 48000, hissing=False), 48000, cut)
    assert error(samples, 48000, cut) < 0.05
    assert error(in_16_bits(samples), 48000, cut) < 0.05


@pytest.mark.parametrize("cut", [3400, 8000])
def test_what_clipping_adds_does_not_count(cut: int) -> None:
    samples = lowpass(speech(2.0, 48000), 48000, cut)
    clipped = np.clip(samples, -0.8 * samples.max(), 0.8 * samples.max())
    assert error(clipped, 48000, cut) < 0.05


def test_offset_rumble_and_hum_do_not_count() -> None:
    seconds = np.arange(96000) / 48000
    disturbance = 0.3 + 0.2 * np.sin(2 * np.pi * 20 * seconds) + 0.05 * np.sin(2 * np.pi * 100 * seconds)
    samples = lowpass(speech(2.0, 48000), 48000, 4000) + disturbance.astype(np.float32)
    assert error(samples, 48000, 4000) < 0.05


@settings(max_examples=30, deadline=None)
@given(cut=st.floats(1000, 7500), gain=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_any_cut_at_any_gain(cut: float, gain: float, seed: int) -> None:
    samples = lowpass(noise(0.5, 16000, 3, seed), 16000, cut)
    assert error(np.float32(gain) * samples, 16000, cut) < 0.05


@pytest.mark.parametrize("filtered", FILTERS)
@pytest.mark.parametrize("cut", [3400, 5250, 8000, 10000])
def test_synthetic_voice(cut: int, filtered: Filter, tmp_path: Path) -> None:
    import soundfile

    text = "She sells sea shells by the sea shore, and knows the shells she sells are sea shells."
    subprocess.run([needs_program("espeak-ng"), "-w", str(tmp_path / "voice.wav"), text], check=True)
    samples, rate = soundfile.read(tmp_path / "voice.wav", dtype="float32")
    assert rate == 22050
    assert error(in_16_bits(filtered(samples, rate, cut)), rate, cut) < 0.05


# ---- not cut


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_the_full_band(rate: int) -> None:
    for octave_db in (0, 3, 6):
        for seconds in (0.3, 1.0):
            samples = noise(seconds, rate, octave_db)
            assert error(samples, rate, rate / 2) < 0.01
            assert error(in_16_bits(samples), rate, rate / 2) < 0.01
    assert error(speech(2.0, rate), rate, rate / 2) < 0.05


@pytest.mark.parametrize("margin_db", [20, 30, 50, 70])
def test_without_an_edge_the_margin_decides(margin_db: float) -> None:
    spectrum = np.fft.rfft(noise(4.0, 48000))
    fall_db = frequencies_of(spectrum, 48000) / 100  # 10 dB a kHz
    samples = np.fft.irfft(spectrum * 10 ** (-fall_db / 20)).astype(np.float32)
    assert bandwidth_hz(samples, 48000, margin_db) == pytest.approx(100 * margin_db, rel=0.1)


def test_any_margin_will_do() -> None:
    assert [0 < bandwidth_hz(noise(0.2, 16000), 16000, margin_db) <= 8000 for margin_db in (0, 1, 200)] == [True] * 3


# ---- nothing there


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(48000),
        np.full(48000, 0.25),
        np.zeros(0),
        noise(0.09, 48000),
        np.full(48000, np.nan),
        np.where(np.arange(48000) == 30000, np.nan, noise(1.0, 48000)),
        np.where(np.arange(48000) == 30000, np.inf, noise(1.0, 48000)),
    ],
    ids=["silence", "offset", "empty", "short", "nan", "a_nan", "an_inf"],
)
def test_no_bandwidth(samples: np.ndarray) -> None:
    assert bandwidth_hz(samples.astype(np.float32), 48000) == 0.0


@pytest.mark.parametrize("rate", [1, 10, 100, 1000])
def test_rates_at_which_there_is_no_speech(rate: int) -> None:
    assert 0.0 <= bandwidth_hz(noise(100.0, rate), rate) <= rate / 2


# ---- block by block


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 16000), max_size=12))
def test_blocks_are_as_good_as_the_whole(cuts: list[int]) -> None:
    samples = lowpass(noise(1.0, 16000), 16000, 3000)
    average = SpectrumAverage(16000)
    for block in np.split(samples, sorted(cuts)):
        average.add(block)
    assert average.bandwidth_hz() == bandwidth_hz(samples, 16000)
    assert average.num_frames == 19  # of 0.1 s, one every 0.05 s
