"""Channels to one signal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.stages.speech.opposite_phase import OppositePhase
from curator_audio.stages.speech.sound import Samples
from curator_audio.stages.speech.sound_options import EACH, MIX, SoundOptions

_FRONT, _MIDDLE, _SURROUND = math.sqrt(0.5), 1.0, 0.5
_WEIGHTS = {
    **dict.fromkeys(("FL", "FR", "FLC", "FRC", "WL", "WR", "DL", "DR", "TFL", "TFR"), _FRONT),
    **dict.fromkeys(("FC", "TFC", "TC"), _MIDDLE),
    **dict.fromkeys(("LFE", "LFE2"), 0.0),
}
_NO_NAME = "NONE"
_SIDES = {"left": ("FL", "DL"), "right": ("FR", "DR")}


class Downmix:
    """Makes one signal of the channels of a recording.

    Args:
        options: which of them are asked for.
        path: the recording, for messages.
        num_channels: how many it has at first, and so for ``each``.

    Attributes:
        opposite_phase: what was found of stereo of which one channel is upside down.
    """

    def __init__(self, options: SoundOptions, path: str, num_channels: int) -> None:
        self.opposite_phase = OppositePhase()
        self._options, self._path, self._num_channels = options, path, num_channels

    def mixed(self, blocks: Iterable[Samples], names: Sequence[str], sample_rate: int) -> Iterator[Samples]:
        """What is asked for, in blocks of shape (num_samples,), or of (num_samples, num_channels) for ``each``.

        Args:
            blocks: samples of shape (num_channels, num_samples).
            names: the channels' names in FFmpeg's way (``FL``, ``LFE``), ``NONE`` for one without.
            sample_rate: their rate in Hz.

        Raises:
            RecordError: a channel that is asked for is not there (``no_such_channel``).
        """
        if self._options.channel == EACH:
            yield from map(self._each, blocks)
        elif self._options.channel != MIX:
            number = self.number(names)
            yield from (channels[number] for channels in blocks)
        elif len(names) == 1:
            yield from (channels[0] for channels in blocks)
        elif len(names) == 2:
            yield from self.opposite_phase.mixed(blocks, sample_rate)
        else:
            weights = mix_weights(names)
            yield from (weights @ channels for channels in blocks)

    def check(self, names: Sequence[str]) -> None:
        """Refuse a recording that has not the channel that is asked for.

        Raises:
            RecordError: as ``mixed``.
        """
        if self._options.channel not in (MIX, EACH):
            self.number(names)

    def number(self, names: Sequence[str]) -> int:
        """The place of the channel that is asked for, by its number or its side."""
        channel, number = self._options.channel, self._options.channel_number
        if number is None:
            if len(names) == 2 and set(names) == {_NO_NAME}:  # every player takes these for left and right
                names = ("FL", "FR")
            number = next((place for place, name in enumerate(names) if name in _SIDES[str(channel)]), len(names))
        if number < len(names):
            return number
        known = ", ".join(str(place) if name == _NO_NAME else f"{place} ({name})" for place, name in enumerate(names))
        raise RecordError("no_such_channel", f"{self._path} has no channel {channel}; it has {known}")

    def _each(self, channels: Samples) -> Samples:
        if len(channels) == 1:
            channels = np.repeat(channels, self._num_channels, axis=0)
        if len(channels) != self._num_channels:
            found = f"{self._path} turns from {self._num_channels} channels to {len(channels)}"
            raise RecordError("no_such_channel", found)
        return np.ascontiguousarray(channels.T)


def mix_weights(names: Sequence[str]) -> npt.NDArray[np.float32]:
    """The share of each channel in the mix to one; channels without a name are all alike.

    By ITU-R BS.775-3, table 2: left and right by sqrt(1/2), the centre by 1, those at the sides and behind by 1/2;
    without low frequency effects. Divided by their sum, so that nothing is clipped, as FFmpeg does with whole numbers.

    Example:
        >>> mix_weights(["FL", "FR", "FC", "LFE", "BL", "BR"]).round(4).tolist() == [
        ...     np.float32(weight) for weight in (0.2071, 0.2071, 0.2929, 0, 0.1464, 0.1464)]
        True
    """
    weights = np.array([_WEIGHTS.get(name, _SURROUND) for name in names])
    if _NO_NAME in names or not weights.any():
        weights = np.ones(len(names))
    shares: npt.NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return shares
