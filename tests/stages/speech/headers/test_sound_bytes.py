"""Whatever a header tells, the sound is read to the sample, and what stands behind it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import RecordError
from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.headers import sound_bytes
from curator_audio.storage.storage import Storage
from tests.stages.speech.headers.files import CHUNKS, OPEN, RATE, SOUND, chunk, chunks_of, file_of


def read(data: bytes, tmp_path: Path) -> tuple[Any, np.ndarray]:
    (tmp_path / "a.wav").write_bytes(data)
    with open_recording(Storage(), str(tmp_path / "a.wav")) as recording:
        blocks = list(recording.blocks())
    return recording, np.round(np.concatenate(blocks) * 2**15).astype(np.int64)


@pytest.mark.parametrize("kind", OPEN)
def test_a_header_that_is_right(kind: str, tmp_path: Path) -> None:
    recording, samples = read(file_of(kind, SOUND), tmp_path)
    assert np.array_equal(samples, SOUND)
    assert (recording.wrong_header, recording.broken_off) == ("", "")


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("told_sec", [0.5, 1.0, 4.99])
def test_a_header_that_tells_less_than_is_there(kind: str, told_sec: float, tmp_path: Path) -> None:
    told = int(told_sec * RATE) * 2
    recording, samples = read(file_of(kind, SOUND, told), tmp_path)
    assert np.array_equal(samples, SOUND)
    assert recording.wrong_header == (
        f"its header tells of {told_sec:.1f} s of sound ({told} bytes), and 5.0 s (80000 bytes) are there; "
        "all of it is read"
    )
    assert recording.broken_off == ""


@pytest.mark.parametrize("kind", OPEN)
def test_a_header_that_tells_nothing(kind: str, tmp_path: Path) -> None:
    recording, samples = read(file_of(kind, SOUND, OPEN[kind]), tmp_path)
    assert np.array_equal(samples, SOUND)
    assert (recording.wrong_header, recording.broken_off) == ("", "")


@pytest.mark.parametrize("kind", OPEN)
def test_a_file_that_is_cut(kind: str, tmp_path: Path) -> None:
    recording, samples = read(file_of(kind, SOUND)[:-40_000], tmp_path)
    assert np.array_equal(samples, SOUND[:-20_000])
    assert recording.wrong_header == ""
    assert recording.broken_off == "2.5 s of the 5.0 s that its header tells are missing"


WITH_CHUNKS = [kind for kind in OPEN if kind != "au"]


@pytest.mark.parametrize("kind", WITH_CHUNKS)
@pytest.mark.parametrize("told", ["all", "less", "nothing"])
@pytest.mark.parametrize("names", [["LIST"], ["bext", "id3 "], ["cue ", "LIST", "JUNK"]])
def test_chunks_behind_the_sound_are_no_sound(kind: str, told: str, names: list[str], tmp_path: Path) -> None:
    size = {"all": None, "less": 16_000, "nothing": OPEN[kind]}[told]
    recording, samples = read(file_of(kind, SOUND, size, chunks_of(kind, names)), tmp_path)
    assert np.array_equal(samples, SOUND)
    assert bool(recording.wrong_header) == (told == "less")
    assert recording.broken_off == ""


@pytest.mark.parametrize("kind", ["riff", "rf64", "aiff", "caf"])
@pytest.mark.parametrize(
    "rest",
    [
        b"\0",
        bytes(511),
        bytes(4096),
        b"\r\n--boundary--\r\n",
        b"TAG" + bytes(125),
        b"ID3\4\0\0\0\0\1\0" + bytes(128),
    ],
)
def test_what_else_stands_behind_the_sound(kind: str, rest: bytes, tmp_path: Path) -> None:
    recording, samples = read(file_of(kind, SOUND, behind=rest), tmp_path)
    assert np.array_equal(samples, SOUND)
    assert (recording.wrong_header, recording.broken_off) == ("", "")


def test_a_chunk_behind_the_sound_that_is_cut(tmp_path: Path) -> None:
    behind = chunk("riff", "LIST", bytes(100))[:50]
    recording, samples = read(file_of("riff", SOUND, behind=behind), tmp_path)
    assert np.array_equal(samples, SOUND) and recording.wrong_header == ""


@pytest.mark.parametrize("whole", [0, 36, 2**32 - 1])
def test_a_size_of_0(whole: int, tmp_path: Path) -> None:
    recording, samples = read(file_of("riff", SOUND, 0, chunks_of("riff", ["LIST"]), whole), tmp_path)
    assert np.array_equal(samples, SOUND) and recording.broken_off == ""
    assert bool(recording.wrong_header) == (whole == 36)  # a recorder's that died; the others are those of a pipe


@pytest.mark.parametrize("kind", WITH_CHUNKS)
def test_no_sound_at_all_but_chunks(kind: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="empty_audio"):
        read(file_of(kind, SOUND[:0], 0, chunks_of(kind, ["LIST"]), 100), tmp_path)


def test_sound_in_two_chunks(tmp_path: Path) -> None:
    behind = chunks_of("riff", ["LIST"]) + chunk("riff", "data", SOUND[::-1].tobytes())
    recording, samples = read(file_of("riff", SOUND, behind=behind), tmp_path)
    assert np.array_equal(samples, SOUND)
    assert recording.broken_off == "it holds more sound in another chunk"


@pytest.mark.parametrize("kind", ["riff", "rifx", "aiff"])
def test_a_chunk_of_odd_length_before_the_sound(kind: str, tmp_path: Path) -> None:
    data = file_of(kind, SOUND)
    for padding in (b"\0", b""):
        odd = chunk(kind, "NAME" if kind == "aiff" else "bext", b"odd")[:-1] + padding
        recording, samples = read(data[:12] + odd + data[12:], tmp_path)
        assert np.array_equal(samples, SOUND), padding
        assert (recording.wrong_header, recording.broken_off) == ("", "")


def test_a_tag_before_the_header(tmp_path: Path) -> None:
    recording, samples = read(b"ID3\4\0\0\0\0\1\0" + bytes(128) + file_of("riff", SOUND, 16_000), tmp_path)
    assert np.array_equal(samples, SOUND) and recording.wrong_header


class Sparse:
    """A file of any length that holds ``pieces`` at their places, and else silence."""

    def __init__(self, num_bytes: int, pieces: dict[int, bytes]) -> None:
        self.num_bytes, self.pieces, self.num_read = num_bytes, pieces, 0

    def bytes_at(self, start: int, num_bytes: int) -> bytes:
        found = bytearray(max(0, min(num_bytes, self.num_bytes - start)))
        self.num_read += len(found)
        for place, piece in self.pieces.items():
            first, end = max(place, start), min(place + len(piece), start + len(found))
            if first < end:
                found[first - start : end - start] = piece[first - place : end - place]
        return bytes(found)


@pytest.mark.parametrize("num_wraps", [1, 2])
@pytest.mark.parametrize("filling", [b"", b"\1\0" * 480_000])
@pytest.mark.parametrize("behind", [b"", chunks_of("riff", ["LIST"]), chunk("riff", "LIST", bytes(2**21))])
def test_a_size_that_began_again_at_0(num_wraps: int, filling: bytes, behind: bytes) -> None:
    header = file_of("riff", SOUND[:0], 96_000)
    end = 44 + 96_000 + num_wraps * 2**32
    file = Sparse(end + len(behind), {0: header, 44: filling, end: behind})
    found = sound_bytes(file)
    assert found is not None
    assert (found.end, found.is_wrong, found.num_samples) == (end, True, (end - 44) // 2)
    assert file.num_read < 2**20


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(sorted(OPEN)),
    changes=st.dictionaries(st.integers(0, 120), st.integers(0, 255), max_size=6),
    num_bytes=st.integers(0, 400),
)
def test_headers_that_are_damaged_or_cut(kind: str, changes: dict[int, int], num_bytes: int) -> None:
    data = bytearray(file_of(kind, SOUND[:100], behind=b"" if kind == "au" else chunks_of(kind, ["LIST"]))[:num_bytes])
    for place, byte in changes.items():
        data[place : place + 1] = bytes([byte])
    found = sound_bytes(Sparse(len(data), {0: bytes(data)}))
    if found is not None:
        assert 0 <= found.header.start <= found.end <= len(data)
        assert found.header.written(found.end - found.header.start)
        assert isinstance(found.warning + found.missing(0.01), str)


@settings(max_examples=30, deadline=None)
@given(
    sound=st.binary(min_size=200, max_size=3000),
    told=st.integers(0, 3000),
    names=st.lists(st.sampled_from(sorted(CHUNKS)), max_size=3),
    kind=st.sampled_from(["riff", "rifx", "w64"]),
)
def test_where_sound_ends(sound: bytes, told: int, names: list[str], kind: str) -> None:
    samples = np.frombuffer(sound[: len(sound) // 8 * 8], "<i2")
    told = max(8, min(told, samples.nbytes // 2) // 8 * 8)
    data = file_of(kind, samples, told, chunks_of(kind, names))
    found = sound_bytes(Sparse(len(data), {0: data}))
    assert found is not None
    assert found.header.num_bytes == told
    assert found.end == found.header.start + samples.nbytes or not samples[told // 2 :].any()
