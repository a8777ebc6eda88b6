"""Recordings of all kinds, whole, cut and broken."""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from curator_audio.errors import AccessError, CuratorError, RecordError, StorageError
from curator_audio.stages.speech.decode import open_recording
from curator_audio.storage.storage import Storage

RATE = 48000
DURATION_SEC = 4.0


def chirp(duration_sec: float = DURATION_SEC, sample_rate: int = RATE) -> np.ndarray:
    """A tone that rises from 200 Hz to 3 kHz, so that every moment sounds different; float32."""
    time = np.arange(int(duration_sec * sample_rate)) / sample_rate
    return (0.4 * np.sin(2 * np.pi * (200 + 1400 * time / duration_sec) * time)).astype(np.float32)


def stereo(duration_sec: float = DURATION_SEC) -> np.ndarray:
    """The chirp left and half as loud right, of shape (num_samples, 2): its mono mix is 0.75 chirps."""
    return np.stack([chirp(duration_sec), chirp(duration_sec) / 2], axis=1)


def encoded(codec: str, container: str, samples: np.ndarray, sample_rate: int = RATE, **options: str) -> bytes:
    """Samples of shape (num_samples, num_channels) as a file, by FFmpeg's encoder."""
    layout = "stereo" if samples.shape[1] == 2 else "mono"
    with tempfile.NamedTemporaryFile() as file, av.open(file.name, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=sample_rate, layout=layout)
        stream.bit_rate = 96000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = sample_rate, 0
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=sample_rate)
        for part in [*resampler.resample(frame), None]:
            output.mux(stream.encode(part))
        output.close()
        return file.read()


