"""AIFF and AIFF-C."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

from curator_audio.stages.speech.headers.caf import caf_header
from curator_audio.stages.speech.headers.header import (
    Header,
    Readable,
    chunks,
    iff_chunk,
    is_left_open,
    is_unpadded,
    kept,
    names,
)
from curator_audio.stages.speech.headers.wav import PCM, rf64_header

NAMES = names("COMM FVER MARK INST COMT NAME AUTH ANNO MIDI AESD APPL SAXL ID3 id3 CHAN wave FLLR JUNK (c)")
CHUNK_AT = partial(iff_chunk, order=">")
_FLOATS = {b"fl32": 32, b"FL32": 32, b"fl64": 64, b"FL64": 64}
_WIDTHS = {b"in24": 24, b"in32": 32}
_LOGARITHMIC = {b"ulaw": b"ulaw", b"ULAW": b"ulaw", b"alaw": b"alaw", b"ALAW": b"alaw"}


def aiff_header(file: Readable, start: int) -> Header | None:
    """The header of an AIFF or AIFF-C file that begins at a byte."""
    head = file.bytes_at(start, 12)
    if head[:4] != b"FORM" or head[8:] not in (b"AIFF", b"AIFC"):
        return None
    common, sound, is_odd = b"", None, False
    for chunk in chunks(file, CHUNK_AT, start + 12):
        common = kept(file, chunk) if chunk.name == b"COMM" else common
        sound = sound or (chunk if chunk.name == b"SSND" else None)
        is_odd |= is_unpadded(chunk) and sound is None
        if common and sound:
            break
    if sound is None or len(common) < 18:
        return None
    (form_bytes,) = struct.unpack(">I", head[4:8])
    (offset,) = struct.unpack(">I", file.bytes_at(sound.start, 4).ljust(4, b"\0"))
    num_channels, _, num_bits = struct.unpack(">hIh", common[:8])
    rate, width = _rate(common[8:18]), (num_bits + 7) // 8
    written = _writer(common[18:22] or b"NONE", rate, num_channels, 8 * width)
    if written is None or num_channels < 1 or not rate > 0:
        return None
    width, writer = written
    num_bytes: int | None = max(0, sound.num_bytes - 8 - offset)
    if is_left_open(sound.num_bytes) or (not num_bytes and (form_bytes == 0 or is_left_open(form_bytes))):
        num_bytes = None
    begin, block = sound.start + 8 + offset, num_channels * width
    is_misread = is_odd or start + 8 + form_bytes < begin  # FFmpeg looks for chunks up to there
    return Header(begin, num_bytes, block, block * rate, True, writer, CHUNK_AT, NAMES, is_misread)


def _writer(kind: bytes, rate: float, num_channels: int, num_bits: int) -> tuple[int, Callable[[int], bytes]] | None:
    """The bytes of a value, and what writes a header for such values; None for those of another size each."""
    if kind == b"raw " and num_bits == 8 and num_channels * rate < 2**32:
        fmt = struct.pack("<HHIIHH", PCM, num_channels, round(rate), num_channels * round(rate), num_channels, 8)
        return 1, partial(rf64_header, fmt)
    if kind in _LOGARITHMIC:
        return 1, partial(caf_header, _LOGARITHMIC[kind], rate, num_channels, 8)
    if kind in _FLOATS:
        return _FLOATS[kind] // 8, partial(caf_header, b"lpcm", rate, num_channels, _FLOATS[kind], is_float=True)
    if kind not in (b"NONE", b"twos", b"sowt", *_WIDTHS):
        return None
    num_bits = _WIDTHS.get(kind, num_bits)
    if num_bits not in (8, 16, 24, 32):
        return None
    is_little_endian = kind == b"sowt"
    return num_bits // 8, partial(caf_header, b"lpcm", rate, num_channels, num_bits, is_little_endian=is_little_endian)


def _rate(extended: bytes) -> float:
    """A float of 80 bits as it stands in ``COMM``.

    Example:
        >>> _rate(bytes.fromhex("400eac44000000000000"))
        44100.0
    """
    exponent, mantissa = struct.unpack(">HQ", extended)
    return float(mantissa * 2.0 ** (exponent - 16383 - 63)) if exponent < 16383 + 64 else 0.0
