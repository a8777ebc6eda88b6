"""Up to which frequency a signal has content: its bandwidth, as a filter, a codec or a telephone line left it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.stages.speech.sound import Samples

Floats = npt.NDArray[np.floating[Any]]

MARGIN_DB = 75.0
"""How far below the peak of its spectrum a signal's content may lie.

The long-term spectrum of speech falls by 40 to 60 dB up to 8 kHz, by 70 dB up to 12 kHz where a segment has no
fricatives; what 16 bits cannot represent lies 75 to 90 dB below the peak of speech at its usual level.
"""

EDGE_DB = 15.0
"""An edge is a fall by this much within ``EDGE_WIDTH``, with nothing louder above; speech itself has none."""

EDGE_WIDTH = 0.05
"""As a share of the frequency."""

MIN_EDGE_HZ = 900.0
"""What falls steeply below this is hum, or the harmonics of a voice."""

MIN_HZ = 60.0
"""What is below is no sound one hears, but would be the peak: an offset, rumble."""

FRAME_SEC = 0.1
_FRAMES_AT_ONCE = 16  # about the processor's cache


def bandwidth_hz(samples: Samples, sample_rate: int, margin_db: float = MARGIN_DB) -> float:
    """The highest frequency at which a signal has content, in Hz.

    The spectrum is averaged over the whole signal (Welch, "The use of fast Fourier transform for the estimation of
    power spectra", 1967: frames of 0.1 s, each half over the next, a Blackman window). Where it falls off an edge, the
    bandwidth is where it is half way down, in dB: what is behind the edge (rounding to 16 bits, clipping, noise of a
    codec) does not count then, nor does it matter how weak the speech before it is. Where there is no edge, it is the
    highest frequency with a level within ``margin_db`` of the peak.

    Measured on white, pink and brown noise cut at 1 to 16 kHz (0.3 and 1 s, at 8 to 48 kHz) and on speech cut at 3.4 to
    10 kHz (0.5 s and more), as they are and in 16 bits: 0.5 to 3 % above the cut-off frequency of a steep filter; 1 to
    4.6 % below half the rate of a file that the sound was resampled to, as a resampler begins to filter before that.
    Where nothing was cut: half of ``sample_rate`` for noise, at most 8 % less for speech. A filter that is not steep
    leaves no edge: noise behind one that falls by 96 dB an octave measures up to 78 % more.

    Args:
        samples: mono samples of shape (num_samples,).
        sample_rate: their rate in Hz.
        margin_db: how far below the peak content may lie.

    Returns:
        The frequency; 0.0 for silence, for less than one frame, and where samples are not finite.

    Example:
        >>> noise = np.random.default_rng(0).standard_normal(48000)
        >>> spectrum = np.fft.rfft(noise)
        >>> spectrum[4000:] = 0  # which is 4000 Hz, as there is one second
        >>> bandwidth_hz(np.fft.irfft(spectrum).astype(np.float32), 48000)
        4060.0
    """
    average = SpectrumAverage(sample_rate)
    average.add(samples)
    return average.bandwidth_hz(margin_db)


class SpectrumAverage:
    """The mean power spectrum of a signal that comes block by block; it takes no more memory for a longer one.

    Args:
        sample_rate: the signal's rate in Hz.

    Attributes:
        num_frames: how many frames the mean is of.

    Example:
        >>> average = SpectrumAverage(16000)
        >>> for _ in range(4):
        ...     average.add(np.zeros(1000, np.float32))
        >>> average.num_frames, average.bandwidth_hz()
        (4, 0.0)
    """

    def __init__(self, sample_rate: int) -> None:
        self.num_frames = 0
        self._hop = max(1, round(sample_rate * FRAME_SEC / 2))
        self._window = np.blackman(2 * self._hop + 1)[:-1]
        self._frequencies = np.fft.rfftfreq(len(self._window), 1 / sample_rate)
        self._power = np.zeros(len(self._frequencies))
        self._rest: Samples = np.zeros(0, np.float32)

    def add(self, samples: Samples) -> None:
        """Take the next samples, of shape (num_samples,); any number of them."""
        if len(self._rest):
            samples = np.concatenate([self._rest, samples])
        num_frames = max(0, len(samples) // self._hop - 1)
        if num_frames:
            frames = np.lib.stride_tricks.sliding_window_view(samples, len(self._window))[:: self._hop]
            with np.errstate(all="ignore"):  # samples that are not finite
                for first in range(0, num_frames, _FRAMES_AT_ONCE):
                    spectra = np.fft.rfft(frames[first : first + _FRAMES_AT_ONCE] * self._window)
                    self._power += (spectra.real**2 + spectra.imag**2).sum(axis=0)
        self.num_frames += num_frames
        self._rest = samples[num_frames * self._hop :].copy()

    def bandwidth_hz(self, margin_db: float = MARGIN_DB) -> float:
        """The bandwidth of what was added so far, as ``bandwidth_hz`` explains."""
        power = np.where(self._frequencies < MIN_HZ, 0.0, self._power)
        peak = power.max()
        if not peak > 1e-10 * self._power.max():  # silence, an offset and nothing else, or NaN
            return 0.0
        return float(self._frequencies[_last_in_band(self._frequencies, power / peak, margin_db)])


def _last_in_band(frequencies: Floats, power: Floats, margin_db: float) -> int:
    """The index of the bandwidth in a power spectrum with a peak of 1.

    An edge is sought as the greatest fall from the mean level of the tenth of the spectrum up to a frequency to the
    highest level from ``EDGE_WIDTH`` above it on.
    """
    power = np.maximum(power, 10 ** (-(margin_db + 20) / 10))  # so that no edge is sought in what is next to nothing
    index = np.arange(len(power), dtype=np.float64)
    level = _mean_db(power, index * 0.99, index * 1.01)
    before = _mean_db(power, index * 0.9, index)
    highest_from = np.maximum.accumulate(level[::-1])[::-1]
    behind = np.ceil(index * (1 + EDGE_WIDTH)).astype(int)
    can_be_edge = (frequencies >= MIN_EDGE_HZ) & (behind < len(power))
    after = highest_from[np.where(can_be_edge, behind, 0)]
    fall = np.where(can_be_edge, before - after, 0.0)
    edge = int(fall.argmax())
    threshold = (before[edge] + after[edge]) / 2 if fall[edge] >= EDGE_DB else level.max() - margin_db
    return int(np.flatnonzero(level >= threshold)[-1])


def _mean_db(power: Floats, first: Floats, last: Floats) -> Floats:
    """The level in dB of the mean power from each ``first`` to each ``last`` index, rounded and included."""
    starts = np.round(first).astype(int)
    ends = np.minimum(np.round(last).astype(int) + 1, len(power))
    sums = np.concatenate([[0.0], np.cumsum(power)])
    levels: Floats = 10 * np.log10((sums[ends] - sums[starts]) / (ends - starts))
    return levels
