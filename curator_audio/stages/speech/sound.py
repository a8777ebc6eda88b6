"""Samples to the bytes of a FLAC file, and the bytes of any sound file to samples."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.stopping import held_back
from curator_audio.storage.limits import MAX_UNPACKED_BYTES

Samples = npt.NDArray[np.float32]
"""Mono samples between -1 and 1, of shape (num_samples,)."""

MAX_SAMPLE = 1e9
"""Where full scale is 1: what a float file holds beyond it is no sound."""


MAX_PEAK = 16.0
"""A louder piece (24 dB above full scale) is on another scale, as where samples of 16 bits were saved as floats; it
would become a square wave."""
SAMPLE_RATES = (1000, 1_000_000)
"""The lowest and the highest rate in Hz of a sound; a header may tell of any, and a second at 1 Hz become 16,000."""


MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Those that mp3 has, Hz (ISO/IEC 11172-3, 13818-3, and MPEG-2.5)."""
MP3_BITRATES_KBPS = (8, 320)
"""The lowest and the highest that it has at any rate."""


def check_rate(sample_rate: int) -> None:
    """Check that a sound has a rate in Hz that sounds have.

    Raises:
        RecordError: it has not.
    """
    low, high = SAMPLE_RATES
    if not low <= sample_rate <= high:
        raise RecordError("unreadable_audio", f"its sample rate is {sample_rate} Hz; it takes {low} to {high}")


def repaired(samples: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int]:
    """Samples with 0 for those that are no sound, NaN, infinite or absurdly large, and how many these were.

    Example:
        >>> repaired(np.array([0.5, np.nan, 1e20]))
        (array([0.5, 0. , 0. ]), 2)
    """
    is_sound = np.abs(samples) < MAX_SAMPLE  # which NaN is not
    num_bad = int(samples.size - np.count_nonzero(is_sound))
    return (np.where(is_sound, samples, samples.dtype.type(0)) if num_bad else samples), num_bad


def encode_flac(samples: Samples, sample_rate: int) -> bytes:
    """Mono samples as a 16-bit FLAC file; what is beyond -1 or 1 is clipped.

    Example:
        >>> encode_flac(np.zeros(160, np.float32), 16000)[:4]
        b'fLaC'
    """
    return _encoded(samples, sample_rate, "FLAC")


def encode_wav(samples: Samples, sample_rate: int) -> bytes:
    """Mono samples as a 16-bit WAV file; what is beyond -1 or 1 is clipped.

    Example:
        >>> encode_wav(np.zeros(160, np.float32), 16000)[:4]
        b'RIFF'
    """
    return _encoded(samples, sample_rate, "WAV")


def _encoded(samples: Samples, sample_rate: int, file_format: str) -> bytes:
    import soundfile

    file = io.BytesIO()
    with held_back():
        soundfile.write(file, samples, sample_rate, format=file_format, subtype="PCM_16")
    return file.getvalue()


def mp3_rate(sample_rate: int) -> int:
    """The rate in Hz that an mp3 file of a sound has: its own, or the next higher one that mp3 has.

    Example:
        >>> [mp3_rate(rate) for rate in (16000, 20000, 96000)]
        [16000, 22050, 48000]
    """
    return next((rate for rate in MP3_RATES if rate >= sample_rate), MP3_RATES[-1])


def encode_mp3(samples: Samples, sample_rate: int, bitrate: int) -> bytes:
    """Mono samples as an mp3 file of a constant bitrate, at ``mp3_rate``; its header tells the length to the sample.

    Args:
        samples: the sound.
        sample_rate: its rate, Hz.
        bitrate: kbit/s; where mp3 has no such rate, LAME takes the nearest one.

    Example:
        >>> data = encode_mp3(np.zeros(16000, np.float32), 16000, 64)
        >>> len(decode_sound(data)[0]), round(len(data) * 8 / 1000)
        (16000, 71)
    """
    import av

    from curator_audio.stages.speech.resample import resampled

    rate = mp3_rate(sample_rate)
    file = io.BytesIO()
    blocks = np.concatenate([np.zeros(0, np.float32), *resampled([samples], sample_rate, rate)])
    with held_back(), av.open(file, "w", format="mp3", options={"id3v2_version": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=rate, layout="mono")
        stream.bit_rate = 1000 * bitrate
        frame = av.AudioFrame.from_ndarray(np.clip(blocks, -1, 1)[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for part in (frame, None):
            output.mux(stream.encode(part))
    return file.getvalue()


def decode_sound(data: bytes) -> tuple[Samples, int]:
    """The samples of a short sound file in memory, mixed to mono, and their rate in Hz.

    Raises:
        RecordError: it cannot be decoded, or would be too large.

    Example:
        >>> samples, sample_rate = decode_sound(encode_flac(np.full(160, 0.5, np.float32), 16000))
        >>> float(samples[0]), len(samples), sample_rate
        (0.5, 160, 16000)
    """
    import soundfile

    try:
        with held_back(), soundfile.SoundFile(io.BytesIO(data)) as file:
            num_bytes = 4 * file.frames * file.channels
            if num_bytes > MAX_UNPACKED_BYTES:
                message = f"its {file.frames} samples of {file.channels} channels take {num_bytes} bytes"
                raise RecordError("too_large", f"{message}, more than {MAX_UNPACKED_BYTES}")
            check_rate(file.samplerate)
            samples, sample_rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise RecordError("unreadable_audio", f"the audio cannot be decoded: {error}") from None
    mono: Samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    return mono, int(sample_rate)


def audio_field(samples: Samples, sample_rate: int, segment_id: str) -> dict[str, Any]:
    """The ``audio`` field of a segment's record; its ``path`` is the id's last part."""
    return {"bytes": encode_flac(samples, sample_rate), "path": f"{segment_id.rpartition('/')[2]}.flac"}
