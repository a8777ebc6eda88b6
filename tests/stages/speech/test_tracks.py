"""Which of several audio tracks is taken."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from curator_audio.errors import RecordError
from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.languages import is_same_language
from curator_audio.stages.speech.sound_options import SoundOptions
from curator_audio.storage.storage import Storage
from tests.stages.speech.sound_files import RATE, decoded, encoded_packets

CODECS = {"mp4": "aac", "mkv": "flac", "webm": "libopus", "ts": "mp2", "mov": "pcm_s16le"}


def tracks_file(path: Path, languages: list[str], default: int | None) -> Path:
    """A file whose track ``k`` is a tone of ``1000 + 500 * k`` Hz for a second."""
    rate = 48000 if path.suffix == ".webm" else RATE
    time = np.arange(rate) / rate
    with av.open(str(path), "w") as output:
        streams = [output.add_stream(CODECS[path.suffix[1:]], rate=rate, layout="mono") for _ in languages]
        packets = []
        for number, (stream, language) in enumerate(zip(streams, languages)):
            if language:
                stream.metadata["language"] = language
            stream.disposition = Disposition.default if number == default else Disposition(0)
            tone = np.round(9000 * np.sin(2 * np.pi * (1000 + 500 * number) * time)).astype(np.int16)
            packets += encoded_packets(stream, tone[:, None], rate, "mono")
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


def taken(path: Path, **options: str | int) -> int:
    recording, samples = decoded(path, **options)
    middle = samples[len(samples) // 4 : len(samples) * 3 // 4]
    frequency = np.abs(np.fft.rfft(middle)).argmax() * recording.sample_rate / len(middle)
    return round((frequency - 1000) / 500)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "mov"])
@pytest.mark.parametrize("default", [0, 1, 2])
def test_the_default_track_is_taken(suffix: str, default: int, tmp_path: Path) -> None:
    path = tracks_file(tmp_path / f"a.{suffix}", ["eng", "deu", "fra"], default)
    assert taken(path) == default
    assert f"{default} is taken" in decoded(path)[0].tracks


def test_the_first_track_where_none_is_the_default(tmp_path: Path) -> None:
    path = tracks_file(tmp_path / "a.ts", ["eng", "deu"], None)
    assert taken(path) == 0
    assert decoded(path)[0].tracks == "0 (eng), 1 (deu); 0 is taken"


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("audio_track", "number"), [(0, 0), (2, 2), ("1", 1), ("deu", 1), ("ger", 1), ("de", 1), ("FR", 2), ("en", 0)]
)
def test_a_track_by_number_or_language(suffix: str, audio_track: str | int, number: int, tmp_path: Path) -> None:
    path = tracks_file(tmp_path / f"a.{suffix}", ["eng", "deu", "fra"], 0)
    assert taken(path, audio_track=audio_track) == number
    assert decoded(path, audio_track=audio_track)[0].tracks == ""  # the user knows


def test_of_two_tracks_in_one_language_the_default_one_is_taken(tmp_path: Path) -> None:
    path = tracks_file(tmp_path / "a.mkv", ["deu", "eng", "deu", "deu"], 2)
    assert (taken(path, audio_track="de"), taken(path, audio_track="en")) == (2, 1)


def test_one_track_needs_no_word(tmp_path: Path) -> None:
    path = tracks_file(tmp_path / "a.mp4", ["und"], 0)
    assert decoded(path)[0].tracks == ""


@pytest.mark.parametrize(
    ("audio_track", "known"), [(2, "0 (eng, default), 1 (deu)"), ("fr", "0 (eng, default), 1 (deu)"), ("und", "")]
)
def test_a_track_that_is_not_there(audio_track: str | int, known: str, tmp_path: Path) -> None:
    path = tracks_file(tmp_path / "a.mkv", ["eng", "deu"], 0)
    with (
        pytest.raises(RecordError) as caught,
        open_recording(Storage(), str(path), SoundOptions(audio_track=audio_track)),
    ):
        pass
    assert caught.value.reason == "no_such_track"
    assert caught.value.message.startswith(f"{path} has no audio track {audio_track}; it has {known}")


@pytest.mark.parametrize(
    ("wanted", "tag", "is_same"),
    [
        ("nl", "dut", True),
        ("ZHO", "chi", True),
        ("sr", "sr-Latn", True),
        ("pt-BR", "pt-br", True),
        ("pt-BR", "por", False),
        ("tlh", "tlh", True),  # of ISO 639-2 alone
        ("en", "", False),
        ("en", "enm", False),
    ],
)
def test_languages(wanted: str, tag: str, is_same: bool) -> None:
    assert is_same_language(wanted, tag) is is_same
