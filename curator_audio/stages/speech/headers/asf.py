"""Microsoft's Advanced Systems Format (wma)."""

from __future__ import annotations

import struct
from uuid import UUID

from curator_audio.stages.speech.headers.header import Readable

_FILE = UUID("75B22630-668E-11CF-A6D9-00AA0062CE6C").bytes_le
_DATA = UUID("75B22636-668E-11CF-A6D9-00AA0062CE6C").bytes_le
_INDEXES = {
    UUID(name).bytes_le
    for name in (
        "33000890-E5B1-11CF-89F4-00A0C90349CB",
        "D6E229D3-35DA-11D1-9034-00A0C90349BE",
        "FEB103F8-12AD-4C64-840F-2A1D2F7AD48C",
        "3CB73FD0-0C4A-4803-953D-EDF7B6228F0C",
    )
}


def mended_asf_head(file: Readable, head: bytes) -> tuple[bytes, str] | None:
    """The first bytes of a file with the size of its sound left open, and what is wrong; None where it is right.

    Args:
        file: what the sound is read from.
        head: its first bytes.
    """
    place = head.find(_DATA) if head.startswith(_FILE) else -1
    if place < 0 or len(head) < place + 24 or file.num_bytes is None:
        return None
    (num_bytes,) = struct.unpack("<Q", head[place + 16 : place + 24])
    there = file.num_bytes - place
    if not 24 <= num_bytes <= there - 16 or file.bytes_at(place + num_bytes, 16) in _INDEXES:
        return None
    lengths = f"{num_bytes} bytes of sound, and {there} bytes"
    return head[: place + 16] + bytes(8) + head[
        place + 24 :
    ], f"its header tells of {lengths} are there; all of it is read"
