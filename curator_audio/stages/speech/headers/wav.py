"""WAV in all its forms: RIFF and RIFX, RF64 and BW64 (EBU Tech 3306, ITU-R BS.2088), and Wave64."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

from curator_audio.stages.speech.headers.caf import caf_header
from curator_audio.stages.speech.headers.header import (
    Chunk,
    ChunkAt,
    Header,
    Readable,
    chunks,
    iff_chunk,
    is_left_open,
    is_unpadded,
    kept,
    names,
)

NAMES = names(
    "LIST list id3 ID3 bext cue fact fmt JUNK junk PAD pad smpl inst plst acid strc axml aXML iXML bxml sxml _PMX afsp "
    "DISP chna ubxt levl link cart umid SyLp mext peak PEAK FLLR minf elm1 elmo regn ovwf ResU AFAn note labl ltxt "
    "slnt ds64 dbmd tlst LGWV CDif Cr8r ORIG summ mark"
)
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_SUBTYPE = bytes.fromhex("000000001000800000aa00389b71")
_WAVE64_NAMES = (bytes.fromhex("2e91cf11a5d628db04c10000"), bytes.fromhex("f3acd3118cd100c04f8edb8a"))
"""What follows the four letters of a chunk's name in Wave64."""


def wav_header(file: Readable, start: int) -> Header | None:
    """The header of a WAV file that begins at a byte."""
    head = file.bytes_at(start, 12)
    if head[8:] != b"WAVE" or head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    chunk_at = partial(iff_chunk, order=order)
    found, is_odd = _until_data(file, chunk_at, start + 12)
    if found is None:
        return None
    fmt, ds64, data = found
    (riff_bytes,) = struct.unpack(order + "I", head[4:8])
    num_bytes: int | None = data.num_bytes
    if head[:4] in (b"RF64", b"BW64") and len(ds64) >= 16:
        (long_bytes,) = struct.unpack("<Q", ds64[8:16])
        num_bytes = long_bytes if long_bytes and not is_left_open(long_bytes) else data.num_bytes or None
    elif not num_bytes and (riff_bytes == 0 or is_left_open(riff_bytes)):
        num_bytes = None
    return _header(fmt, order, data.start, num_bytes, chunk_at, is_odd)


def wave64_header(file: Readable, start: int) -> Header | None:
    """The header of a Wave64 file that begins at a byte."""
    head = file.bytes_at(start, 40)
    if head[:16] != b"riff" + _WAVE64_NAMES[0] or head[24:] != b"wave" + _WAVE64_NAMES[1]:
        return None
    found, _ = _until_data(file, _wave64_chunk, start + 40)
    if found is None:
        return None
    fmt, _, data = found
    return _header(fmt, "<", data.start, data.num_bytes or None, _wave64_chunk, False)


def rf64_header(fmt: bytes, num_bytes: int) -> bytes:
    """The header of a WAV file for sound of any length.

    Args:
        fmt: the content of its ``fmt`` chunk.
        num_bytes: the length of the sound.
    """
    chunk = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"\0" * (len(fmt) % 2)
    sizes = struct.pack("<QQQI", 4 + 36 + len(chunk) + 8 + num_bytes, num_bytes, 0, 0)
    ds64 = b"ds64" + struct.pack("<I", len(sizes)) + sizes
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + chunk + b"data\xff\xff\xff\xff"


def _until_data(file: Readable, chunk_at: ChunkAt, start: int) -> tuple[tuple[bytes, bytes, Chunk] | None, bool]:
    """The contents of ``fmt`` and ``ds64`` and the chunk of the sound; and whether a chunk lacks its padding."""
    fmt = ds64 = b""
    is_odd = False
    for chunk in chunks(file, chunk_at, start):
        if chunk.name == b"data":
            return ((fmt, ds64, chunk) if len(fmt) >= 16 else None), is_odd
        fmt = kept(file, chunk) if chunk.name == b"fmt " else fmt
        ds64 = kept(file, chunk) if chunk.name == b"ds64" else ds64
        is_odd |= is_unpadded(chunk)
    return None, is_odd


def _wave64_chunk(file: Readable, start: int) -> Chunk | None:
    head = file.bytes_at(start, 24)
    if len(head) < 24 or head[4:16] not in _WAVE64_NAMES:
        return None
    (num_bytes,) = struct.unpack("<Q", head[16:])
    num_bytes = max(0, num_bytes - 24) if num_bytes < 2**63 - 1 else num_bytes
    return Chunk(head[:4], start + 24, num_bytes, start + 24 + (num_bytes + 7) // 8 * 8)


def _header(
    fmt: bytes, order: str, start: int, num_bytes: int | None, chunk_at: ChunkAt, is_misread: bool
) -> Header | None:
    tag, channels, rate, bytes_per_sec, block, bits = struct.unpack(order + "HHIIHH", fmt[:16])
    if tag == EXTENSIBLE and fmt[26:40] == _SUBTYPE:
        (tag,) = struct.unpack(order + "H", fmt[24:26])
    width = (bits + 7) // 8
    is_pcm = width in {PCM: (1, 2, 3, 4, 8), FLOAT: (4, 8), ALAW: (1,), MULAW: (1,)}.get(tag, ())
    is_pcm &= block == channels * width > 0 and rate > 0
    written: Callable[[int], bytes] = partial(rf64_header, fmt)
    if order == ">":  # FFmpeg takes its samples for little-endian ones
        if not is_pcm:
            return None
        if tag == PCM and width == 1:
            written = partial(rf64_header, struct.pack("<HHIIHH", PCM, channels, rate, block * rate, block, 8))
        else:
            form = {ALAW: b"alaw", MULAW: b"ulaw"}.get(tag, b"lpcm")
            written = partial(caf_header, form, rate, channels, 8 * width, is_float=tag == FLOAT)
        is_misread = True
    if num_bytes is not None and is_left_open(num_bytes):
        num_bytes = None
    bytes_per_sec = block * rate if is_pcm else bytes_per_sec
    return Header(start, num_bytes, max(block, 1), max(bytes_per_sec, 1), is_pcm, written, chunk_at, NAMES, is_misread)
