"""Segments as sound files to listen to."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from curator_audio.errors import ConfigurationError
from curator_audio.stages.speech import WavWriterStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch
from tests.segments import segment, tone


def test_a_segment_is_a_wav_file_of_its_own(tmp_path: Path) -> None:
    stage = WavWriterStage(str(tmp_path))
    parts = stage.write(Storage(), "", [AudioBatch([segment("a_seg_0"), segment("a_seg_1", channel=None)])])
    assert [part.path for part in parts] == [f"{tmp_path}/news/a_seg_0.wav", f"{tmp_path}/a_seg_1.wav"]
    samples, sample_rate = soundfile.read(tmp_path / "news" / "a_seg_0.wav", dtype="float32")
    assert (len(samples), sample_rate) == (len(tone()), 16000)
    expected, _ = soundfile.read(io.BytesIO(segment("a_seg_0")["audio"]["bytes"]), dtype="float32")
    np.testing.assert_array_equal(samples, expected)


def test_a_segment_without_sound_is_quarantined(tmp_path: Path) -> None:
    stage = WavWriterStage(str(tmp_path))
    assert stage.write(Storage(), "", [AudioBatch([segment("a_seg_0", audio=None)])]) == []
    assert [bad.reason for bad in stage.observed.quarantined] == ["missing_audio"]


def test_the_output_is_a_folder() -> None:
    with pytest.raises(ConfigurationError, match="give a folder"):
        WavWriterStage("out/all.wav")
