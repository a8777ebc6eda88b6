"""Sun's and NeXT's audio files."""

from __future__ import annotations

import struct
from functools import partial

from curator_audio.stages.speech.headers.header import MAX_KEPT_BYTES, Header, Readable, is_left_open

_MAX_BYTES = 2**31
"""FFmpeg refuses longer sound unless its length is left open."""

_OPEN = 2**32 - 1
_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
"""The bytes of a value, by the number of its encoding."""


def au_header(file: Readable, start: int) -> Header | None:
    """The header of an AU file that begins at a byte."""
    head = file.bytes_at(start, 24)
    if head[:4] != b".snd" or len(head) < 24:
        return None
    header_bytes, num_bytes, encoding, rate, num_channels = struct.unpack(">IIIII", head[4:])
    if encoding not in _WIDTHS or not rate or not num_channels or not 24 <= header_bytes <= MAX_KEPT_BYTES:
        return None
    block = num_channels * _WIDTHS[encoding]
    told = None if num_bytes == 0 or is_left_open(num_bytes) else num_bytes
    is_misread = num_bytes >= _MAX_BYTES
    return Header(
        start=start + header_bytes,
        num_bytes=told,
        block_bytes=block,
        bytes_per_sec=block * rate,
        is_pcm=True,
        written=partial(_written, head),
        chunk_at=None,
        is_misread=is_misread,
    )


def _written(head: bytes, num_bytes: int) -> bytes:
    return head[:4] + struct.pack(">II", 24, num_bytes if num_bytes < _MAX_BYTES else _OPEN) + head[12:]
