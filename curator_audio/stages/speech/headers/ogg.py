"""Ogg (RFC 3533): whether the last page is whole, and the length that it tells for Opus (RFC 7845)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from curator_audio.stages.speech.headers.header import Readable

MAX_PAGE_BYTES = 65307
_FRAME_SAMPLES = ([480, 960, 1920, 2880] * 3, [480, 960] * 2, [120, 240, 480, 960] * 4)
_SAMPLES_OF_CONFIG = [samples for frames in _FRAME_SAMPLES for samples in frames]
"""The samples of a frame at 48 kHz, by its configuration (RFC 6716, 3.1)."""

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    """A page: where it begins, its bytes, its position in samples, the stream it is of, and its packets."""

    start: int
    data: bytes
    granule: int
    serial: int
    packets: list[bytes]


def is_cut_page(tail: bytes) -> bool:
    """Whether the last page of a file that ends like this is incomplete.

    Example:
        >>> page = b"OggS" + bytes(22) + b"\\1\\3" + b"abc"
        >>> is_cut_page(page), is_cut_page(page[:-1])
        (False, True)
    """
    start = tail.rfind(b"OggS")
    page = tail[start:] if start >= 0 else b""
    if len(page) < 27:
        return start >= 0
    lengths = page[27 : 27 + page[26]]
    return len(page) < 27 + page[26] + sum(lengths)


def mended_last_page(file: Readable) -> tuple[int, bytes] | None:
    """The last page of an Opus file with the position that it should have, and where it begins; None where it is right.

    A decoder drops what lies beyond the last position. That is never less than the position of the page before, save
    where a recorder was stopped.
    """
    if file.num_bytes is None or b"OpusHead" not in file.bytes_at(0, 256):
        return None
    start = max(0, file.num_bytes - 2 * MAX_PAGE_BYTES)
    pages = list(_pages(file.bytes_at(start, file.num_bytes - start), start))
    if len(pages) < 2 or pages[-1].start + len(pages[-1].data) != file.num_bytes:
        return None
    last = pages[-1]
    before = next((page for page in reversed(pages[:-1]) if page.serial == last.serial and page.granule >= 0), None)
    if before is None or before.granule == 0 or last.granule >= before.granule or not last.packets:
        return None
    granule = before.granule + sum(map(_num_samples, last.packets))
    data = last.data[:6] + struct.pack("<q", granule) + last.data[14:22] + bytes(4) + last.data[26:]
    return last.start, data[:22] + struct.pack("<I", _checksum(data)) + data[26:]


def _pages(data: bytes, offset: int) -> Iterator[Page]:
    """The whole pages in a stretch of a file."""
    start = data.find(b"OggS")
    while 0 <= start <= len(data) - 27:
        lengths = data[start + 27 : start + 27 + data[start + 26]]
        first, end = start + 27 + data[start + 26], start + 27 + data[start + 26] + sum(lengths)
        if data[start + 4] or end > len(data):
            start = data.find(b"OggS", start + 4)
            continue
        granule, serial = struct.unpack("<qI", data[start + 6 : start + 18])
        yield Page(offset + start, data[start:end], granule, serial, _packets(data[first:end], lengths))
        start = data.find(b"OggS", end)


def _packets(data: bytes, lengths: bytes) -> list[bytes]:
    """The packets that end on a page."""
    packets = []
    begin = position = 0
    for length in lengths:
        position += length
        if length < 255:
            packets.append(data[begin:position])
            begin = position
    return packets


def _num_samples(packet: bytes) -> int:
    """How long an Opus packet is, in samples at 48 kHz.

    Example:
        >>> _num_samples(bytes([0xFC, 0])), _num_samples(bytes([0xFF, 3]))
        (960, 2880)
    """
    if not packet:
        return 0
    count = {0: 1, 3: packet[1] & 63 if len(packet) > 1 else 0}.get(packet[0] & 3, 2)
    return count * _SAMPLES_OF_CONFIG[packet[0] >> 3]


def _checksum(page: bytes) -> int:
    """The checksum of a page whose field for it is 0: a CRC-32 as zlib's, from the highest bit on and from 0."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
