"""Recordings of any length in any of the usual formats, decoded block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from operator import itemgetter
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import AccessError, CuratorError, RecordError, StorageError
from curator_audio.stages.speech.mp3 import is_cut_frame
from curator_audio.stages.speech.resample import resampled
from curator_audio.stages.speech.sound import Samples, repaired
from curator_audio.storage.failures import explained
from curator_audio.storage.storage import Storage

FORMATS = "aac,aiff,amr,asf,au,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav"
"""FFmpeg's names of the containers that are read; none of them is a playlist, which could name any other file."""

COUNTED_FORMATS = frozenset(("aiff", "au", "caf", "flac", "matroska", "mov", "ogg", "w64", "wav"))
"""Those whose length was written down by who made them; that of the others is guessed from a bit rate."""

MIN_MISSING_SEC = 0.5
"""How much must be missing of the length written down for a recording to count as broken off; encoders pad by less."""

MAX_OGG_PAGE_BYTES = 65307

MP3_DECODERS = ("mp3", "mp3float")
MP3_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""How what is no sound begins that is meant to be in an mp3 file: behind it, or where files were put together."""
USUAL_BIT_RATE = 128_000  # bits a second, where a file tells none


@contextmanager
def open_recording(storage: Storage, path: str) -> Iterator[Recording]:
    """Open a recording to decode its first audio stream, once, in order.

    Args:
        storage: where it is read from.
        path: a local path or URL of a wav, flac, ogg, mp3, m4a, webm or other file of ``FORMATS``.

    Raises:
        RecordError: it holds no audio (``no_audio_stream``, ``empty_audio``), or nothing of it can be decoded
            (``unreadable_audio``).
        AccessError: there is no such file, or it may not be read.
        StorageError: it could not be read this time.

    Example:
        >>> from curator_audio.stages.speech.sound import encode_flac
        >>> storage = Storage()
        >>> storage.write("memory://doc/a.flac", encode_flac(np.full(24000, 0.5, np.float32), 16000))
        >>> with open_recording(storage, "memory://doc/a.flac") as recording:
        ...     recording.sample_rate, recording.num_channels, [len(block) for block in recording.blocks()]
        (16000, 1, [16384, 7616])
    """
    import av

    with storage.open(path) as opened, ExitStack() as stack:
        file = _File(opened, path)
        options = {"format_whitelist": FORMATS}
        try:
            container = stack.enter_context(av.open(file, "r", container_options=options, metadata_errors="replace"))
        except av.FFmpegError as error:
            file.check()
            raise _unreadable(path, error) from None
        file.check()
        yield Recording(container, file, path)


class Recording:
    """A recording as ``open_recording`` gives it.

    Attributes:
        sample_rate: its rate in Hz, that of ``blocks()``.
        num_channels: its number of channels, before they are mixed.
        broken_off: empty, or why there are fewer samples than there should be: the decoder's message, or what is
            missing of the file; known when ``blocks()`` is at its end.
        num_bad_samples: how many samples so far were no numbers, infinite or absurdly large, and became 0.
        num_samples: how many samples ``blocks()`` gave so far.
    """

    def __init__(self, container: Any, file: _File, path: str) -> None:
        self.broken_off = ""
        self.num_bad_samples = 0
        self.num_samples = 0
        self._path, self._file, self._container = path, file, container
        self._has_cut_packet = False
        self._last_packet: Any = None
        self._num_junk_bytes = self._num_tag_bytes = 0
        if not container.streams.audio:
            raise RecordError("no_audio_stream", f"{path} holds no audio, only {_kinds(container)}")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise RecordError("unreadable_audio", f"{path}: there is no decoder for its audio")
        stream.codec_context.thread_count = 1
        self._is_mp3 = stream.codec_context.name in MP3_DECODERS
        self._bit_rate = stream.codec_context.bit_rate or USUAL_BIT_RATE
        self._declared_sec = _declared_sec(container, stream)
        self._frames = self._decoded(container.demux(stream))
        self._first = next(self._frames, None)
        if self._first is None:
            raise RecordError("empty_audio", f"{path} has no samples")
        self.sample_rate: int = self._first.sample_rate
        self.num_channels: int = self._first.layout.nb_channels

    def blocks(self) -> Iterator[Samples]:
        """All samples in blocks of about a second, float32 of shape (num_samples,), the mean of the channels.

        To be called once. What comes in other formats later on, as it may in a chain of streams, is brought to
        ``sample_rate``.

        Raises:
            StorageError: the file could not be read to its end; a decoder's failure ends the blocks instead, and is
                told in ``broken_off``.
        """
        for rate, blocks in groupby(self._mono_blocks(), key=itemgetter(0)):
            for block in resampled((block for _, block in blocks), rate, self.sample_rate):
                self.num_samples += len(block)
                yield block
        if not self.broken_off:
            self.broken_off = self._missing()

    def _missing(self) -> str:
        """What the file lacks, though nothing failed: most formats can be cut anywhere, and decoders will not tell."""
        missing_sec = self._declared_sec - self.num_samples / self.sample_rate
        if missing_sec - self._num_tag_bytes * 8 / self._bit_rate > MIN_MISSING_SEC:  # FFmpeg takes tags for sound
            return f"{missing_sec:.1f} s of the {self._declared_sec:.1f} s that its header tells are missing"
        if self._container.format.name == "ogg" and _is_cut_page(self._file.tail(MAX_OGG_PAGE_BYTES)):
            return "its last page is cut"
        if self._num_junk_bytes * 8 / self._bit_rate > MIN_MISSING_SEC:
            return f"{self._num_junk_bytes} bytes of it are no mp3 frames"
        if self._is_mp3 and is_cut_frame(bytes(self._last_packet)):
            return "its last frame is cut"
        return "a packet of it is cut" if self._has_cut_packet else ""

    def _decoded(self, packets: Iterable[Any]) -> Iterator[Any]:
        """The frames, to the end or to where decoding fails; an mp3 goes on behind what is no frame, as players do."""
        import av

        has_decoded = is_in_tag = False
        failed: av.FFmpegError | None = None
        try:
            for packet in packets:
                self._has_cut_packet |= packet.is_corrupt
                self._last_packet = packet if packet.size else self._last_packet
                try:
                    frames = packet.decode()
                    is_in_tag = False
                except av.error.InvalidDataError as error:
                    if not self._is_mp3:
                        raise
                    failed = failed or error
                    is_in_tag |= bytes(packet).startswith(MP3_TAGS)
                    if is_in_tag:
                        self._num_tag_bytes += packet.size
                    else:
                        self._num_junk_bytes += packet.size
                    continue
                for frame in frames:
                    has_decoded = True
                    yield frame
        except av.FFmpegError as error:
            self._file.check()
            failed = error
            self.broken_off = _message(error)
        self._file.check()
        if failed is not None and not has_decoded:
            raise _unreadable(self._path, failed) from None

    def _mono_blocks(self) -> Iterator[tuple[int, Samples]]:
        """Frames of one format put together; a frame alone is some ms, and would cost more calls than computing."""
        gathered: list[Any] = []
        num_samples = 0
        frame, self._first = self._first, None
        while frame is not None:
            if gathered and (num_samples >= gathered[0].sample_rate or _form(frame) != _form(gathered[0])):
                yield gathered[0].sample_rate, self._mono(gathered)
                gathered, num_samples = [], 0
            gathered.append(frame)
            num_samples += frame.samples
            frame = next(self._frames, None)
        if gathered:
            yield gathered[0].sample_rate, self._mono(gathered)

    def _mono(self, frames: list[Any]) -> Samples:
        samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        if not frames[0].format.is_planar:
            samples = samples.reshape(-1, frames[0].layout.nb_channels).T
        channels = self._repaired(samples) if samples.dtype.kind == "f" else _full_scale(samples)
        mono: Samples = channels[0] if len(channels) == 1 else channels.mean(axis=0, dtype=np.float32)
        return mono

    def _repaired(self, samples: npt.NDArray[Any]) -> Samples:
        samples, num_bad = repaired(samples)
        self.num_bad_samples += num_bad
        return np.ascontiguousarray(samples, dtype=np.float32)


class _File:
    """A file as FFmpeg is given it: what goes wrong in a read is kept, and looks like the file's end to FFmpeg.

    FFmpeg may pass over a failed read, and a connection that broke would then look like a recording that breaks off.
    """

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file = file
        self._path = path
        self._num_bytes: int | None = getattr(file, "size", None)
        self._has_read = False
        self._error: CuratorError | None = None

    def read(self, num_bytes: int) -> bytes:
        if self._error is not None:
            return b""
        try:
            with explained(self._path, "read"):
                data = self._file.read(num_bytes)
                if not data and self._num_bytes is not None and self._file.tell() < self._num_bytes:
                    raise OSError(f"it ends at byte {self._file.tell()} of {self._num_bytes}")
        except AccessError as error:  # what could be read a moment ago can be read again
            self._error = StorageError(str(error)) if self._has_read else error
            return b""
        except Exception as error:
            kept = error if isinstance(error, CuratorError) else StorageError(f"cannot read {self._path}: {error}")
            self._error = kept
            return b""
        self._has_read = True
        return data

    def seekable(self) -> bool:
        return self._num_bytes is not None and self._file.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte counted from the start or, with 2, from the end; -1, FFmpeg's failure, if there is none."""
        num_bytes = self._num_bytes or 0
        target = offset + (num_bytes if whence == 2 else 0)
        return self._file.seek(target) if 0 <= target <= num_bytes else -1

    def tell(self) -> int:
        return self._file.tell()

    def tail(self, num_bytes: int) -> bytes:
        """The last bytes of the file, none where it can only be read in order."""
        if not self.seekable():
            return b""
        self.seek(max(0, (self._num_bytes or 0) - num_bytes))
        data = self.read(num_bytes)
        self.check()
        return data

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error


