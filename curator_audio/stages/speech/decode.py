"""Recordings of any length in any of the usual formats, decoded block by block."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.stages.speech import flac_links, ogg_links
from curator_audio.stages.speech.downmix import Downmix
from curator_audio.stages.speech.flac import FlacClock
from curator_audio.stages.speech.flac_links import FlacLinks
from curator_audio.stages.speech.headers import (
    MAX_PAGE_BYTES,
    SoundBytes,
    is_cut_page,
    mended_asf_head,
    mended_last_page,
    sound_bytes,
)
from curator_audio.stages.speech.kinds import what_else, what_text
from curator_audio.stages.speech.media_file import InOrder, LookedTooFar, MediaFile
from curator_audio.stages.speech.mp3 import MP3_TAGS, is_cut_frame
from curator_audio.stages.speech.ogg_links import OggLinks
from curator_audio.stages.speech.packets import num_samples_by_packets
from curator_audio.stages.speech.resample import resampled
from curator_audio.stages.speech.sound import Samples, repaired
from curator_audio.stages.speech.sound_options import CONTAINER, DEFAULT_TRACK, SoundOptions
from curator_audio.stages.speech.timeline import TIMED_FORMATS, Timeline
from curator_audio.stages.speech.tracks import chosen_track, described
from curator_audio.storage.storage import Storage

FORMATS = "aac,aiff,amr,asf,au,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav"
"""FFmpeg's names of the containers that are read; none of them is a playlist, which could name any other file."""

COUNTED_FORMATS = frozenset(("aiff", "au", "caf", "flac", "matroska", "mov", "ogg", "w64", "wav"))
"""Those whose length was written down by who made them; that of the others is guessed from a bit rate."""

MIN_MISSING_SEC = 0.5
"""How much must be missing of the length written down for a recording to count as broken off; encoders pad by less."""

MIN_COUNTED_BYTES = 2**20
"""How large a file is of which packets are counted; a smaller one is decoded as fast."""

LINKS: dict[bytes, type[OggLinks] | type[FlacLinks]] = {ogg_links.MAGIC: OggLinks, flac_links.MAGIC: FlacLinks}
"""What reads files that may be chains, by how they begin."""

MP3_DECODERS = ("mp3", "mp3float")
MPEG_DECODERS = (*MP3_DECODERS, "mp1", "mp1float", "mp2", "mp2float")
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
            (``no_such_track``, ``no_such_channel``), is something else (``not_audio``), or nothing of it can be decoded
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
    with storage.open(path) as opened:
        file = MediaFile(opened, path)
        file.read_head()
        if not file.head:
            raise RecordError(EMPTY, f"{path} is an empty file; has the download or the copy failed?")
        if kind := what_else(file.head):
            raise RecordError("not_audio", f"{path}: {kind}")
        sound = _mended(file)
        chain = LINKS.get(file.head[:4])
        with closing(_links(chain(file), file, path) if chain else _container(file, path)) as containers:
            yield Recording(containers, file, path, sound, options or SoundOptions())


def _mended(file: MediaFile) -> SoundBytes | None:
    """Where the sound lies, if the header tells; FFmpeg is given another header where it would not read all of it."""
    sound = sound_bytes(file)
    if sound is not None:
        file.wrong_header = sound.warning
        if sound.needs_header:
            header = sound.header.written(sound.end - sound.header.start)
            file.replace(header, sound.header.start, sound.end)
    elif last_page := mended_last_page(file):
        start, page = last_page
        header = file.head[:start]
        file.wrong_header = "its last page tells of less sound than the one before it; all of it is read"
        file.replace(header, len(header), start, page)
    elif asf := mended_asf_head(file, file.head):
        header, file.wrong_header = asf
        file.replace(header, len(header), file.num_bytes)
    return sound


def _container(file: MediaFile, path: str) -> Generator[Any]:
    """The file as a container, open until the next is asked for, of which there is none."""
    file.begin()
    try:
        container = _opened(file, file, path)
    except LookedTooFar:
        file.begin(in_order=True)
        container = _opened(file, file, path)
    with container:
        yield container


