"""Recordings of any length in any of the usual formats, decoded block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.errors import RecordError
from curator_audio.stages.speech.headers import (
    MAX_PAGE_BYTES,
    SoundBytes,
    is_cut_page,
    mended_asf_head,
    mended_last_page,
    sound_bytes,
)
from curator_audio.stages.speech.kinds import what_else, what_text
from curator_audio.stages.speech.media_file import LookedTooFar, MediaFile
from curator_audio.stages.speech.mp3 import MP3_TAGS, is_cut_frame
from curator_audio.stages.speech.packets import num_samples_by_packets
from curator_audio.stages.speech.resample import resampled
from curator_audio.stages.speech.sound import Samples, repaired
from curator_audio.storage.storage import Storage

FORMATS = "aac,aiff,amr,asf,au,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav"
"""FFmpeg's names of the containers that are read; none of them is a playlist, which could name any other file."""

COUNTED_FORMATS = frozenset(("aiff", "au", "caf", "flac", "matroska", "mov", "ogg", "w64", "wav"))
"""Those whose length was written down by who made them; that of the others is guessed from a bit rate."""

MIN_MISSING_SEC = 0.5
"""How much must be missing of the length written down for a recording to count as broken off; encoders pad by less."""

MIN_COUNTED_BYTES = 2**20
"""How large a file is of which packets are counted; a smaller one is decoded as fast."""

MP3_DECODERS = ("mp3", "mp3float")
USUAL_BIT_RATE = 128_000  # bits a second, where a file tells none


@contextmanager
def open_recording(storage: Storage, path: str) -> Iterator[Recording]:
    """Open a recording to decode its first audio stream, once, in order.

    Args:
        storage: where it is read from.
        path: a local path or URL of a wav, flac, ogg, mp3, m4a, webm or other file of ``FORMATS``.

    Raises:
        RecordError: it holds no audio (``no_audio_stream``, ``empty_audio``), is something else (``not_audio``), or
            nothing of it can be decoded (``unreadable_audio``).
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
    with storage.open(path) as opened, ExitStack() as stack:
        file = MediaFile(opened, path)
        file.read_head()
        if not file.head:
            raise RecordError("empty_audio", f"{path} is an empty file; has the download or the copy failed?")
        if kind := what_else(file.head):
            raise RecordError("not_audio", f"{path}: {kind}")
        sound = _mended(file)
        try:
            container = _opened(file, path, stack)
        except LookedTooFar:
            container = _opened(file, path, stack, in_order=True)
        yield Recording(container, file, path, sound)


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


def _opened(file: MediaFile, path: str, stack: ExitStack, in_order: bool = False) -> Any:
    """The container as FFmpeg finds it, closed with the stack."""
    import av

    file.begin(in_order)
    options = {"format_whitelist": FORMATS}
    try:
        container = stack.enter_context(av.open(file, "r", container_options=options, metadata_errors="replace"))
    except av.FFmpegError as error:
        file.check()
        if kind := what_text(file.head):
            raise RecordError("not_audio", f"{path}: {kind}") from None
        raise _unreadable(path, error) from None
    file.check()
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
    """

    def __init__(self, container: Any, file: MediaFile, path: str, sound: SoundBytes | None) -> None:
        self.broken_off = ""
        self.wrong_header = ""
        self.num_bad_samples = 0
        self.num_samples = 0
        self._path, self._file, self._container, self._sound = path, file, container, sound
        self._has_cut_packet = False
        self._last_packet: Any = None
        self._num_junk_bytes = self._num_tag_bytes = 0
        if not container.streams.audio:
            raise RecordError("no_audio_stream", f"{path} holds no audio, only {_kinds(container)}")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise RecordError("unreadable_audio", f"{path}: there is no decoder for its audio")
        stream.codec_context.thread_count = 1
        self._is_pcm = stream.codec_context.name.startswith("pcm_")
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
        if self._container.format.name != "ogg" or (self._file.num_bytes or 0) < MIN_COUNTED_BYTES:
            return None
        with self._file.read_anew(), ExitStack() as stack:  # what is open here is needed where the packets do not tell
            return num_samples_by_packets(_opened(self._file, self._path, stack))

    def _finish(self) -> None:
        if not self.broken_off:
            self.broken_off = self._missing()
        self.wrong_header = self._surplus()

    def _missing(self) -> str:
        """What the file lacks, though nothing failed: most formats can be cut anywhere, and decoders will not tell."""
        missing_sec = self._declared_sec - self.num_samples / self.sample_rate
        if self._sound is not None:
            return self._sound.missing
        if missing_sec - self._num_tag_bytes * 8 / self._bit_rate > MIN_MISSING_SEC:  # FFmpeg takes tags for sound
            return f"{missing_sec:.1f} s of the {self._declared_sec:.1f} s that its header tells are missing"
        if self._container.format.name == "ogg" and is_cut_page(self._file.tail(MAX_PAGE_BYTES)):
            return "its last page is cut"
        if self._num_junk_bytes * 8 / self._bit_rate > MIN_MISSING_SEC:
            return f"{self._num_junk_bytes} bytes of it are no mp3 frames"
        if self._is_mp3 and is_cut_frame(bytes(self._last_packet)):
            return "its last frame is cut"
        return "a packet of it is cut" if self._has_cut_packet else ""

    def _surplus(self) -> str:
        """What the file has beyond the length that its header tells; it is read, but other programs will not."""
        if self._file.wrong_header or self._sound is not None or self._container.format.name == "ogg":
            return self._file.wrong_header
        there_sec = self.num_samples / self.sample_rate
        if not self._declared_sec or there_sec - self._declared_sec <= MIN_MISSING_SEC:
            return ""
        return f"its header tells of {self._declared_sec:.1f} s, and {there_sec:.1f} s are there; all of it is read"

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


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _unreadable(path: str, error: Any) -> RecordError:
    import av

    if isinstance(error, av.EOFError):
        return RecordError("empty_audio", f"{path} ends before its first sample")
    return RecordError("unreadable_audio", f"{path}: {_message(error)}; give a wav, flac, ogg, mp3, m4a or webm file")


def _message(error: Any) -> str:
    return str(error.strerror or error)
