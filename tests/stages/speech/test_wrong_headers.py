"""Headers of other containers that tell of less sound than is there, or of none: it is read, and what is wrong told."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.headers.ogg import _checksum, is_cut_page
from curator_audio.storage.storage import Storage
from tests.extras import needs_program
from tests.stages.general.test_audio_duration import compressed, others
from tests.stages.speech.headers.files import RATE, SOUND, file_of


def decoded(data: bytes, tmp_path: Path) -> tuple[Any, np.ndarray]:
    (tmp_path / "a.bin").write_bytes(data)
    with open_recording(Storage(), str(tmp_path / "a.bin")) as recording:
        return recording, np.concatenate(list(recording.blocks()))


def replaced(data: bytes, behind: bytes, offset: int, value: bytes) -> bytes:
    """The file with another value so many bytes behind the first place of a mark."""
    place = data.index(behind) + len(behind) + offset
    return data[:place] + value + data[place + len(value) :]


def flac_of(num_samples: int) -> bytes:
    data = others("flac")
    field = int.from_bytes(data[18:26], "big") >> 36 << 36 | num_samples
    return data[:18] + field.to_bytes(8, "big") + data[26:]


def ogg_with(kind: str, granule: int) -> bytes:
    data = others(kind)
    place = data.rfind(b"OggS")
    page = data[place:]
    page = page[:6] + struct.pack("<q", granule) + page[14:22] + bytes(4) + page[26:]
    return data[:place] + page[:22] + struct.pack("<I", _checksum(page)) + page[26:]


DURATION = b"\x44\x89\x88"
"""What stands before the length in a Matroska file."""

SECOND: dict[str, tuple[bytes, bytes]] = {
    "flac": (others("flac"), flac_of(16_000)),
    "mp4": (compressed("m4a"), replaced(compressed("m4a"), b"mdhd", 16, struct.pack(">I", 16_000))),
    "webm": (compressed("webm"), replaced(compressed("webm"), DURATION, 0, struct.pack(">d", 1e3))),
    "mkv": (compressed("mkv"), replaced(compressed("mkv"), DURATION, 0, struct.pack(">d", 1e3))),
}
"""Files that tell of all of their three seconds, and the same telling of one."""


@pytest.mark.parametrize("kind", SECOND)
def test_a_header_that_tells_less_than_is_there(kind: str, tmp_path: Path) -> None:
    right, wrong = SECOND[kind]
    recording, samples = decoded(wrong, tmp_path)
    assert np.array_equal(samples, decoded(right, tmp_path)[1])
    assert recording.wrong_header == "its header tells of 1.0 s, and 3.0 s are there; all of it is read"
    assert recording.broken_off == ""


@pytest.mark.parametrize(
    "data",
    [
        flac_of(0),
        compressed("fragmented mp4"),
        compressed("live webm"),
        replaced(compressed("webm"), DURATION, 0, bytes(8)),
        replaced(compressed("webm"), b"\x18\x53\x80\x67", 0, b"\1" + b"\xff" * 7),
        replaced(compressed("m4a"), b"mvhd", 16, bytes(4)),
        replaced(compressed("m4a"), b"mdhd", 16, bytes(4)),
    ],
    ids=["flac", "fragments", "live", "webm", "segment", "mvhd", "mdhd"],
)
def test_a_header_that_tells_nothing(data: bytes, tmp_path: Path) -> None:
    recording, samples = decoded(data, tmp_path)
    assert len(samples) / recording.sample_rate == pytest.approx(3, abs=0.1)
    assert (recording.wrong_header, recording.broken_off) == ("", "")


def test_flac_that_tells_nothing_and_is_cut(tmp_path: Path) -> None:
    assert decoded(flac_of(0)[:-5000], tmp_path)[0].broken_off


@pytest.mark.parametrize("granule", [0, 1, -1, 16_000, 40_000])
@pytest.mark.parametrize("kind", ["ogg", "opus"])
def test_the_last_page_of_ogg_tells_less_than_the_one_before(kind: str, granule: int, tmp_path: Path) -> None:
    _, whole = decoded(others(kind), tmp_path)
    recording, samples = decoded(ogg_with(kind, granule), tmp_path)
    assert np.array_equal(samples[: len(whole)], whole)
    assert len(samples) - len(whole) < 960  # the end that the right page cuts off
    assert bool(recording.wrong_header) == (kind == "opus")
    assert recording.broken_off == ""


def test_a_last_page_that_cuts_off_the_end_of_a_packet_is_right(tmp_path: Path) -> None:
    (granule,) = struct.unpack("<q", others("opus")[others("opus").rfind(b"OggS") + 6 :][:8])
    recording, samples = decoded(ogg_with("opus", granule - 300), tmp_path)
    assert len(samples) == len(decoded(others("opus"), tmp_path)[1]) - 300
    assert recording.wrong_header == ""


def test_a_checksum_of_ogg() -> None:
    data = others("ogg")
    page = data[: data.index(b"OggS", 4)]
    assert _checksum(page[:22] + bytes(4) + page[26:]) == struct.unpack("<I", page[22:26])[0]
    assert not is_cut_page(page) and is_cut_page(page[:-1])


# By FFmpeg's command line ------------------------------------------------------------------------------------


def by_ffmpeg(data: bytes, *arguments: str) -> bytes:
    """What FFmpeg's command makes of a file, through pipes."""
    needs_program("ffmpeg")
    command = ["ffmpeg", "-v", "error", "-i", "-", *arguments, "-"]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "arguments",
    ["-f wav", "-f w64", "-f wav -rf64 always", "-f au", "-f caf -c:a pcm_s16le", "-f aiff", "-f wav -c:a pcm_s24le"],
)
def test_what_ffmpeg_writes_to_a_pipe(arguments: str, tmp_path: Path) -> None:
    recording, samples = decoded(by_ffmpeg(file_of("riff", SOUND), *arguments.split()), tmp_path)
    assert np.array_equal(samples * 2**15, SOUND)
    assert (recording.wrong_header, recording.broken_off) == ("", "")