def _links(links: OggLinks | FlacLinks, file: MediaFile, path: str) -> Generator[Any]:
    """The streams of a chain, each as a container; those without sound are passed over."""
    file.begin()
    empty: RecordError | None = None
    has_opened = False
    while True:
        try:
            container = _opened(InOrder(links, file), file, path)
        except RecordError as error:
            if error.reason != EMPTY or links.tells_of_sound():
                raise
            empty = error
        else:
            has_opened = True
            with container:
                yield container
        if not links.advance():
            break
    if empty is not None and not has_opened:
        raise empty


def _opened(source: Any, file: MediaFile, path: str) -> Any:
    """A container as FFmpeg finds it in a file, or in a part of one."""
    import av

    try:
        container = av.open(source, "r", container_options={"format_whitelist": FORMATS}, metadata_errors="replace")
    except av.FFmpegError as error:
        file.check()
        if kind := what_text(file.head):
            raise RecordError("not_audio", f"{path}: {kind}") from None
        raise _unreadable(path, error) from None
    try:
        file.check()
    except BaseException:
        container.close()
        raise
    return container


class Recording:
    """A recording as ``open_recording`` gives it.

    Attributes:
        sample_rate: its rate in Hz, that of ``blocks()``.
        num_channels: its number of channels, before they are mixed.
        broken_off: empty, or why there are fewer samples than there should be: the decoder's message, or what is
            missing of the file; known when ``blocks()`` is at its end.
        wrong_header: empty, or how much more sound there is than the header tells; known then, too.
        num_bad_samples: how many samples so far were no numbers, infinite or absurdly large, and became 0.
        num_samples: how many samples ``blocks()`` gave so far.
        timeline: where samples and timestamps disagreed so far.
        is_placed: whether samples are put where timestamps have them.
        tracks: empty, or the audio tracks of which the default one was taken, since no other was asked for.
    """

    def __init__(
        self, containers: Iterator[Any], file: MediaFile, path: str, sound: SoundBytes | None, options: SoundOptions
    ) -> None:
        self.broken_off = ""
        self.wrong_header = ""
        self.num_bad_samples = 0
        self.num_samples = 0
        self.timeline = Timeline()
        self.is_placed = options.timeline == CONTAINER
        self.tracks = ""
        self._path, self._file, self._sound, self._options = path, file, sound, options
        self._is_mp3 = self._is_pcm = self._is_ogg = self._is_timed = self._has_cut_packet = self._is_in_tag = False
        self._is_cut_at_start = self._has_begun = False
        self._flac_clock: FlacClock | None = None
        self._mpeg_context: Any = None
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
        self._finish()

    def measure(self) -> int:
        """How many samples ``blocks()`` gives, and what it tells; to be called in its place.

        Decodes the recording unless its bytes or its packets tell as well.
        """
        num_samples = self._sound.num_samples if self._sound is not None and self._is_pcm else self._num_by_packets()
        if num_samples is None:
            for _ in self.blocks():
                pass
        else:
            self.num_samples = num_samples
            self._finish()
        return self.num_samples

    def _num_by_packets(self) -> int | None:
        if not self._is_ogg or self.is_placed or (self._file.num_bytes or 0) < MIN_COUNTED_BYTES:
            return None
        with self._file.read_anew():  # what is open here is needed where the packets do not tell
            self._file.begin()
            with _opened(self._file, self._file, self._path) as container:
                return num_samples_by_packets(container, chosen_track(container, self._options, self._path))

    def _finish(self) -> None:
        if not self.broken_off:
            self.broken_off = self._missing()
        self.wrong_header = self._surplus()

    def _mixed(self, blocks: Iterable[tuple[int, tuple[str, ...], Samples]], rate: int) -> Iterator[Samples]:
        for names, alike in groupby(blocks, key=itemgetter(1)):
            yield from self._downmix.mixed((channels for _, _, channels in alike), names, rate)

    def _missing(self) -> str:
        """What the file lacks, though nothing failed: most formats can be cut anywhere, and decoders will not tell."""
        if self._sound is not None:
            return self._sound.missing(self.num_samples / self.sample_rate)
        # What is missing between its timestamps is a gap, and not missing at the end.
        there_sec = max(self._sound_sec, self.timeline.sec - self.timeline.late_sec) + self.timeline.jump_sec
        missing_sec = self._declared_sec - there_sec
        if missing_sec - self._num_tag_bytes * 8 / self._bit_rate > MIN_MISSING_SEC:  # FFmpeg takes tags for sound
            return f"{missing_sec:.1f} s of the {self._declared_sec:.1f} s that its header tells are missing"
        if self._is_ogg and is_cut_page(self._file.tail(MAX_PAGE_BYTES)):
            return "its last page is cut"
        if self._num_junk_bytes * 8 / self._bit_rate > MIN_MISSING_SEC:
            return f"{self._num_junk_bytes} bytes of it are no mp3 frames"
        if self._is_mp3 and is_cut_frame(bytes(self._last_packet)):
            return "its last frame is cut"
        return "a packet of it is cut" if self._has_cut_packet else ""

    def _surplus(self) -> str:
        """What the file has beyond the length that its header tells; it is read, but other programs will not."""
        if self._file.wrong_header or self._sound is not None or self._is_ogg:
            return self._file.wrong_header
        if self._is_cut_at_start:
            return (
                f"its header tells of more than the {self._sound_sec:.1f} s that are there, and it lacks the first ones"
            )
        # What comes twice is no more.
        there_sec = min(self._sound_sec, self.timeline.sec - self.timeline.late_sec)
        if not self._declared_sec or there_sec - self._declared_sec <= MIN_MISSING_SEC:
            return ""
        return f"its header tells of {self._declared_sec:.1f} s, and {there_sec:.1f} s are there; all of it is read"

    @property
    def _sound_sec(self) -> float:
        """How long the recording is from where its sound starts."""
        return self.num_samples / self.sample_rate - (self.timeline.late_sec if self.is_placed else 0.0)

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
        self._mpeg_context = stream.codec_context if stream.codec_context.name in MPEG_DECODERS else None
        self._is_pcm = stream.codec_context.name.startswith("pcm_")
        self._is_ogg = formats == ["ogg"]
        self._flac_clock = FlacClock() if self._is_ogg and stream.codec_context.name == "flac" else None
        self._is_timed = not TIMED_FORMATS.isdisjoint(formats)
        self._bit_rate = stream.codec_context.bit_rate or USUAL_BIT_RATE
        declared_sec, declared_before_sec = _declared_sec(container, stream), self._declared_sec
        if not {"flac", "matroska"}.isdisjoint(formats):  # which count it from 0, wherever the sound begins
            start_sec = (container.start_time or 0) / 1e6
            self._is_cut_at_start |= "flac" in formats and declared_sec > 0 and start_sec > MIN_MISSING_SEC
            declared_sec = max(0.0, declared_sec - start_sec)
        is_told = declared_sec and (declared_before_sec or not self._has_begun)  # by every link of a chain
        self._declared_sec, self._has_begun = declared_before_sec + declared_sec if is_told else 0.0, True
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
                packet.pts = self._flac_clock.time_of(bytes(packet), packet.pts)
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
        if self._mpeg_context is not None:  # whose decoders give the first frame of another rate the rate before it
            for frame in frames:
                if frame.sample_rate != self._mpeg_context.sample_rate:
                    frame.sample_rate = self._mpeg_context.sample_rate
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
        # Frames are looked into; to make an array of each would cost ten times as much.
        first = frames[0]
        dtype, num_channels = first.to_ndarray().dtype, first.layout.nb_channels
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


def _full_scale(samples: npt.NDArray[Any]) -> Samples:
    """Integers as fractions of their full scale."""
    scale = np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
    floats: Samples = np.ascontiguousarray(samples, dtype=np.float32)
    if samples.dtype.kind == "u":
        floats -= np.float32(128)
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


def _unreadable(path: str, error: Any) -> RecordError:
    import av

    if isinstance(error, av.EOFError):
        return RecordError(EMPTY, f"{path} ends before its first sample")
    return RecordError("unreadable_audio", f"{path}: {_message(error)}; give a wav, flac, ogg, mp3, m4a or webm file")


def _message(error: Any) -> str:
    return str(error.strerror or error)
