"""What a codec is: sound to codes and back. A further codec is one file with a class of this shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from curator_audio.errors import CuratorError

if TYPE_CHECKING:
    from curator_audio.stages.speech.sound import Samples

Codes = npt.NDArray[np.int32]
"""The codes of one clip, of shape (num_codes,)."""


class Clip(Protocol):
    """Mono samples, or what becomes them when an array is asked for: a clip may be decoded only when it is needed."""

    def __len__(self) -> int: ...

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]: ...


class ClipTooLongError(CuratorError):
    """A clip that does not fit in the device's memory even alone.

    Args:
        index: of the clip among those given.
        message: how long it is, and what to do.
    """

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


@dataclass
class Work:
    """What a codec has done so far.

    Args:
        device_time_sec: how long the device was computing.
        num_batches: batches it was given, those that did not fit included.
        out_of_memory: batches that did not fit in its memory.
    """

    device_time_sec: float = 0.0
    num_batches: int = 0
    out_of_memory: int = 0


class Codec(Protocol):
    """Turns clips into codes, many at once, and codes into sound."""

    sample_rate: int
    """Of the clips it encodes, in Hz."""
    decoded_sample_rate: int
    """Of the clips it decodes to, in Hz."""
    samples_per_code: int
    """At ``sample_rate``."""
    codebook_size: int
    """Codes are at least 0 and less than this."""
    work: Work

    def encode(self, clips: Sequence[Clip]) -> list[Codes]:
        """The codes of mono float32 clips of any lengths, in the order given; none for less than one code's samples.

        Raises:
            ClipTooLongError: a clip that does not fit in the device's memory even alone.
        """

    def decode(self, codes: Sequence[Codes]) -> list[Samples]:
        """The clips that codes stand for, in the order given, at ``decoded_sample_rate``."""
