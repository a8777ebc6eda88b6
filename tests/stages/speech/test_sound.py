"""Short sounds in memory."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import RecordError
from curator_audio.stages.speech.sound import audio_field, decode_sound, encode_flac


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=500), st.sampled_from([8000, 16000, 24000, 44100]))
def test_sixteen_bits_come_back_as_they_were(values: list[int], sample_rate: int) -> None:
    samples = np.array(values, np.float32) / 32768
    decoded, rate = decode_sound(encode_flac(samples, sample_rate))
    assert (decoded.tolist(), decoded.dtype, rate) == (samples.tolist(), np.float32, sample_rate)


def test_what_is_too_loud_is_clipped() -> None:
    decoded, _ = decode_sound(encode_flac(np.array([1.5, -1.5, 0.5], np.float32), 16000))
    assert decoded.tolist() == [32767 / 32768, -1.0, 0.5]


def test_channels_are_mixed() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.array([[0.5, 0.25], [0.5, -0.5]]), 16000, format="WAV")
    assert decode_sound(file.getvalue())[0].tolist() == [0.375, 0.0]


def test_what_is_no_sound() -> None:
    with pytest.raises(RecordError, match="the audio cannot be decoded") as caught:
        decode_sound(b"Dear reader")
    assert caught.value.reason == "unreadable_audio"


def test_the_field_of_a_record() -> None:
    field = audio_field(np.zeros(10, np.float32), 16000, "show_seg_3")
    assert field["path"] == "show_seg_3.flac"
    assert soundfile.info(io.BytesIO(field["bytes"])).subtype == "PCM_16"