def _full_scale(samples: npt.NDArray[Any]) -> Samples:
    """Integers as fractions of their full scale."""
    middle = 128 if samples.dtype.kind == "u" else 0
    scale = np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
    floats: Samples = np.ascontiguousarray(samples, dtype=np.float32)
    floats -= np.float32(middle)
    floats *= scale
    return floats


def _form(frame: Any) -> tuple[int, int, str]:
    return frame.sample_rate, frame.layout.nb_channels, frame.format.name


def _declared_sec(container: Any, stream: Any) -> float:
    """The length that was written down, 0 where none was."""
    formats = container.format.name.split(",")
    # An mp3's encoder is known from the same header that counts its frames.
    is_counted = "encoder" in stream.metadata if formats == ["mp3"] else not COUNTED_FORMATS.isdisjoint(formats)
    if is_counted and stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if is_counted and container.duration is not None and len(container.streams) == 1:
        return float(container.duration / 1e6)
    return 0.0


def _is_cut_page(tail: bytes) -> bool:
    """Whether the last Ogg page (RFC 3533, section 6) of a file that ends like this is incomplete."""
    start = tail.rfind(b"OggS")
    page = tail[start:] if start >= 0 else b""
    if len(page) < 27:
        return start >= 0
    lengths = page[27 : 27 + page[26]]
    return len(page) < 27 + page[26] + sum(lengths)


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _unreadable(path: str, error: Any) -> RecordError:
    import av

    if isinstance(error, av.EOFError):
        return RecordError("empty_audio", f"{path} ends before its first sample")
    return RecordError("unreadable_audio", f"{path}: {_message(error)}; give a wav, flac, ogg, mp3, m4a or webm file")


def _message(error: Any) -> str:
    return str(error.strerror or error)