@pytest.mark.parametrize(
    "arguments",
    [
        "-f wav -c:a adpcm_ms",
        "-f wav -c:a adpcm_ima_wav",
        "-f wav -c:a pcm_mulaw",
        "-f wav -c:a pcm_f32le",
        "-f wav -c:a pcm_u8",
        "-f wav -c:a pcm_s24le -ac 6",
        "-f w64 -c:a pcm_s24le -ac 2",
        "-f aiff -c:a pcm_mulaw",
        "-f aiff -c:a pcm_s24be",
        "-f aiff -c:a pcm_f32be",
        "-f caf -c:a pcm_alaw",
        "-f caf -c:a pcm_f32le -ac 2",
        "-f caf -c:a adpcm_ima_qt",
    ],
)
def test_sound_of_every_form_is_read_to_its_end(arguments: str, tmp_path: Path) -> None:
    sound = np.tile(SOUND, 2)
    whole_path = tmp_path / "whole"
    needs_program("ffmpeg")
    command = ["ffmpeg", "-v", "error", "-y", "-bitexact", "-i", "-", *arguments.split(), str(whole_path)]
    subprocess.run(command, input=file_of("riff", sound), check=True)
    data = whole_path.read_bytes()
    recording, whole = decoded(data, tmp_path)
    assert len(whole) / RATE == pytest.approx(10, abs=0.25)  # of whole blocks
    assert (recording.wrong_header, recording.broken_off) == ("", "")

    form = arguments.split()[1]
    guid = b"data\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a"
    mark, size = {"wav": (b"data", "<I"), "aiff": (b"SSND", ">I"), "caf": (b"data", ">Q"), "w64": (guid, "<Q")}[form]
    recording, samples = decoded(replaced(data, mark, 0, struct.pack(size, 36_864)), tmp_path)
    assert recording.wrong_header.startswith("its header tells of")
    assert np.array_equal(samples, whole)

    recording, _ = decoded(data[: len(data) // 2], tmp_path)
    lengths = re.match(r"([0-9.]+) s of the ([0-9.]+) s that its header tells are missing", recording.broken_off)
    if lengths is None:
        assert recording.broken_off == "Invalid data found when processing input"  # a block is cut
    else:
        assert [float(length) for length in lengths.groups()] == [pytest.approx(5, abs=0.2), pytest.approx(10, abs=0.3)]
