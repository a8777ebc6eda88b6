"""Headers that tell less than is there, nothing, or what is wrong: whatever they tell, the sound is read to the sample."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
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

RATE = 8000
SOUND = (np.random.default_rng(3).normal(0, 4000, 5 * RATE)).astype(np.int16)
PARTS = [1.0, 0.0, 3.0]
OPEN = {"riff": 2**32 - 1, "rifx": 2**32 - 1, "rf64": 0, "w64": 2**63 - 1, "aiff": 0, "aifc": 0, "caf": 2**64 - 1, "au": 2**32 - 1}
"""What those write that write to a pipe."""

CHUNKS = {
    "LIST": b"INFOISFT\x0e\0\0\0Lavf59.27.100\0",
    "id3 ": b"ID3\4\0\0\0\0\0\x0aTIT2\0\0\0\0\0\0",
    "bext": b"Interview" + bytes(593),
    "cue ": struct.pack("<II4sIII", 1, 1, b"data", 0, 0, 7)[:28].ljust(28, b"\0"),
    "JUNK": bytes(1001),
}


def chunk(kind: str, name: str, content: bytes, num_bytes: int | None = None) -> bytes:
    """A chunk as this kind of file has it, which may tell of another length than it has."""
    size = len(content) if num_bytes is None else num_bytes
    if kind == "w64":
        first = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"
        guid = first if name == "riff" else name.encode().lower() + bytes.fromhex("f3acd3118cd100c04f8edb8a")
        size = size + 24 if size < 2**62 and num_bytes != 0 else size
        return guid + struct.pack("<Q", size) + content + bytes(-len(content) % 8)
    if kind == "caf":
        return name.encode() + struct.pack(">Q", size) + content
    order = ">" if kind in ("rifx", "aiff", "aifc") else "<"
    return name.encode() + struct.pack(order + "I", size) + content + bytes(len(content) % 2)


def fmt(order: str = "<") -> bytes:
    return struct.pack(order + "HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)


def extended(rate: int) -> bytes:
    exponent = rate.bit_length() - 1
    return struct.pack(">HQ", 16383 + exponent, rate << 63 - exponent)


def file_of(kind: str, sound: np.ndarray, told: int | None = None, behind: bytes = b"", riff: int | None = None) -> bytes:
    """The sound as a file whose header tells of so many bytes of it."""
    data = sound.astype(">i2" if kind in ("rifx", "aiff", "caf", "au") else "<i2").tobytes()
    size = len(data) if told is None else told
    if kind == "rf64":
        ds64 = struct.pack("<QQQI", size, size, 0, 0)
        body = b"WAVE" + chunk(kind, "ds64", ds64) + chunk(kind, "fmt ", fmt()) + chunk(kind, "data", data, 2**32 - 1)
        return b"RF64\xff\xff\xff\xff" + body + behind
    if kind == "w64":
        wave = b"wave" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
        return chunk(kind, "riff", wave + chunk(kind, "fmt ", fmt()) + chunk(kind, "data", data, size))[: None] + behind
    if kind == "caf":
        desc = struct.pack(">d4sIIIII", RATE, b"lpcm", 0, 2, 1, 1, 16)
        size = size + 4 if size < 2**63 else size
        return b"caff\0\1\0\0" + chunk(kind, "desc", desc) + chunk(kind, "data", bytes(4) + data, size) + behind
    if kind == "au":
        return b".snd" + struct.pack(">IIIII", 24, size, 3, RATE, 1) + data
    if kind in ("aiff", "aifc"):
        common = struct.pack(">hIh", 1, size // 2, 16) + extended(RATE) + (b"sowt\0\0" if kind == "aifc" else b"")
        body = chunk(kind, "COMM", common) + chunk(kind, "SSND", bytes(8) + data, size + 8 if size else 0) + behind
        return chunk(kind, "FORM", kind.upper().encode() + body, (riff if riff is not None else (0 if told == 0 else None)))
    order = ">" if kind == "rifx" else "<"
    body = b"WAVE" + chunk(kind, "fmt ", fmt(order)) + chunk(kind, "data", data, size) + behind
    return kind.upper().encode() + struct.pack(order + "I", len(body) if riff is None else riff) + body


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
    own = {"w64": {"LIST": "list", "id3 ": "summ", "cue ": "mark"}, "caf": {"LIST": "info", "cue ": "mark"}}
    own["caf"] |= {"id3 ": "uuid", "bext": "strg", "JUNK": "free"}
    own["aiff"] = own["aifc"] = {"LIST": "ANNO", "id3 ": "ID3 ", "cue ": "MARK", "bext": "APPL"}
    behind = b"".join(chunk(kind, own.get(kind, {}).get(name, name), CHUNKS[name]) for name in names)
    size = {"all": None, "less": 16_000, "nothing": OPEN[kind]}[told]
    recording, samples = read(file_of(kind, SOUND, size, behind), tmp_path)
    assert np.array_equal(samples, SOUND)
    assert bool(recording.wrong_header) == (told == "less")
    assert recording.broken_off == ""


@pytest.mark.parametrize("kind", ["riff", "rf64", "aiff", "caf"])
@pytest.mark.parametrize(
    "rest", [b"\0", bytes(511), bytes(4096), b"\r\n", b"\r\n--boundary--\r\n", b"TAG" + bytes(125), b"ID3\4\0\0\0\0\1\0" + bytes(128)]
)
def test_what_else_stands_behind_the_sound(kind: str, rest: bytes, tmp_path: Path) -> None:
    recording, samples = read(file_of(kind, SOUND, behind=rest), tmp_path)
    assert np.array_equal(samples, SOUND)
    assert (recording.wrong_header, recording.broken_off) == ("", "")


def test_a_chunk_behind_the_sound_that_is_cut(tmp_path: Path) -> None:
    behind = chunk("riff", "LIST", bytes(100))[:50]
    recording, samples = read(file_of("riff", SOUND, behind=behind), tmp_path)
    assert np.array_equal(samples, SOUND) and recording.wrong_header == ""


@pytest.mark.parametrize("riff", [0, 36, 2**32 - 1])
def test_a_size_of_0(riff: int, tmp_path: Path) -> None:
    recording, samples = read(file_of("riff", SOUND, 0, chunk("riff", "LIST", CHUNKS["LIST"]), riff), tmp_path)
    assert np.array_equal(samples, SOUND) and recording.broken_off == ""
    assert bool(recording.wrong_header) == (riff == 36)  # a recorder's that died; the others are those of a pipe


@pytest.mark.parametrize("kind", WITH_CHUNKS)
def test_no_sound_at_all_but_chunks(kind: str, tmp_path: Path) -> None:
    name = {"caf": "info", "aiff": "ANNO", "aifc": "ANNO"}.get(kind, "LIST")
    with pytest.raises(RecordError, match="empty_audio"):
        read(file_of(kind, SOUND[:0], 0, chunk(kind, name, CHUNKS["LIST"]), 100), tmp_path)


def test_sound_in_two_chunks(tmp_path: Path) -> None:
    behind = chunk("riff", "LIST", CHUNKS["LIST"]) + chunk("riff", "data", SOUND[::-1].tobytes())
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
@pytest.mark.parametrize("behind", [b"", chunk("riff", "LIST", CHUNKS["LIST"]), chunk("riff", "LIST", bytes(2**21))])
def test_a_size_that_began_again_at_0(num_wraps: int, filling: bytes, behind: bytes) -> None:
    header = file_of("riff", SOUND[:0], 96_000)
    end = 44 + 96_000 + num_wraps * 2**32
    file = Sparse(end + len(behind), {0: header, 44: filling, end: behind})
    found = sound_bytes(file)
    assert found is not None
    assert (found.end, found.is_wrong, found.num_samples) == (end, True, (end - 44) // 2)
    assert file.num_read < 2**20


@settings(max_examples=30, deadline=None)
@given(
    sound=st.binary(min_size=200, max_size=3000),
    told=st.integers(0, 3000),
    names=st.lists(st.sampled_from(sorted(CHUNKS)), max_size=3),
    kind=st.sampled_from(["riff", "rifx", "w64"]),
)
def test_where_sound_ends(sound: bytes, told: int, names: list[str], kind: str) -> None:
    samples = np.frombuffer(sound[: len(sound) // 8 * 8], "<i2")
    behind = b"".join(chunk(kind, {"id3 ": "summ", "cue ": "mark"}.get(name, name) if kind == "w64" else name, CHUNKS[name]) for name in names)
    told = max(8, min(told, samples.nbytes // 2) // 8 * 8)
    data = file_of(kind, samples, told, behind, riff=1)
    found = sound_bytes(Sparse(len(data), {0: data}))
    assert found is not None
    assert found.header.num_bytes == told
    assert found.end == found.header.start + samples.nbytes or not samples[told // 2 :].any()
