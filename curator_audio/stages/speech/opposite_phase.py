"""Stereo of which one channel is upside down, as by a cable wired the wrong way, and cancels the other in a mix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from curator_audio.stages.speech.sound import Samples

WINDOW_SEC = 0.1
PROBES_PER_SEC = 8000  # as many samples of a second tell how alike two channels are
OPPOSITE = -0.85
"""Correlation of two channels from which on they are of opposite phase: a mix has less than a tenth of their power."""
STILL_OPPOSITE = -0.6
"""The same for what follows, together with what was before."""
OPPOSITE_IN_DETAIL = -0.3
"""The same of the differences between neighbouring probes: hum of opposite phase below a voice that is not has less."""
FORGET = 0.8
"""How much of what a run has been like counts after another window, so that pauses, which are quiet, do not end it."""
MIN_RUN_SEC = 2.0
"""How long channels must be of opposite phase to be taken for it: those of wide stereo are for moments."""
MIN_OPPOSITE = 0.8
"""How much of its power must be in windows of opposite phase."""
MIN_POWER = 1e-8
"""Of the quieter channel, where full scale is 1: what is below (-80 dB) tells nothing."""
MIN_SHARE = 1e-3
"""The same as a share of the loudest window so far: what pauses are like tells nothing (-30 dB)."""

_Sums = npt.NDArray[np.float64]
"""Power of the left and the right channel, and what they share, of shape (3, …)."""


class OppositePhase:
    """Mixes stereo to the mean of its channels, and takes the louder one where they are of opposite phase.

    The correlation of the channels tells, in windows of 0.1 s: it is -1 where one is the other upside down, however
    loud, and near 0 where they have little in common, or one comes later. Where it stays low for two seconds, or for
    most of a shorter recording, one channel is taken, from the first window of the run to its last one, so that a
    recording may change within; in a recording in which this was found it is believed at once from then on. Up to two
    seconds are held until they are decided on; nothing is read twice.

    Attributes:
        sec: for how long channels were of opposite phase.

    Example:
        >>> left = np.sin(np.arange(48000) / 10).astype(np.float32)
        >>> found = OppositePhase()
        >>> (mono,) = found.mixed([np.stack([left, -left / 2])], 16000)
        >>> bool((mono == left).all()), round(found.sec, 3)
        (True, 3.0)
    """

    def __init__(self) -> None:
        self.sec = 0.0
        self._taken: int | None = None  # the channel, once it was needed
        self._sounding_sec = 0.0
        self._loudest = 0.0

    def mixed(self, blocks: Iterable[Samples], sample_rate: int) -> Iterator[Samples]:
        """Blocks of shape (num_samples,) of blocks of shape (2, num_samples), as many samples, cut otherwise."""
        run = _Run()
        for channels in filter(np.size, blocks):
            starts, sums, is_opposite = self._windows(channels, sample_rate)
            if not run.num_samples and not is_opposite.any():
                yield _mean(channels)
                continue
            made: list[Samples] = []
            for number, (start, end) in enumerate(zip(starts, [*starts[1:], channels.shape[1]])):
                window = channels[:, start:end]
                if not run.takes(window, sums[:, number], bool(is_opposite[number])):
                    made.extend(map(_mean, [*run.held, window]))
                    run = _Run()
                elif self._taken is not None:
                    made.extend(self._one(run, sample_rate))
                elif run.num_samples >= MIN_RUN_SEC * sample_rate:
                    made.extend(self._decided(run, sample_rate))
            if made:
                yield np.concatenate(made)
        if run.held:
            is_most = 2 * run.num_samples >= self._sounding_sec * sample_rate
            yield np.concatenate(self._decided(run, sample_rate) if is_most else [_mean(window) for window in run.held])

    def _decided(self, run: _Run, sample_rate: int) -> list[Samples]:
        """What is held of a run that is long enough."""
        left, right, _ = run.total
        if run.opposite_power >= MIN_OPPOSITE * (left + right):
            return self._one(run, sample_rate)
        held, run.held, run.num_samples = run.held, [], 0
        return [_mean(window) for window in held]

    def _one(self, run: _Run, sample_rate: int) -> list[Samples]:
        """The same as one channel."""
        if self._taken is None:
            left, right, _ = run.total
            self._taken = int(right > 1.5 * left)
        held, run.held = run.held, []
        self.sec += sum(window.shape[1] for window in held) / sample_rate
        return [window[self._taken] for window in held]

    def _windows(self, channels: Samples, sample_rate: int) -> tuple[list[int], _Sums, npt.NDArray[np.bool_]]:
        """Where the windows of a block start, what they sum to, and which of them are of opposite phase."""
        step = max(1, sample_rate // PROBES_PER_SEC)
        probes = channels[:, ::step]
        length = min(max(1, int(WINDOW_SEC * sample_rate) // step), probes.shape[1])  # of a window, in probes
        num_windows = probes.shape[1] // length  # the last one goes on to the end of the block
        probes = probes[:, : num_windows * length].reshape(2, num_windows, length)
        probes = probes - probes.mean(axis=2, keepdims=True)  # what does not move is no sound, and hides it
        sums = _sums(probes)
        power = np.minimum(sums[0], sums[1]) / length  # of the quieter channel
        self._loudest = max(self._loudest, float(power.max()))
        is_sounding = power > max(MIN_POWER, MIN_SHARE * self._loudest)
        self._sounding_sec += int(np.count_nonzero(is_sounding)) * length * step / sample_rate
        is_opposite = is_sounding & (_correlation(sums) <= OPPOSITE)
        if is_opposite.any():
            is_opposite &= _correlation(_sums(np.diff(probes, axis=2))) <= OPPOSITE_IN_DETAIL
        return list(range(0, num_windows * length * step, length * step)), sums, is_opposite


class _Run:
    """Windows of opposite phase, one after the other.

    Attributes:
        num_samples: how long it is, 0 for none.
        held: its windows that were not given out.
        total: what it was like.
        opposite_power: how much of that, of both channels, was in windows of opposite phase.
    """

    def __init__(self) -> None:
        self.num_samples = 0
        self.held: list[Samples] = []
        self.total: _Sums = np.zeros(3)
        self.opposite_power = 0.0
        self._lately: _Sums = np.zeros(3)

    def takes(self, window: Samples, sums: _Sums, is_opposite: bool) -> bool:
        """Whether a window belongs to it, which then holds it."""
        if not is_opposite and not self.num_samples:
            return False
        lately = self._lately * FORGET + sums
        if not is_opposite and _correlation(lately) > STILL_OPPOSITE:
            return False
        self._lately = lately
        self.total += sums
        self.opposite_power += (sums[0] + sums[1]) * is_opposite
        self.num_samples += window.shape[1]
        self.held.append(window)
        return True


def _sums(probes: Samples) -> _Sums:
    left, right = probes
    return np.array(
        [np.einsum("wp,wp->w", *pair) for pair in ((left, left), (right, right), (left, right))], np.float64
    )


def _correlation(sums: _Sums) -> npt.NDArray[np.float64]:
    left, right, shared = sums
    correlation: npt.NDArray[np.float64] = shared / np.sqrt(np.maximum(left * right, 1e-30))
    return correlation


def _mean(channels: Samples) -> Samples:
    mean: Samples = channels[0] + channels[1]
    mean *= np.float32(0.5)
    return mean
