"""Channels to one signal: standard weights, chosen channels, and all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.downmix import mix_weights
from curator_audio.stages.speech.sound_options import SoundOptions
from curator_audio.storage.storage import Storage
from tests.stages.speech.sound_files import RATE, by_ffmpeg, decoded, needs_ffmpeg, write_sound

NUM_CHANNELS = {"2.1": 3, "3.0": 3, "4.0": 4, "quad": 4, "5.0": 5, "5.1": 6, "5.1(side)": 6, "6.1": 7, "7.1": 8}


def channels(num_channels: int, num_samples: int = 4000) -> np.ndarray:
    """Noise, another one in each channel, int16 of shape (num_samples, num_channels)."""
    return np.random.default_rng(0).integers(-9000, 9000, (num_samples, num_channels), dtype=np.int16)


@needs_ffmpeg
@pytest.mark.parametrize("layout", NUM_CHANNELS)
def test_many_channels_are_mixed_as_ffmpeg_does(layout: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", "pcm_s16le", channels(NUM_CHANNELS[layout]), layout=layout)
    recording, samples = decoded(path)
    assert recording.num_channels == NUM_CHANNELS[layout]
    theirs = by_ffmpeg(path, "-af", "aresample=ochl=mono:osf=s16")  # in 16 bits, as it only then divides by the sum
    assert samples == pytest.approx(theirs, abs=2 / 32768)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("flac", "flac"), ("mkv", "flac"), ("caf", "pcm_s16le"), ("m4a", "alac")]
)
def test_low_frequency_effects_are_left_out_and_the_rest_is_weighted(suffix: str, codec: str, tmp_path: Path) -> None:
    sound = channels(6)
    sound[:, 3] = 20000
    path = write_sound(tmp_path / f"a.{suffix}", codec, sound, layout="5.1")
    front, middle, surround = np.array([np.sqrt(0.5), 1, 0.5]) / (2 * np.sqrt(0.5) + 1 + 2 * 0.5)
    expected = sound / 32768 @ np.array([front, front, middle, 0, surround, surround])
    assert decoded(path)[1] == pytest.approx(expected, abs=1e-6)


def test_channels_without_names_are_all_alike(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", channels(6), RATE)  # six microphones, for all that is known
    assert decoded(tmp_path / "a.wav")[1] == pytest.approx(channels(6).mean(axis=1) / 32768, abs=1e-6)


def test_no_layout_mixes_to_nothing() -> None:
    for names in (["LFE"], ["LFE", "LFE2"], ["FC"], ["SL", "SR", "TFC"], ["NONE"] * 3):
        assert mix_weights(names).sum() == pytest.approx(1)


# One of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "channel", "number"),
    [
        ("stereo", "left", 0),
        ("stereo", "right", 1),
        ("stereo", 1, 1),
        ("stereo", "0", 0),
        ("mono", 0, 0),
        ("5.1", "right", 1),
        ("5.1", 3, 3),
        ("", "right", 1),
        ("", "left", 0),
    ],
)
def test_one_channel(layout: str, channel: str | int, number: int, tmp_path: Path) -> None:
    sound = channels({"mono": 1, "5.1": 6}.get(layout, 2))
    if layout:
        write_sound(tmp_path / "a.wav", "pcm_s16le", sound, layout=layout)
    else:
        soundfile.write(tmp_path / "a.wav", sound, RATE)
    assert np.array_equal(decoded(tmp_path / "a.wav", channel=channel)[1], sound[:, number] / np.float32(32768))


@pytest.mark.parametrize(
    ("num_channels", "channel", "known"),
    [(2, 2, "0 (FL), 1 (FR)"), (1, "right", "0"), (1, 1, "0"), (4, "left", "0, 1, 2, 3")],
)
def test_a_channel_that_is_not_there(num_channels: int, channel: str | int, known: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    if num_channels == 2:
        write_sound(tmp_path / "a.wav", "pcm_s16le", channels(2))
        known = "0, 1"  # a plain wav file names none
    else:
        soundfile.write(path, channels(num_channels), RATE)
    with pytest.raises(RecordError) as caught, open_recording(Storage(), str(path), SoundOptions(channel=channel)):
        pass
    assert (caught.value.reason, caught.value.message) == (
        "no_such_channel",
        f"{path} has no channel {channel}; it has {known}",
    )


def test_each_channel_by_itself(tmp_path: Path) -> None:
    write_sound(tmp_path / "a.flac", "flac", channels(3), layout="3.0")
    recording, samples = decoded(tmp_path / "a.flac", channel="each")
    assert np.array_equal(samples, channels(3) / np.float32(32768))
    assert recording.num_samples == 4000


def test_a_stream_that_loses_the_channel_ends_there_with_a_word(tmp_path: Path) -> None:
    stereo = write_sound(tmp_path / "stereo.ogg", "flac", channels(2))
    mono = write_sound(tmp_path / "mono.ogg", "flac", channels(1))
    (tmp_path / "a.ogg").write_bytes(stereo.read_bytes() + mono.read_bytes())
    recording, samples = decoded(tmp_path / "a.ogg", channel="right")
    assert np.array_equal(samples, channels(2)[:, 1] / np.float32(32768))
    assert recording.broken_off.endswith("has no channel right; it has 0 (FC)")
    _, both = decoded(tmp_path / "a.ogg", channel="each")
    assert np.array_equal(both[4000:], np.repeat(channels(1), 2, axis=1) / np.float32(32768))


@pytest.mark.parametrize(
    "options",
    [
        {"timeline": "player"},
        {"timeline": None},
        {"channel": "middle"},
        {"channel": -1},
        {"channel": True},
        {"channel": None},
        {"audio_track": ""},
        {"audio_track": -1},
        {"audio_track": 1.0},
        {"audio_track": "1,2"},
    ],
)
def test_what_can_be_asked_for_is_checked(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(options))} is .*; give "):
        SoundOptions(**options)  # type: ignore[arg-type]
