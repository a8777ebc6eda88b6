"""Recordings of any length in any of the usual formats, decoded block by block."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import AccessError, CuratorError, RecordError, StorageError
from curator_audio.stages.speech.downmix import Downmix
from curator_audio.stages.speech.flac import FlacClock
from curator_audio.stages.speech.mp3 import is_cut_frame
from curator_audio.stages.speech.ogg_links import MAGIC, OggLinks
from curator_audio.stages.speech.resample import resampled
from curator_audio.stages.speech.sound import Samples, repaired
from curator_audio.stages.speech.sound_options import CONTAINER, DEFAULT_TRACK, SoundOptions
from curator_audio.stages.speech.timeline import TIMED_FORMATS, Timeline
from curator_audio.stages.speech.tracks import chosen_track, described
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
EMPTY = "empty_audio"
USUAL_BIT_RATE = 128_000  # bits a second, where a file tells none


@contextmanager
def open_recording(storage: Storage, path: str, options: SoundOptions | None = None) -> Iterator[Recording]:
    """Open a recording to decode one of its audio tracks, once, in order.

    Args:
        storage: where it is read from.
        path: a local path or URL of a wav, flac, ogg, mp3, m4a, webm or other file of ``FORMATS``.
        options: what is taken of it; None for the mix of the track that players take, its samples end to end.

    Raises:
        RecordError: it holds no audio (``no_audio_stream``, ``empty_audio``) or not what is asked for
            (``no_such_track``, ``no_such_channel``), or nothing of it can be decoded (``unreadable_audio``).
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
    with storage.open(path) as opened:
        file = _File(opened, path)
        with closing(_containers(file, path)) as containers:
            yield Recording(containers, file, path, options or SoundOptions())


def _containers(file: _File, path: str) -> Generator[Any]:
    """The file as an open container; of a chain of Ogg streams each link as one, the one before it closed."""
    links = OggLinks(file) if file.begins_with(MAGIC) else None
    empty: RecordError | None = None
    num_opened = 0
    while True:
        try:
            container = _opened(links or file, file, path)
        except RecordError as error:
            if links is None or error.reason != EMPTY or links.tells_of_sound():
                raise
            empty = error
        else:
            num_opened += 1
            with container:
                file.check()
                yield container
        if links is None or not links.advance():
            break
    if empty is not None and not num_opened:
        raise empty


