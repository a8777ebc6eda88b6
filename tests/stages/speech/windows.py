"""Recordings of which every sample tells its place, and windows of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from curator_audio.tasks import Record

RATE = 16000


def places(first: int, end: int) -> npt.NDArray[np.int16]:
    """The samples from ``first`` up to ``end`` of an endless recording; no two runs of some are the same."""
    place = np.arange(first, end)
    return ((place + 7919 * (place >> 16)) % 65536 - 32768).astype(np.int16)


def recording(duration_sec: float, file_format: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, places(0, round(duration_sec * RATE)), RATE, format=file_format)
    return file.getvalue()


def window(*times: tuple[Any, Any]) -> Record:
    """A window of segments with these starts and ends, of two speakers in turn."""
    segments = enumerate(times)
    return {
        "segments": [{"start": s, "end": e, "speaker": f"spk{k % 2}", "text": f"text {k}"} for k, (s, e) in segments]
    }


def samples_of(record: Record) -> npt.NDArray[np.int16]:
    samples, sample_rate = soundfile.read(io.BytesIO(record["audio"]["bytes"]), dtype="int16")
    assert sample_rate == record["sample_rate"]
    assert len(samples) == round(record["duration_sec"] * sample_rate)
    return samples
