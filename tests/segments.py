"""Segments of speech, and a stage that gives them codes without a model."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.speech.segments import segment_record
from curator_audio.stages.speech.sound import audio_field
from curator_audio.tasks import Record

RATE = 16000


def tone(duration_sec: float = 0.1, hz: float = 440.0, sample_rate: int = RATE) -> npt.NDArray[np.float32]:
    times = np.arange(round(duration_sec * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def npz(duration_sec: float = 0.1, hz: float = 440.0, **arrays: Any) -> bytes:
    """A segment as ``np.savez_compressed`` writes it, objects pickled."""
    file = io.BytesIO()
    np.savez_compressed(file, **{"audio": tone(duration_sec, hz), "codes": [], "text": "so be it"} | arrays)
    return file.getvalue()


def segment(segment_id: str = "show_seg_0", duration_sec: float = 0.1, **values: Any) -> Record:
    """A segment's record with sound of its own."""
    sound = tone(duration_sec, hz=200 + zlib.crc32(segment_id.encode()) % 1000)
    known = {
        "audio_id": segment_id.partition("_seg_")[0],
        "text": f"text of {segment_id}",
        "speaker_id": "show/spk0",
        "channel": "news",
        "start": 1.5,
        "end": 1.5 + duration_sec,
        "duration_sec": duration_sec,
        "sample_rate": RATE,
        "audio": audio_field(sound, RATE, segment_id),
    }
    return segment_record(**{"segment_id": segment_id} | known | values)


def fake_codes(record: Record) -> list[int]:
    """Codes that tell the sound of one segment from that of another."""
    checksum = zlib.crc32(record["audio"]["bytes"])
    return [checksum % 65536, checksum >> 16]


@dataclass
class FakeCodecStage(RecordStage):
    """Adds ``fake_codes``, and leaves a line for every segment; fails on the text ``fatal``."""

    log_path: str

    name = "fake_codec"

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["audio", "segment_id"]

    def process_record(self, record: Record) -> Record:
        with open(self.log_path, "a") as log:
            log.write(record["segment_id"] + "\n")
        if record["text"] == "fatal":
            raise MemoryError("no room")
        return {**record, "codes": fake_codes(record)}