def _opened(source: Any, file: _File, path: str) -> Any:
    import av

    options = {"format_whitelist": FORMATS}
    try:
        return av.open(source, "r", container_options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        file.check()
        raise _unreadable(path, error) from None


class Recording:
    """A recording as ``open_recording`` gives it.

    Attributes:
        sample_rate: its rate in Hz, that of ``blocks()``.
        num_channels: its number of channels, before they are mixed.
        broken_off: empty, or why there are fewer samples than there should be: the decoder's message, or what is
            missing of the file; known when ``blocks()`` is at its end.
        num_bad_samples: how many samples so far were no numbers, infinite or absurdly large, and became 0.
        num_samples: how many samples ``blocks()`` gave so far.
        timeline: where samples and timestamps disagreed so far.
        is_placed: whether samples are put where timestamps have them.
        tracks: empty, or the audio tracks of which the default one was taken, since no other was asked for.
    """

    def __init__(self, containers: Iterator[Any], file: _File, path: str, options: SoundOptions) -> None:
        self.broken_off = ""
        self.num_bad_samples = 0
        self.num_samples = 0
        self.timeline = Timeline()
        self.is_placed = options.timeline == CONTAINER
        self.tracks = ""
        self._path, self._file, self._options = path, file, options
        self._is_mp3 = self._is_ogg = self._is_timed = self._has_cut_packet = self._is_in_tag = False
        self._flac_clock: FlacClock | None = None
        self._last_packet: Any = None
        self._failure: Any = None  # of the last packet that could not be decoded, if none could after it
        self._num_junk_bytes = self._num_tag_bytes = 0
        self._bit_rate = USUAL_BIT_RATE
        self._declared_sec = 0.0
        self._frames = self._decoded(containers)
        self._first = next(self._frames, None)
        if self._first is None:
            raise RecordError(EMPTY, f"{path} has no samples")
        self.sample_rate: int = self._first.sample_rate
        self.num_channels: int = self._first.layout.nb_channels
        self._downmix = Downmix(options, path, self.num_channels)
        self._downmix.check(_channel_names(self._first))

    @property
    def opposite_phase_sec(self) -> float:
        """For how long one channel was the other upside down, so that only one was taken."""
        return self._downmix.opposite_phase.sec

    def blocks(self) -> Iterator[Samples]:
        """All samples in blocks of about a second, float32 of shape (num_samples,).

        To be called once. What comes in other formats later on, as it may in a chain of streams, is brought to
        ``sample_rate``. For ``channel: each`` blocks are of shape (num_samples, num_channels).

        Raises:
            StorageError: the file could not be read to its end; a decoder's failure ends the blocks instead, and is
                told in ``broken_off``.
        """
        try:
            for rate, blocks in groupby(self._channel_blocks(), key=itemgetter(0)):
                for block in resampled(self._mixed(blocks, rate), rate, self.sample_rate):
                    self.num_samples += len(block)
                    yield block
        except RecordError as error:  # later on there is not what was asked for
            self.broken_off = error.message
        if not self.broken_off:
            self.broken_off = self._missing()

    def _mixed(self, blocks: Iterable[tuple[int, tuple[str, ...], Samples]], rate: int) -> Iterator[Samples]:
        for names, alike in groupby(blocks, key=itemgetter(1)):
            yield from self._downmix.mixed((channels for _, _, channels in alike), names, rate)

    def _missing(self) -> str:
        """What the file lacks, though nothing failed: most formats can be cut anywhere, and decoders will not tell."""
        # What is missing between its timestamps is a gap, and not missing at the end.
        there_sec = max(self.num_samples / self.sample_rate, self.timeline.sec) + self.timeline.jump_sec
        missing_sec = self._declared_sec - there_sec
        if missing_sec - self._num_tag_bytes * 8 / self._bit_rate > MIN_MISSING_SEC:  # FFmpeg takes tags for sound
            return f"{missing_sec:.1f} s of the {self._declared_sec:.1f} s that its header tells are missing"
        if self._is_ogg and _is_cut_page(self._file.tail(MAX_OGG_PAGE_BYTES)):
            return "its last page is cut"
        if self._num_junk_bytes * 8 / self._bit_rate > MIN_MISSING_SEC:
            return f"{self._num_junk_bytes} bytes of it are no mp3 frames"
        if self._is_mp3 and is_cut_frame(bytes(self._last_packet)):
            return "its last frame is cut"
        return "a packet of it is cut" if self._has_cut_packet else ""

    def _decoded(self, containers: Iterator[Any]) -> Iterator[Any]:
        """The frames of all containers, to the end or to where decoding fails for good."""
        import av

        has_decoded = False
        try:
            for container in containers:
                stream = self._begin(container)
                for packet in container.demux(stream):
                    for frame in self._frames_of(packet):
                        has_decoded = True
                        yield frame
        except av.FFmpegError as error:
            self._file.check()
            self._failure, self.broken_off = error, _message(error)
        except RecordError as error:
            if not has_decoded:
                raise
            self.broken_off = error.message  # of a link that follows
        self._file.check()
        if self._failure is not None:
            if not has_decoded:
                raise _unreadable(self._path, self._failure) from None
            if not self._is_mp3:
                self.broken_off = _message(self._failure)

    def _begin(self, container: Any) -> Any:
        """Choose the audio track of a container, which is the first one or the next of a chain."""
        stream = chosen_track(container, self._options, self._path)
        if stream.codec_context is None:
            raise RecordError("unreadable_audio", f"{self._path}: there is no decoder for its audio")
        stream.codec_context.thread_count = 1
        formats = container.format.name.split(",")
        self._is_mp3 = stream.codec_context.name in MP3_DECODERS
        self._is_ogg = formats == ["ogg"]
        self._flac_clock = FlacClock() if self._is_ogg and stream.codec_context.name == "flac" else None
        self._is_timed = not TIMED_FORMATS.isdisjoint(formats)
        self._bit_rate = stream.codec_context.bit_rate or USUAL_BIT_RATE
        self._declared_sec = _declared_sec(container, stream)
        if "matroska" in formats:  # which counts it from 0, wherever the sound begins
            self._declared_sec -= (container.start_time or 0) / 1e6
        tracks = container.streams.audio
        if len(tracks) > 1 and self._options.audio_track == DEFAULT_TRACK:
            self.tracks = f"{described(tracks)}; {tracks.index(stream)} is taken"
        self.timeline.begin(float(stream.time_base) if self._is_timed else None, _late_sec(container, stream))
        return stream

    def _frames_of(self, packet: Any) -> list[Any]:
        """What a packet decodes to; nothing where it cannot be decoded, and what follows can be found and placed."""
        import av

        if packet.size:
            self._has_cut_packet, self._last_packet = packet.is_corrupt, packet
            if self._flac_clock is not None:
                packet.pts = self._flac_clock.first_sample(bytes(packet))
        try:
            frames: list[Any] = packet.decode()
        except av.error.InvalidDataError as error:
            if not self._is_mp3 and not self._is_timed:
                raise
            self._failure = error
            if self._is_mp3:
                self._is_in_tag |= bytes(packet).startswith(MP3_TAGS)
                self._num_tag_bytes += packet.size * self._is_in_tag
                self._num_junk_bytes += packet.size * (not self._is_in_tag)
            return []
        self._is_in_tag = False
        if frames and packet.size:
            self._failure = None
        return frames

    def _channel_blocks(self) -> Iterator[tuple[int, tuple[str, ...], Samples]]:
        """Rate, names of channels and samples of frames of one form put together.

        A frame alone is some ms, and would cost more calls than computing. Silence and what is dropped are where the
        timeline has them, if it is that of the container.
        """
        gathered: list[Any] = []
        num_samples = 0
        form: tuple[Any, ...] = ()
        names: tuple[str, ...] = ()
        frame, self._first = self._first, None
        while frame is not None:
            length, rate = frame.samples, frame.sample_rate
            offset = self.timeline.place(frame.pts, length, rate)
            if num_samples >= rate or _form(frame) != form or (offset and self.is_placed):
                if gathered:
                    yield form[0], names, self._joined(gathered)
                gathered, num_samples, form, names = [], 0, _form(frame), _channel_names(frame)
            if not offset or not self.is_placed:
                gathered.append(frame)
                num_samples += length
            elif offset > 0:
                for start in range(0, offset, rate):
                    yield rate, names, np.zeros((len(names), min(rate, offset - start)), np.float32)
                gathered, num_samples = [frame], length
            elif length + offset > 0:
                yield rate, names, self._joined([frame])[:, -offset:]
            frame = next(self._frames, None)
        if gathered:
            yield form[0], names, self._joined(gathered)

    def _joined(self, frames: list[Any]) -> Samples:
        """The samples of frames, float32 of shape (num_channels, num_samples)."""
        first = frames[0]
        dtype, num_channels = (
            first.to_ndarray().dtype,
            first.layout.nb_channels,
        )  # an array a frame costs ten times as much
        if first.format.is_planar:
            samples = np.empty((num_channels, sum(frame.samples for frame in frames)), dtype)
            for channel in range(num_channels):
                planes = [np.frombuffer(frame.planes[channel], dtype, frame.samples) for frame in frames]
                np.concatenate(planes, out=samples[channel])
        else:
            packed = [np.frombuffer(frame.planes[0], dtype, frame.samples * num_channels) for frame in frames]
            samples = np.concatenate(packed).reshape(-1, num_channels).T
        return self._repaired(samples) if dtype.kind == "f" else _full_scale(samples)

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
        self._ahead = b""  # read, and not given out
        self._error: CuratorError | None = None

    def begins_with(self, magic: bytes) -> bool:
        """Whether the file, of which nothing was read, begins like this."""
        head = self.read(len(magic))
        if self.seekable():
            self.seek(0)
        else:
            self._ahead = head
        return head == magic

    def read(self, num_bytes: int) -> bytes:
        if self._error is not None:
            return b""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
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


def _form(frame: Any) -> tuple[int, str, str]:
    return frame.sample_rate, frame.layout.name, frame.format.name


def _channel_names(frame: Any) -> tuple[str, ...]:
    return tuple(channel.name for channel in frame.layout.channels)


def _late_sec(container: Any, stream: Any) -> float:
    """By how much a track starts after its container does, of which players show that as 0."""
    if stream.start_time is None or container.start_time is None:
        return 0.0
    return float(stream.start_time * stream.time_base - Fraction(container.start_time, 1_000_000))


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


def _unreadable(path: str, error: Any) -> RecordError:
    import av

    if isinstance(error, av.EOFError):
        return RecordError(EMPTY, f"{path} ends before its first sample")
    return RecordError("unreadable_audio", f"{path}: {_message(error)}; give a wav, flac, ogg, mp3, m4a or webm file")


def _message(error: Any) -> str:
    return str(error.strerror or error)
