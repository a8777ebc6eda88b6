"""What FFmpeg is given to read: whatever comes meanwhile is told, and opening never takes long."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import RecordError
from curator_audio.stages.speech import media_file
from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.media_file import MAX_OPENING_BYTES, MediaFile
from curator_audio.stopping import stoppable
from curator_audio.storage.storage import Storage
from tests.stages.general.test_audio_duration import COMPRESSED, compressed, others
from tests.stages.speech.headers.files import SOUND, file_of


class Noted(io.BytesIO):
    """A file that does something at a read, and counts them."""

    def __init__(self, data: bytes, at: int = -1) -> None:
        super().__init__(data)
        self.size, self.at, self.num_reads = len(data), at, 0

    def read(self, num_bytes: int | None = -1) -> bytes:
        self.num_reads += 1
        if self.num_reads == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # until the signal is heard
                pass
        return super().read(num_bytes)


class OneFile(Storage):
    """A storage in which every path is the same file."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self.file = file

    @contextlib.contextmanager
    def open(self, path: str, reads_ahead: bool = True) -> Iterator[Any]:
        yield self.file


@pytest.mark.parametrize("kind", [*COMPRESSED, "flac", "opus", "ogg", "riff", "aiff", "caf", "w64"])
def test_a_stop_at_any_read_is_heard(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    if kind in COMPRESSED:
        data = compressed(kind, 15.0)
    else:
        data = others(kind, 25.0) if kind in ("flac", "opus", "ogg") else file_of(kind, SOUND)
    whole = Noted(data)
    with open_recording(OneFile(whole), "a") as recording:
        list(recording.blocks())
    for at in {1, (whole.num_reads + 1) // 2, whole.num_reads}:
        with pytest.raises(KeyboardInterrupt), stoppable(), open_recording(OneFile(Noted(data, at)), "a") as recording:
            list(recording.blocks())
    assert capfd.readouterr() == ("", "")


def test_a_stop_while_sound_is_encoded_is_heard(capfd: pytest.CaptureFixture[str]) -> None:
    from curator_audio.stages.speech.sound import decode_sound, encode_flac

    class Stopping:
        def __array__(self, *arguments: Any, **options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return (SOUND / 2**15).astype("float32")

    with pytest.raises(KeyboardInterrupt), stoppable():
        encode_flac(Stopping(), 8000)  # type: ignore[arg-type]
    assert len(decode_sound(encode_flac((SOUND / 2**15).astype("float32"), 8000))[0]) == len(SOUND)
    assert capfd.readouterr() == ("", "")


@settings(max_examples=50, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=300),
    header=st.binary(max_size=40),
    trailer=st.binary(max_size=40),
    bounds=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    moves=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100)), max_size=8),
)
def test_a_file_with_another_header_and_end(
    data: bytes, header: bytes, trailer: bytes, bounds: tuple[int, int], moves: list[tuple[int, int]]
) -> None:
    start, end = sorted(min(bound, len(data)) for bound in bounds)
    file, seen = MediaFile(Noted(data), "a"), io.BytesIO(header + data[start:end] + trailer)
    file.read_head()
    assert file.head == data and file.bytes_at(3, 5) == data[3:8]
    file.replace(header, start, end, trailer)
    assert file.seek(0, 2) == len(seen.getvalue())
    for place, num_bytes in moves:
        assert file.seek(place) == (place if place <= len(seen.getvalue()) else -1)
        seen.seek(file.tell())
        expected = seen.read(num_bytes)
        found = file.read(num_bytes)
        while len(found) < num_bytes and (more := file.read(num_bytes - len(found))):
            found += more
        assert found == expected
    assert file.tail(20) == seen.getvalue()[-20:]


def sparse(path: Path, num_bytes: int, pieces: dict[int, bytes]) -> Path:
    with path.open("wb") as file:
        for place, piece in pieces.items():
            file.seek(place)
            file.write(piece)
        file.truncate(num_bytes)
    return path


MOV = b"\0\0\0\x14ftypqt  \0\0\0\0qt  "
FMT = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0\0\x7d\0\0\2\0\x10\0"


@pytest.mark.parametrize(
    "pieces",
    [
        {0: FMT},
        {0: b"ID3\4\0\0\x7f\x7f\x7f\x7f"},
        {0: MOV} | {len(MOV) + 2**26 * index: struct.pack(">I", 2**26) + b"free" for index in range(60)},
        {0: others("flac")[:42]} | {42 + (2**24 + 3) * index: b"\1\xff\xff\xff" for index in range(250)},
    ],
    ids=["wav", "id3", "mov", "flac"],
)
def test_opening_does_not_read_gigabytes(
    pieces: dict[int, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media_file, "MAX_OPENING_BYTES", MAX_OPENING_BYTES // 16)
    path = sparse(tmp_path / "a.wav", 2**32, pieces)
    with pytest.raises(RecordError, match="no sound is found in 8 MB of it; convert it to"):  # noqa: SIM117
        with open_recording(Storage(), str(path)):
            pass


def test_a_film_in_many_fragments_is_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_file, "MAX_OPENING_BYTES", 2**17)
    data = compressed("fragmented mp4", 60.0)
    assert len(data) > 2**18
    (tmp_path / "a.mp4").write_bytes(data)
    with open_recording(Storage(), str(tmp_path / "a.mp4")) as recording:
        assert sum(map(len, recording.blocks())) / recording.sample_rate == pytest.approx(60, abs=0.1)
    assert recording.broken_off == ""


@pytest.mark.parametrize("kind", ["riff", "rf64", "w64", "aiff", "caf"])
def test_a_header_that_wrapped_at_4_gib_opens_at_once(kind: str, tmp_path: Path) -> None:
    header = file_of(kind, SOUND, 80_000)
    num_bytes = len(header) + 2**32
    path = sparse(tmp_path / "a.wav", num_bytes, {0: header})
    with open_recording(Storage(), str(path)) as recording:
        assert recording.measure() == (80_000 + 2**32) // 2
    assert "5.0 s of sound (80000 bytes), and 268440.5 s (4295047296 bytes) are there" in recording.wrong_header
    assert recording.broken_off == ""
