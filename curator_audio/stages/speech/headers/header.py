"""What a header tells about the sound behind it."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_CHUNKS = 100
"""How many chunks are looked at: files have some ten of them, and on a store every one may be a request."""

MAX_KEPT_BYTES = 2**20
"""How long a chunk may be that is needed to decode; such chunks have some hundred bytes."""


class Readable(Protocol):
    """What headers are read from."""

    num_bytes: int | None

    def bytes_at(self, start: int, num_bytes: int) -> bytes:
        """Some bytes of a file, fewer at its end."""


@dataclass(frozen=True)
class Chunk:
    """A chunk: its name, its content's first byte, how long that is, and where the next chunk begins."""

    name: bytes
    start: int
    num_bytes: int
    end: int


ChunkAt = Callable[[Readable, int], "Chunk | None"]
"""The chunk that begins at a byte, None where none does."""


@dataclass(frozen=True)
class Header:
    """What a header tells about the sound behind it.

    Attributes:
        start: the sound's first byte in the file.
        num_bytes: how long the sound is; None where the header leaves that open, as one must that is written to a pipe.
        block_bytes: the bytes that belong together: a sample of all channels, or a block of several.
        bytes_per_sec: how many bytes are a second.
        is_pcm: whether a block is a sample, and nothing but their number tells how many there are.
        written: gives a header, of this kind or another, that tells of so many bytes of the same sound.
        chunk_at: how chunks behind the sound are found; None where there can be none.
        known_names: the names of chunks that may follow.
        is_misread: whether FFmpeg needs the other header even where this one is right.
    """

    start: int
    num_bytes: int | None
    block_bytes: int
    bytes_per_sec: float
    is_pcm: bool
    written: Callable[[int], bytes]
    chunk_at: ChunkAt | None
    known_names: frozenset[bytes] = frozenset()
    is_misread: bool = False


def chunks(file: Readable, chunk_at: ChunkAt, start: int) -> Iterator[Chunk]:
    """The chunks from a byte on, up to where none is; at most ``MAX_CHUNKS``."""
    for _ in range(MAX_CHUNKS):
        chunk = chunk_at(file, start)
        if chunk is None:
            return
        yield chunk
        start = chunk.end


def iff_chunk(file: Readable, start: int, order: str) -> Chunk | None:
    """The chunk of a RIFF or IFF file that begins at a byte: a name, four bytes of size, and a content of even length.

    Args:
        file: what it is read from.
        start: the byte.
        order: that of a number's bytes, as ``struct`` has it.
    """
    head = file.bytes_at(start, 8)
    if len(head) < 8 or not is_name(head[:4]):
        return None
    (num_bytes,) = struct.unpack(order + "I", head[4:])
    end = start + 8 + num_bytes
    if num_bytes % 2:  # some programs forget the byte that makes it even
        after = file.bytes_at(end, 5)
        end += is_name(after[1:]) or not is_name(after[:4])
    return Chunk(head[:4], start + 8, num_bytes, end)


def is_unpadded(chunk: Chunk) -> bool:
    """Whether a chunk of odd length lacks the byte that makes it even."""
    return chunk.end - chunk.start == chunk.num_bytes and chunk.num_bytes % 2 == 1


def is_name(name: bytes) -> bool:
    """Whether four bytes may be the name of a chunk: letters as ASCII has them.

    Example:
        >>> is_name(b"LIST"), is_name(b"id3 "), is_name(bytes(4))
        (True, True, False)
    """
    return re.fullmatch(rb"[!-~][ -~]{3}", name) is not None


def names(text: str) -> frozenset[bytes]:
    """The names in a text, each filled up to four bytes.

    Example:
        >>> sorted(names("fmt LIST"))
        [b'LIST', b'fmt ']
    """
    return frozenset(name.ljust(4).encode() for name in text.split())


def is_left_open(num_bytes: int) -> bool:
    """Whether a size is one that programs write who cannot know it: about the largest that 31, 32, 63 or 64 bits hold.

    Example:
        >>> [is_left_open(size) for size in (0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF - 36, 2**63 - 1, 123456)]
        [True, True, True, True, False]
    """
    return any(limit - 4352 <= num_bytes <= limit for limit in (2**31, 2**32, 2**63, 2**64))


def kept(file: Readable, chunk: Chunk) -> bytes:
    """The content of a chunk that is needed to decode."""
    return file.bytes_at(chunk.start, min(chunk.num_bytes, MAX_KEPT_BYTES))
