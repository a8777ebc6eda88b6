"""A segment's sound, decoded no sooner than a codec wants it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.storage.limits import MAX_UNPACKED_BYTES

if TYPE_CHECKING:
    from curator_audio.stages.speech.sound import Samples

KNOWN_LENGTH = ("FLAC", "WAV")
"""Formats whose header tells the number of samples exactly."""


class SegmentClip:
    """Mono samples at the codec's rate, of a sound file in memory.

    FLAC and WAV files of that rate are decoded when an array is asked for, which a codec does for one batch while its
    device computes another. What is then found to be broken is silence, with ``error`` set. Samples that are no
    numbers become 0.

    Args:
        data: the sound file.
        sample_rate: the codec's, in Hz; sound of another rate is resampled.

    Raises:
        RecordError: it cannot be decoded.

    Example:
        >>> from curator_audio.stages.speech.sound import encode_flac
        >>> clip = SegmentClip(encode_flac(np.full(800, 0.5, np.float32), 8000), sample_rate=16000)
        >>> len(clip), np.asarray(clip).shape
        (1600, (1600,))
    """

    def __init__(self, data: bytes, sample_rate: int) -> None:
        import soundfile

        self.error: RecordError | None = None
        self._data = data
        try:
            header = soundfile.info(io.BytesIO(data))
        except (soundfile.SoundFileError, RuntimeError, OSError) as error:
            raise RecordError("unreadable_audio", f"the audio cannot be decoded: {error}") from None
        if 4 * header.frames * header.channels > MAX_UNPACKED_BYTES:  # which may well be a lie
            raise RecordError("too_large", f"the audio has {header.frames} samples of {header.channels} channels")
        self._samples: Samples | None = None
        self._num_samples = int(header.frames)
        if header.format not in KNOWN_LENGTH or header.samplerate != sample_rate:
            self._samples = _decoded(data, sample_rate)
            self._num_samples = len(self._samples)

    def __len__(self) -> int:
        return self._num_samples

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return np.asarray(self._decode() if self._samples is None else self._samples, dtype)

    def _decode(self) -> Samples:
        try:
            samples = _decoded(self._data)
            if len(samples) != self._num_samples:
                raise RecordError(
                    "unreadable_audio",
                    f"the audio has {len(samples)} samples, but its header tells of {self._num_samples}; "
                    "it was cut off, write it again",
                )
        except RecordError as error:
            self.error = error
            return np.zeros(self._num_samples, np.float32)
        return samples


def _decoded(data: bytes, sample_rate: int | None = None) -> Samples:
    from curator_audio.stages.speech.sound import decode_sound, repaired

    samples, rate = decode_sound(data)
    samples, _ = repaired(samples)
    if sample_rate is None or rate == sample_rate:
        return samples
    import soxr

    resampled: Samples = soxr.resample(samples, rate, sample_rate, quality="HQ")
    return resampled
