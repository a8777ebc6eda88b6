"""The length that is measured is that of what is decoded, whatever the file tells."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.general import GetAudioDurationStage
from curator_audio.stages.speech import decode
from curator_audio.stages.speech.decode import open_recording
from curator_audio.storage.storage import Storage
from tests.stages.speech.headers.files import OPEN, SOUND, chunks_of, file_of
from tests.stages.speech.test_decode import encoded, written

RATE = 16000


def measured(data: bytes, tmp_path: Path, name: str = "a.bin") -> tuple[float, dict[str, float]]:
    """What the stage adds, and what it counts."""
    (tmp_path / name).write_bytes(data)
    stage = GetAudioDurationStage()
    stage.setup(WorkerInfo())
    record = stage.process_record({"audio_filepath": str(tmp_path / name)})
    return record["duration"], stage.take_observations().metrics


def decoded_sec(data: bytes, tmp_path: Path) -> tuple[float, Any]:
    (tmp_path / "b.bin").write_bytes(data)
    with open_recording(Storage(), str(tmp_path / "b.bin")) as recording:
        num_samples = sum(map(len, recording.blocks()))
    return num_samples / recording.sample_rate, recording


@cache
def speech(num_sec: float) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.1, (int(num_sec * RATE), 1)).astype(np.float32)


@cache
def compressed(kind: str, num_sec: float = 3.0) -> bytes:
    codec, container, options = {
        "mp3": ("libmp3lame", "mp3", {}),
        "mp3 without a header": ("libmp3lame", "mp3", {"write_xing": "0", "id3v2_version": "0"}),
        "m4a": ("aac", "mp4", {"movflags": "faststart"}),
        "fragmented mp4": ("aac", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
        "aac": ("aac", "adts", {}),
        "webm": ("libopus", "webm", {}),
        "live webm": ("libopus", "webm", {"live": "1"}),
        "mkv": ("flac", "matroska", {}),
        "ts": ("aac", "mpegts", {}),
    }[kind]
    rate = 48000 if codec == "libopus" else RATE
    samples = np.repeat(speech(num_sec), rate // RATE, axis=0)
    return encoded(codec, container, samples, rate, **options)


COMPRESSED = ["mp3", "mp3 without a header", "m4a", "fragmented mp4", "aac", "webm", "live webm", "mkv", "ts"]


@cache
def others(kind: str, num_sec: float = 3.0) -> bytes:
    subtype = {"ogg": "VORBIS", "opus": "OPUS"}.get(kind)
    return written(speech(num_sec), RATE, format="OGG" if subtype else "FLAC", subtype=subtype)


def faults(data: bytes) -> dict[str, bytes]:
    half = len(data) // 2
    return {
        "whole": data,
        "cut": data[: half + 1],
        "last byte gone": data[:-1],
        "twice": data + data,
        "with a hole": data[:half] + data[half + 700 :],
        "with zeros": data[:half] + bytes(700) + data[half + 700 :],
        "a tag behind": data + b"TAG" + bytes(125),
    }


@pytest.mark.parametrize("kind", [*COMPRESSED, "flac", "ogg", "opus"])
@pytest.mark.parametrize("fault", list(faults(b"")))
def test_the_length_is_that_of_what_is_decoded(kind: str, fault: str, tmp_path: Path) -> None:
    data = faults(compressed(kind) if kind in COMPRESSED else others(kind))[fault]
    duration, metrics = measured(data, tmp_path)
    expected, recording = decoded_sec(data, tmp_path)
    assert duration == expected
    assert bool(metrics.get("recordings_broken_off")) == bool(recording.broken_off)
    assert bool(metrics.get("recordings_with_wrong_headers")) == bool(recording.wrong_header)
    if fault == "whole":
        assert 3.0 <= duration < 3.15 and not recording.broken_off and not recording.wrong_header


@pytest.mark.parametrize("kind", ["ogg", "opus"])
@pytest.mark.parametrize("fault", list(faults(b"")))
def test_packets_tell_as_much_as_decoding(
    kind: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = faults(others(kind))[fault]
    expected, recording = decoded_sec(data, tmp_path)
    monkeypatch.setattr(decode, "MIN_COUNTED_BYTES", 0)
    if fault in ("whole", "cut", "last byte gone", "a tag behind"):
        monkeypatch.delattr(decode.Recording, "blocks")
    duration, metrics = measured(data, tmp_path)
    assert duration == expected
    assert bool(metrics.get("recordings_broken_off")) == bool(recording.broken_off)


@pytest.mark.parametrize("kind", OPEN)
def test_uncompressed_sound_is_measured_without_reading_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = file_of(kind, SOUND)
    told_less, told_nothing = file_of(kind, SOUND, 1000), file_of(kind, SOUND, OPEN[kind])
    files = [whole, whole[:-1], whole[:-20_001], told_less, told_nothing, told_nothing[:-7]]
    if kind != "au":
        files += [file_of(kind, SOUND, None, chunks_of(kind, ["LIST", "JUNK"])), file_of(kind, SOUND, None, bytes(300))]
    expected = [decoded_sec(data, tmp_path) for data in files]
    monkeypatch.delattr(decode.Recording, "blocks")
    for data, (duration, recording) in zip(files, expected):
        told, metrics = measured(data, tmp_path)
        assert told == duration
        assert bool(metrics.get("recordings_broken_off")) == bool(recording.broken_off)
        assert bool(metrics.get("recordings_with_wrong_headers")) == bool(recording.wrong_header)
