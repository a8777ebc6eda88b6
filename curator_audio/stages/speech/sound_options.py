"""What is taken of a recording: its track, its channel, and the clock that places its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError

SAMPLES, CONTAINER = "samples", "container"
MIX, EACH = "mix", "each"
DEFAULT_TRACK = "default"
_SIDES = ("left", "right")


@dataclass(frozen=True)
class SoundOptions:
    """How a recording becomes one signal; the parameters of the same names of stages that decode.

    Args:
        timeline: ``samples`` puts the samples end to end, as recognisers that decode a file do; ``container`` puts them
            where its timestamps say, as players do: gaps and late starts become silence, and what overlaps is dropped.
        channel: ``mix``, a number from 0, ``left`` or ``right``; ``each`` for all of them, side by side.
        audio_track: ``default`` for the one that players take, a number from 0 among the audio tracks, or the language
            it is in, such as ``de`` or ``deu``.

    Raises:
        ConfigurationError: one of them is none of these.

    Example:
        >>> SoundOptions(channel="middle")
        Traceback (most recent call last):
            ...
        curator_audio.errors.ConfigurationError: channel is 'middle'; give mix, left, right, each or a number from 0
    """

    timeline: str = "samples"
    channel: str | int = MIX
    audio_track: str | int = DEFAULT_TRACK

    def __post_init__(self) -> None:
        if self.timeline not in (SAMPLES, CONTAINER):
            raise ConfigurationError(f"timeline is {self.timeline!r}; give samples or container")
        if _number(self.channel) is None and self.channel not in (MIX, EACH, *_SIDES):
            raise ConfigurationError(f"channel is {self.channel!r}; give mix, left, right, each or a number from 0")
        track = self.audio_track
        if _number(track) is None and not (isinstance(track, str) and track.replace("-", "").isalpha()):
            raise ConfigurationError(
                f"audio_track is {track!r}; give default, a number from 0, or a language such as en or deu"
            )

    @property
    def channel_number(self) -> int | None:
        """The number of the channel where one is asked for by its number."""
        return _number(self.channel)

    @property
    def track_number(self) -> int | None:
        """The number of the track where one is asked for by its number."""
        return _number(self.audio_track)


def refuse_each(stage: str, channel: Any) -> None:
    """Refuse ``channel: each`` for a stage whose records are of one signal.

    Raises:
        ConfigurationError: it is asked for.
    """
    if channel == EACH:
        raise ConfigurationError(
            f"channel is 'each', but {stage} takes one signal of a recording; give mix, left, right or a number from 0"
        )


def _number(value: Any) -> int | None:
    """A whole number from 0, as such or in digits; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