def written(samples: np.ndarray, sample_rate: int = RATE, **options: str | None) -> bytes:
    """The same by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, **options)
    return file.getvalue()


@cache
def file_of(suffix: str) -> bytes:
    """The stereo chirp as a file of this kind."""
    if suffix in ("mp3", "m4a", "webm"):
        codec, container = {"mp3": ("libmp3lame", "mp3"), "m4a": ("aac", "mp4"), "webm": ("libopus", "webm")}[suffix]
        return encoded(codec, container, stereo(), **({"movflags": "faststart"} if suffix == "m4a" else {}))
    kind = {"ogg": "VORBIS", "opus": "OPUS"}.get(suffix)
    return written(stereo(), format="OGG" if kind else suffix.upper(), subtype=kind)


SUFFIXES = ("wav", "flac", "ogg", "opus", "mp3", "m4a", "webm")
LOSSLESS = ("wav", "flac")


def decoded(path: object) -> tuple[Any, np.ndarray]:
    with open_recording(Storage(), str(path)) as recording:
        blocks = list(recording.blocks())
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    return recording, np.concatenate(blocks)


def refused(path: object) -> RecordError:
    with pytest.raises(RecordError) as caught, open_recording(Storage(), str(path)):
        pass
    assert str(path) in caught.value.message
    return caught.value


# What is whole ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_sound(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(file_of(suffix))

    recording, samples = decoded(path)

    assert (recording.sample_rate, recording.num_channels, recording.num_samples) == (RATE, 2, len(samples))
    assert (recording.broken_off, recording.num_bad_samples) == ("", 0)
    expected = 0.75 * chirp()
    assert 0 <= len(samples) - len(expected) < 0.05 * RATE  # aac's encoder pads its last frame
    error = np.sqrt(np.mean((samples[: len(expected)] - expected) ** 2) / np.mean(expected**2))
    assert error < (1e-4 if suffix in LOSSLESS else 0.15)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_samples_of_every_kind_are_fractions_of_full_scale(subtype: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", stereo(0.1), RATE, subtype=subtype)
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert np.array_equal(decoded(tmp_path / "a.wav")[1], expected.mean(axis=1, dtype=np.float32))


def test_eight_channels_at_96_khz(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).uniform(-1, 1, (2000, 8)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", channels, 96000, subtype="FLOAT")

    recording, samples = decoded(tmp_path / "a.wav")

    assert (recording.sample_rate, recording.num_channels) == (96000, 8)
    assert samples == pytest.approx(channels.mean(axis=1), abs=1e-6)


def test_one_sample(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.5]), RATE)
    assert decoded(tmp_path / "a.wav")[1].tolist() == [0.5]


def test_what_is_no_number_becomes_silence_and_is_counted(tmp_path: Path) -> None:
    channels = np.full((100, 2), 0.5, np.float64)
    channels[10, 0], channels[11, 1], channels[12] = np.nan, np.inf, (-np.inf, 1e300)
    soundfile.write(tmp_path / "a.wav", channels, RATE, subtype="DOUBLE")

    recording, samples = decoded(tmp_path / "a.wav")

    assert recording.num_bad_samples == 4
    assert samples[9:14].tolist() == [0.5, 0.25, 0.25, 0.0, 0.5]


def test_blocks_are_about_a_second(tmp_path: Path) -> None:
    (tmp_path / "a.opus").write_bytes(file_of("opus"))
    with open_recording(Storage(), str(tmp_path / "a.opus")) as recording:
        lengths = [len(block) for block in recording.blocks()]
    assert sum(lengths) == DURATION_SEC * RATE
    assert all(RATE <= length <= 1.1 * RATE for length in lengths[:-1])


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    def peak(duration_sec: int) -> int:
        soundfile.write(tmp_path / "a.wav", np.zeros(duration_sec * 8000, np.int16), 8000)
        tracemalloc.start()
        try:
            with open_recording(Storage(), str(tmp_path / "a.wav")) as recording:
                for _ in recording.blocks():
                    pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(600) < 1.5 * peak(20)


def picture() -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
    frame.pts = 0
    return frame


def test_the_first_audio_stream_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width = video.height = 32
        streams = [output.add_stream("flac", rate=RATE, layout="mono") for _ in range(2)]
        output.mux([*video.encode(picture()), *video.encode(None)])
        for value, stream in zip((1000, 2000), streams):
            frame = av.AudioFrame.from_ndarray(np.full((1, 4800), value, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            output.mux([*stream.encode(frame), *stream.encode(None)])

    recording, samples = decoded(path)

    assert np.unique(samples).tolist() == [np.float32(1000 / 32768)]
    assert (len(samples), recording.broken_off) == (4800, "")


def test_a_rate_that_changes_mid_way(tmp_path: Path) -> None:
    options = {"write_xing": "0", "id3v2_version": "0"}
    low = chirp(2.0, 32000)[:, None]
    data = encoded("libmp3lame", "mp3", stereo(2.0), **options), encoded("libmp3lame", "mp3", low, 32000, **options)
    (tmp_path / "a.mp3").write_bytes(b"".join(data))

    recording, samples = decoded(tmp_path / "a.mp3")

    assert (recording.sample_rate, recording.num_channels, recording.broken_off) == (RATE, 2, "")
    assert len(samples) / RATE == pytest.approx(4.0, abs=0.15)
    half = len(samples) // 2
    tail, expected = samples[half + RATE :][: RATE // 2], chirp(2.0)
    lag = np.correlate(expected, tail, mode="valid").argmax()
    assert np.corrcoef(expected[lag : lag + len(tail)], tail)[0, 1] > 0.98  # the same sound, as fast as it was


def test_over_s3(tmp_path: Path, s3_bucket: str) -> None:
    for suffix in ("opus", "m4a"):
        (tmp_path / f"a.{suffix}").write_bytes(file_of(suffix))
        Storage().write(f"{s3_bucket}/a.{suffix}", file_of(suffix))
        assert np.array_equal(decoded(f"{s3_bucket}/a.{suffix}")[1], decoded(tmp_path / f"a.{suffix}")[1])


# What is no recording -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("text.wav", b"Dear reader, this is no recording.\n" * 100, "not_audio"),
        ("subtitles.wav", b"1\n00:00:01,000 --> 00:00:02,000\nhello\n\n" * 100, "not_audio"),
        ("page.mp3", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not_audio"),
        ("playlist.wav", b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.wav\n#EXT-X-ENDLIST\n", "not_audio"),
        ("noise.wav", np.random.default_rng(0).bytes(100_000), "unreadable_audio"),
        ("nothing.wav", b"", "empty_audio"),
        ("header.wav", written(np.zeros((0, 2)), format="WAV"), "empty_audio"),
        ("header.opus", written(np.zeros((0, 2)), format="OGG", subtype="OPUS"), "empty_audio"),
        ("no_index.m4a", encoded("aac", "mp4", stereo())[:20_000], "unreadable_audio"),
    ],
)
def test_what_holds_no_sound_is_refused(name: str, data: bytes, reason: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", stereo(), RATE)  # which the playlist names
    (tmp_path / name).write_bytes(data)
    assert refused(tmp_path / name).reason == reason


def test_a_film_without_its_index_is_told_as_one(tmp_path: Path) -> None:
    """As of a camera whose battery was empty."""
    (tmp_path / "a.mp4").write_bytes(encoded("aac", "mp4", stereo())[:20_000])
    found = r"its index \(moov\) is missing or damaged; was the recording stopped"
    with pytest.raises(RecordError, match=found), open_recording(Storage(), f"{tmp_path}/a.mp4"):
        pass


def test_a_video_without_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        output.mux([*stream.encode(picture()), *stream.encode(None)])
    error = refused(path)
    assert (error.reason, error.message) == ("no_audio_stream", f"{path} holds no audio, only video")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="there is no such file"), open_recording(Storage(), f"{tmp_path}/a.wav"):
        pass


# What breaks off ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_breaks_off_yields_what_is_there(suffix: str, tmp_path: Path) -> None:
    data = file_of(suffix)
    (tmp_path / f"whole.{suffix}").write_bytes(data)
    (tmp_path / f"half.{suffix}").write_bytes(data[: len(data) * 55 // 100])
    _, whole = decoded(tmp_path / f"whole.{suffix}")

    recording, half = decoded(tmp_path / f"half.{suffix}")

    assert recording.broken_off
    assert 0.3 * len(whole) < len(half) < 0.7 * len(whole)
    length = len(half) - RATE // 10  # the last frames of an mp3 lack what follows
    assert np.array_equal(half[:length], whole[:length])


@pytest.mark.parametrize("sample_rate", [44100, 48000, 32000, 22050, 16000, 11025, 8000])
def test_an_mp3_that_does_not_tell_its_length_is_cut_where_a_frame_is(sample_rate: int, tmp_path: Path) -> None:
    data = encoded("libmp3lame", "mp3", stereo(2.0), sample_rate, write_xing="0", id3v2_version="0")
    tag = b"TAG" + bytes(125)
    told = []
    for found in (data, data + tag, data[:-1], data[: len(data) * 2 // 3]):
        (tmp_path / "a.mp3").write_bytes(found)
        told.append(decoded(tmp_path / "a.mp3")[0].broken_off)
    assert told == ["", "", "its last frame is cut", "its last frame is cut"]


def mp3_without_header(duration_sec: float) -> bytes:
    return encoded("libmp3lame", "mp3", stereo(duration_sec), write_xing="0", id3v2_version="0")


def test_garbage_half_way_is_told(tmp_path: Path) -> None:
    data = mp3_without_header(DURATION_SEC)
    (tmp_path / "a.mp3").write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    recording, samples = decoded(tmp_path / "a.mp3")
    assert recording.broken_off == f"{len(data) // 2} bytes of it are no mp3 frames"
    assert len(samples) == pytest.approx(DURATION_SEC / 2 * RATE, rel=0.1)


def ape_tag(num_bytes: int) -> bytes:
    value = np.random.default_rng(0).bytes(num_bytes)
    item = struct.pack("<II", len(value), 2) + b"Cover Art (Front)\0" + value
    ends = (b"APETAGEX" + struct.pack("<IIII", 2000, len(item) + 32, 1, flag) + bytes(8) for flag in (5 << 29, 1 << 31))
    return item.join(ends)


@pytest.mark.parametrize(
    "tail", [b"\0", b"\r\n", bytes(3000), ape_tag(300), ape_tag(20_000), b"LYRICSBEGININD0000200", b"<html></html>"]
)
def test_what_follows_the_sound_of_an_mp3_does_not_make_it_incomplete(tail: bytes, tmp_path: Path) -> None:
    data = mp3_without_header(2.0)
    (tmp_path / "a.mp3").write_bytes(data)
    _, expected = decoded(tmp_path / "a.mp3")
    (tmp_path / "a.mp3").write_bytes(data + tail)
    recording, samples = decoded(tmp_path / "a.mp3")
    assert recording.broken_off == "" and np.array_equal(samples, expected)


@pytest.mark.parametrize("between", [b"ID3\4\0\0\0\0\x10\0" + bytes(2048), b"", b"no frame"])
def test_what_follows_a_tag_within_an_mp3_is_read_too(between: bytes, tmp_path: Path) -> None:
    data = mp3_without_header(2.0)
    (tmp_path / "a.mp3").write_bytes(data + between + data)
    recording, samples = decoded(tmp_path / "a.mp3")
    assert recording.broken_off == ""
    assert len(samples) == pytest.approx(4.0 * RATE, rel=0.05)


# What cannot be read this time --------------------------------------------------------------------------------


class CutFile(io.BytesIO):
    """A file on a store whose connection breaks at a byte, once or for good."""

    def __init__(self, data: bytes, num_bytes: int, error: Exception | None) -> None:
        super().__init__(data)
        self.size = len(data)
        self.end, self.error = num_bytes, error

    def read(self, num_bytes: int | None = -1) -> bytes:
        if self.tell() + (num_bytes or 0) > self.end:
            if self.error is None:
                return super().read(max(0, self.end - self.tell()))
            raise self.error
        return super().read(num_bytes)


class CutStorage(Storage):
    """A storage in which every file is a ``CutFile``."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments

    @contextlib.contextmanager
    def open(self, path: str, reads_ahead: bool = True) -> Iterator[Any]:
        yield CutFile(*self.arguments)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("error", [OSError("connection reset"), ValueError("odd"), None])
