"""Apple's Core Audio Format."""

from __future__ import annotations

import struct
from functools import partial

from curator_audio.stages.speech.headers.header import (
    Chunk,
    Header,
    Readable,
    chunks,
    is_left_open,
    is_name,
    kept,
    names,
)

NAMES = names("desc chan kuki pakt info strg mark regn inst midi ovvw peak edct umid uuid free")
IS_FLOAT, IS_LITTLE_ENDIAN = 1, 2


def caf_header(
    form: bytes,
    sample_rate: float,
    num_channels: int,
    num_bits: int,
    num_bytes: int,
    *,
    is_float: bool = False,
    is_little_endian: bool = False,
) -> bytes:
    """The header of a CAF file of samples one by one.

    Args:
        form: ``lpcm``, ``alaw`` or ``ulaw``.
        sample_rate: in Hz.
        num_channels: how many values a sample has.
        num_bits: the bits of a value.
        num_bytes: the length of the sound.
        is_float: whether values are floats.
        is_little_endian: whether a value's lowest byte comes first.
    """
    flags = IS_FLOAT * is_float | IS_LITTLE_ENDIAN * is_little_endian
    block = num_channels * num_bits // 8
    desc = struct.pack(">d4sIIIII", sample_rate, form, flags, block, 1, num_channels, num_bits)
    return _written([(b"desc", desc)], num_bytes)


def read_caf_header(file: Readable, start: int) -> Header | None:
    """The header of a CAF file that begins at a byte."""
    if file.bytes_at(start, 4) != b"caff":
        return None
    needed: dict[bytes, bytes] = {}
    for chunk in chunks(file, _chunk, start + 8):
        if chunk.name == b"data":
            break
        if chunk.name in (b"desc", b"chan", b"kuki"):
            needed[chunk.name] = kept(file, chunk)
    else:
        return None
    if len(needed.get(b"desc", b"")) < 32:
        return None
    rate, form, _, block, num_frames, _, _ = struct.unpack(">d4sIIIII", needed[b"desc"][:32])
    if not block or not num_frames or not rate > 0:  # a table tells the sizes of its packets
        return None
    is_open = chunk.num_bytes < 4 or is_left_open(chunk.num_bytes)
    return Header(
        start=chunk.start + 4,  # behind the number of edits
        num_bytes=None if is_open else chunk.num_bytes - 4,
        block_bytes=block,
        bytes_per_sec=block * rate / num_frames,
        is_pcm=form in (b"lpcm", b"alaw", b"ulaw") and num_frames == 1,
        written=partial(_written, list(needed.items())),
        chunk_at=_chunk,
        known_names=NAMES,
    )


def _chunk(file: Readable, start: int) -> Chunk | None:
    head = file.bytes_at(start, 12)
    if len(head) < 12 or not is_name(head[:4]):
        return None
    (num_bytes,) = struct.unpack(">Q", head[4:])
    return Chunk(head[:4], start + 12, num_bytes, start + 12 + num_bytes)


def _written(needed: list[tuple[bytes, bytes]], num_bytes: int) -> bytes:
    contents = [*needed, (b"data", bytes(4))]
    sizes = [len(content) for _, content in needed] + [4 + num_bytes]
    written = (name + struct.pack(">Q", size) + content for (name, content), size in zip(contents, sizes))
    return b"caff\0\1\0\0" + b"".join(written)
