"""Where the sound of a file ends, whatever its header tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from curator_audio.stages.speech.headers.aiff import aiff_header
from curator_audio.stages.speech.headers.au import au_header
from curator_audio.stages.speech.headers.caf import read_caf_header
from curator_audio.stages.speech.headers.header import MAX_CHUNKS, Header, Readable, chunks
from curator_audio.stages.speech.headers.wav import wav_header, wave64_header
from curator_audio.stages.speech.mp3 import MP3_TAGS

READERS = (wav_header, wave64_header, aiff_header, read_caf_header, au_header)
MAX_TAIL_BYTES = 2**20
"""How far before the end of a file chunks are looked for that a wrong header does not lead to."""

MAX_PADDING_BYTES = 4096
"""How many zeros, or letters, behind the sound are no sound: files are filled up to whole sectors of a disk."""

WRAP = 2**32
"""Sizes of 32 bits begin again at 0 there."""


@dataclass(frozen=True)
class SoundBytes:
    """Where the sound of a file lies.

    Attributes:
        header: what its header tells.
        end: one past its last byte.
        is_wrong: whether more is there than the header tells.
        needs_header: whether FFmpeg would not read just this sound, and needs another header.
        has_more: whether more sound follows in a chunk of its own, which is not read.
    """

    header: Header
    end: int
    is_wrong: bool = False
    needs_header: bool = False
    has_more: bool = False

    @property
    def num_samples(self) -> int | None:
        """How many samples there are, None where the number of bytes does not tell."""
        is_told = self.header.is_pcm and not self.has_more
        return (self.end - self.header.start) // self.header.block_bytes if is_told else None

    def missing(self, there_sec: float) -> str:
        """What of the sound is not there or not read, empty where it is whole.

        Args:
            there_sec: how long that is which is there; headers often have a wrong bit rate.
        """
        if self.has_more:
            return "it holds more sound in another chunk"
        told, there = self.header.num_bytes or 0, self.end - self.header.start
        missing = told - there
        if missing <= 0:
            return ""
        bytes_per_sec = there / there_sec if there and there_sec else self.header.bytes_per_sec
        missing_sec, told_sec = missing / bytes_per_sec, told / bytes_per_sec
        if missing_sec < 0.1:
            return f"the last {missing} bytes of it are missing"
        return f"{missing_sec:.1f} s of the {told_sec:.1f} s that its header tells are missing"

    @property
    def warning(self) -> str:
        """What is wrong with the header, empty where nothing is."""
        if not self.is_wrong:
            return ""
        told, there = self.header.num_bytes or 0, self.end - self.header.start
        told_sec, there_sec = told / self.header.bytes_per_sec, there / self.header.bytes_per_sec
        lengths = f"{told_sec:.1f} s of sound ({told} bytes), and {there_sec:.1f} s ({there} bytes)"
        return f"its header tells of {lengths} are there; all of it is read"


def sound_bytes(file: Readable) -> SoundBytes | None:
    """Where the sound of a file lies that has one of the headers known here; None for other files.

    What stands behind the end that the header tells is sound too, unless it is chunks, tags or padding. Reads little,
    however long the file is.
    """
    start = _after_tag(file)
    header = next((header for read in READERS if (header := read(file, start)) is not None), None)
    if header is None or file.num_bytes is None or header.start > file.num_bytes:
        return None
    there = file.num_bytes - header.start
    if header.num_bytes is None:
        end = header.start if _is_metadata(file, header, header.start) else _end_by_tail(file, header)
        return SoundBytes(header, _whole(header, end), needs_header=True)
    end = header.start + min(header.num_bytes, there)
    if there - header.num_bytes < max(2, header.block_bytes):
        return SoundBytes(header, end, needs_header=header.is_misread)
    rest = _rest(file, header, end)
    if rest is not None:
        # FFmpeg takes 0 for any size, and reads the last of several pieces only.
        needs_header = header.is_misread or rest != "chunks" or not header.num_bytes
        return SoundBytes(header, end, needs_header=needs_header, has_more=rest == "more")
    for wrapped in range(end + WRAP, file.num_bytes + 1, WRAP):
        if file.num_bytes - wrapped < max(2, header.block_bytes) or _rest(file, header, wrapped) is not None:
            return SoundBytes(header, wrapped, is_wrong=True, needs_header=True)
    return SoundBytes(header, _whole(header, _end_by_tail(file, header)), is_wrong=True, needs_header=True)


def _after_tag(file: Readable) -> int:
    """Where a file begins behind an ID3 tag, which some programs write before any kind of file."""
    head = file.bytes_at(0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _rest(file: Readable, header: Header, end: int) -> str | None:
    """What follows where sound may end: ``chunks``, ``more`` sound in them, or ``odd`` things; None for more of it."""
    if header.chunk_at is None:
        return None
    assert file.num_bytes is not None
    for start in sorted({end, end + end % 2, (end + 7) // 8 * 8}):
        found = list(chunks(file, header.chunk_at, start))
        reached = found[-1].end if found else start
        if found and (reached >= file.num_bytes or _is_padding(file, reached)):
            is_cut = reached > file.num_bytes + 1
            if not is_cut or all(chunk.name in header.known_names for chunk in found):
                names = {chunk.name for chunk in found}
                return "more" if names & {b"data", b"SSND"} else "odd" if is_cut or len(found) > 64 else "chunks"
        if found and len(found) == MAX_CHUNKS:
            return "odd"
    return "odd" if _is_padding(file, end) else None


def _is_metadata(file: Readable, header: Header, end: int) -> bool:
    """Whether known chunks, and nothing else, follow a header that leaves its size open."""
    if header.chunk_at is None:
        return False
    found = list(chunks(file, header.chunk_at, end))
    if not found or file.num_bytes not in (found[-1].end, found[-1].end - 1):
        return False
    return all(chunk.name in header.known_names for chunk in found)


def _is_padding(file: Readable, start: int) -> bool:
    """Whether what stands from a byte on is a tag, or just a little and zeros or letters."""
    assert file.num_bytes is not None
    rest = file.bytes_at(start, MAX_PADDING_BYTES)
    if rest.startswith(MP3_TAGS):
        return True
    if start + len(rest) < file.num_bytes:
        return False
    return not rest.strip(b"\0") or re.fullmatch(rb"[\t\r\n -~]+", rest) is not None


def _end_by_tail(file: Readable, header: Header) -> int:
    """The end of sound that goes on to the end of the file, save for known chunks there."""
    assert file.num_bytes is not None
    if header.chunk_at is None:
        return file.num_bytes
    first = max(header.start, file.num_bytes - MAX_TAIL_BYTES)
    tail = file.bytes_at(first, file.num_bytes - first)
    found = re.finditer(b"|".join(map(re.escape, sorted(header.known_names))), tail)
    for match in islice(found, MAX_CHUNKS):
        start = first + match.start()
        if (start - header.start) % header.block_bytes < 2 and _is_metadata(file, header, start):
            return start
    return file.num_bytes


def _whole(header: Header, end: int) -> int:
    """The end of the last whole block before a byte."""
    return end - (end - header.start) % header.block_bytes