def test_a_read_that_fails_is_not_taken_for_a_recording_that_breaks_off(
    suffix: str, share: float, error: Exception | None
) -> None:
    data = file_of(suffix)
    storage = CutStorage(data, int(share * len(data)), error)
    with pytest.raises(StorageError, match=f"cannot read a: {error or 'it ends at byte'}") as caught:  # noqa: SIM117
        with open_recording(storage, "a") as recording:
            for _ in recording.blocks():
                pass
    assert not isinstance(caught.value, RecordError)


@pytest.mark.parametrize(("share", "kind"), [(0.0, AccessError), (0.5, StorageError)])
def test_access_that_is_lost_half_way_may_come_back(share: float, kind: type[CuratorError]) -> None:
    data = file_of("wav")
    storage = CutStorage(data, int(share * len(data)), PermissionError("expired"))
    with pytest.raises(StorageError) as caught, open_recording(storage, "a") as recording:
        list(recording.blocks())
    assert type(caught.value) is kind


@pytest.fixture
def cutting_server() -> Iterator[tuple[str, dict[str, Any]]]:
    """A server that hangs up ``after`` bytes of ``data``, whatever it promised."""
    state: dict[str, Any] = {"data": b"", "after": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(state["data"])))
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()

        def do_GET(self) -> None:
            data: bytes = state["data"]
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)) + 1, len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            self.wfile.write(data[start : min(end, state["after"])])
            self.wfile.flush()
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", state
    server.shutdown()
    server.server_close()


def test_a_connection_cut_in_mid_object(cutting_server: tuple[str, dict[str, Any]]) -> None:
    address, state = cutting_server
    state["data"] = written(np.zeros((4 * 2**20, 1)), format="WAV")  # two ranges of 5 MB, fsspec's block
    num_decoded = 0

    state["after"] = len(state["data"])
    with open_recording(Storage(), f"{address}/a.wav") as recording:
        assert sum(map(len, recording.blocks())) == 4 * 2**20

    state["after"] = 6 * 2**20
    with pytest.raises(StorageError, match="cannot read http://"):  # noqa: SIM117
        with open_recording(Storage(), f"{address}/a.wav") as recording:
            for block in recording.blocks():
                num_decoded += len(block)
    assert 2 * 2**20 < num_decoded < 3 * 2**20
