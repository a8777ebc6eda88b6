"""The sound of a record, as stages of NeMo Curator take it: a WAV file, or a tensor of samples."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator_audio.errors import RecordError
from curator_audio.interop.nemo_curator.plain import as_array, is_array
from curator_audio.stages.speech.sound import Samples, audio_field, check_rate, decode_sound, repaired
from curator_audio.stopping import held_back
from curator_audio.storage.names import short_name
from curator_audio.tasks import Record

STEP = 1 / 2**15
"""The smallest difference that 16 bits have."""


@dataclass
class HandedSound:
    """What a stage is handed of a record's sound.

    Args:
        sample_rate: in Hz.
        samples: mono, where they are in memory.
        path: the WAV file they are in, else.
    """

    sample_rate: int
    samples: Samples | None = None
    path: str = ""

    def is_as_handed(self, samples: Samples, sample_rate: int) -> bool:
        """Return whether a stage gave back what it was handed, to the precision of 16 bits."""
        if sample_rate != self.sample_rate:
            return False
        handed = self.samples
        if handed is None:
            with open(self.path, "rb") as file:
                handed = decode_sound(file.read())[0]
        return handed.shape == samples.shape and bool(np.all(np.abs(handed - samples) <= STEP))


def name_of(record: Record) -> str:
    """Return the name of a record's sound, without its suffix.

    Example:
        >>> name_of({"audio": {"bytes": b"fLaC", "path": "show_seg_3.flac"}}), name_of({"audio_filepath": "a/show.mp3"})
        ('show_seg_3', 'show')
    """
    audio = record.get("audio")
    names = [
        audio.get("path") if isinstance(audio, dict) else None,
        record.get("segment_id"),
        record.get("audio_filepath"),
    ]
    name = next((name for name in names if isinstance(name, str) and name), "sound")
    return os.path.splitext(name.rstrip("/").rpartition("/")[2])[0] or "sound"


def write_wav(folder: str, name: str, blocks: Iterable[Samples], sample_rate: int) -> str:
    """Write a mono WAV file of 16 bits, and return its path."""
    import soundfile

    path = os.path.join(folder, short_name(f"{name.replace(os.sep, '_')}.wav"))
    with held_back(), soundfile.SoundFile(path, "w", sample_rate, 1, "PCM_16", format="WAV") as file:
        for block in blocks:
            file.write(block)
    return path


def given_back(waveform: Any, sample_rate: Any) -> tuple[Samples, int]:
    """Return the samples that a stage gave, mixed to mono, and their rate.

    Args:
        waveform: an array or tensor of shape (num_samples,) or (num_channels, num_samples).
        sample_rate: in Hz.

    Raises:
        RecordError: it is no sound.
    """
    if not is_array(waveform) and not isinstance(waveform, (list, tuple)):
        raise RecordError("wrong_type", f"the stage's waveform is a {type(waveform).__name__}; samples are needed")
    array = as_array(waveform) if is_array(waveform) else np.asarray(waveform)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu" or not array.size:
        found = f"{array.dtype} of shape {array.shape}; samples of shape (channels, samples) are needed"
        raise RecordError("wrong_type", f"the stage's waveform is {found}")
    if array.dtype.kind != "f":
        array = array / -float(np.iinfo(array.dtype).min or -1)
    try:
        rate = int(sample_rate)
    except (TypeError, ValueError):
        raise RecordError("wrong_type", f"the stage gave a waveform, and {sample_rate!r:.40} for its rate") from None
    check_rate(rate)
    samples = np.atleast_2d(array).mean(axis=0, dtype=np.float32).astype(np.float32, copy=False)
    return repaired(samples)[0], rate


def with_sound(record: Record, samples: Samples, sample_rate: int) -> Record:
    """Return a record with other sound, and with its rate and length where it tells them."""
    told = {"sample_rate": sample_rate, "duration_sec": len(samples) / sample_rate}
    audio = audio_field(samples, sample_rate, name_of(record))
    return record | {name: value for name, value in told.items() if name in record} | {"audio": audio}
