"""Make sounds of a known level, and segments around them; needs the extra ``audio``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.stages.speech.segments import segment_record
from curator_audio.stages.speech.sound import decode_sound, encode_flac
from curator_audio.tasks import Record


def tone(
    duration_sec: float = 1.0, *, frequency_hz: float = 440.0, rms_db: float = -20.0, sample_rate: int = 16000
) -> bytes:
    """Return a FLAC file of a sine.

    Args:
        duration_sec: its length in seconds.
        frequency_hz: its frequency in Hz.
        rms_db: its level, the root of its mean square in dB of full scale; -3.01 is the loudest sine.
        sample_rate: its sample rate in Hz.

    Raises:
        ValueError: it would be clipped.

    Example:
        >>> samples, sample_rate = decode_sound(tone(0.5, rms_db=-20.0))
        >>> len(samples), sample_rate, round(float(np.sqrt(np.mean(samples**2))), 3)
        (8000, 16000, 0.1)
    """
    times = np.arange(round(duration_sec * sample_rate)) / sample_rate
    return _flac(np.sqrt(2) * np.sin(2 * np.pi * frequency_hz * times), rms_db, sample_rate)


def noise(duration_sec: float = 1.0, *, rms_db: float = -20.0, sample_rate: int = 16000, seed: int = 0) -> bytes:
    """Return a FLAC file of white noise (uniform), the same for the same seed.

    Args:
        duration_sec: its length in seconds.
        rms_db: its level, the root of its mean square in dB of full scale; up to -4.8.
        sample_rate: its sample rate in Hz.
        seed: a number for a noise of its own.

    Raises:
        ValueError: it would be clipped.

    Example:
        >>> noise(seed=1) == noise(seed=1), noise(seed=1) == noise(seed=2)
        (True, False)
    """
    num_samples = round(duration_sec * sample_rate)
    return _flac(np.sqrt(3) * np.random.default_rng(seed).uniform(-1, 1, num_samples), rms_db, sample_rate)


def segment(audio: bytes | None = None, **fields: Any) -> Record:
    """Return the record of a segment, as ``segment`` makes it and the readers of its output give it.

    Args:
        audio: the bytes of a sound file; a second of a tone where not given. Of bytes that cannot be decoded, rate and
            times stay None.
        fields: values of its fields, and fields of one's own.

    Example:
        >>> record = segment(tone(0.5), text="so be it", speaker_id="ann")
        >>> record["segment_id"], record["duration_sec"], record["sample_rate"], record["audio"]["path"]
        ('show_seg_0', 0.5, 16000, 'show_seg_0.flac')
    """
    data = tone() if audio is None else audio
    known: Record = {"segment_id": "show_seg_0", "audio_id": "show", "text": "so be it"}
    with suppress(RecordError):
        samples, sample_rate = decode_sound(data)
        start, duration_sec = fields.get("start", 0.0), len(samples) / sample_rate
        known |= {"start": start, "end": start + duration_sec, "duration_sec": duration_sec, "sample_rate": sample_rate}
    known |= fields
    sound = {"bytes": data, "path": f"{str(known['segment_id']).rpartition('/')[2]}.flac"}
    return segment_record(**{"audio": sound, **known})


def _flac(samples: npt.NDArray[np.float64], rms_db: float, sample_rate: int) -> bytes:
    scaled = samples * 10 ** (rms_db / 20)
    if scaled.size and np.abs(scaled).max() > 1:
        raise ValueError(f"rms_db is {rms_db}, of which the peaks would be clipped; give a lower level")
    return encode_flac(scaled.astype(np.float32), sample_rate)
