"""Files of uncompressed sound, byte by byte, with headers that tell what they like."""

from __future__ import annotations

import struct

import numpy as np

RATE = 8000
SOUND = (np.random.default_rng(3).normal(0, 4000, 5 * RATE)).astype(np.int16)
OPEN = dict.fromkeys(("riff", "rifx", "au"), 2**32 - 1) | dict.fromkeys(("rf64", "aiff", "aifc"), 0)
OPEN |= {"w64": 2**63 - 1, "caf": 2**64 - 1}
"""The size of sound that is written to a pipe, by the kind of file."""

CHUNKS = {
    "LIST": b"INFOISFT\x0e\0\0\0Lavf59.27.100\0",
    "id3 ": b"ID3\4\0\0\0\0\0\x0aTIT2\0\0\0\0\0\0",
    "bext": b"Interview" + bytes(593),
    "cue ": struct.pack("<III4sIII", 1, 1, 0, b"data", 0, 0, 7),
    "JUNK": bytes(1001),
}


def chunk(kind: str, name: str, content: bytes, num_bytes: int | None = None) -> bytes:
    """A chunk as this kind of file has it, which may tell of another length than it has."""
    size = len(content) if num_bytes is None else num_bytes
    if kind == "w64":
        first = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0"
        guid = first if name == "riff" else name.encode().lower() + bytes.fromhex("f3acd3118cd100c04f8edb8a")
        size = size + 24 if size < 2**62 and num_bytes != 0 else size
        return guid + struct.pack("<Q", size) + content + bytes(-len(content) % 8)
    if kind == "caf":
        return name.encode() + struct.pack(">Q", size) + content
    order = ">" if kind in ("rifx", "aiff", "aifc") else "<"
    return name.encode() + struct.pack(order + "I", size) + content + bytes(len(content) % 2)


def fmt(order: str = "<") -> bytes:
    return struct.pack(order + "HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)


def extended(rate: int) -> bytes:
    exponent = rate.bit_length() - 1
    return struct.pack(">HQ", 16383 + exponent, rate << 63 - exponent)


def file_of(
    kind: str, sound: np.ndarray, told: int | None = None, behind: bytes = b"", whole: int | None = None
) -> bytes:
    """The sound as a file of this kind.

    Args:
        kind: one of ``OPEN``.
        sound: its samples.
        told: how many bytes of it the header tells of.
        behind: what stands behind it.
        whole: what the header tells of the length of the file.
    """
    data = sound.astype(">i2" if kind in ("rifx", "aiff", "caf", "au") else "<i2").tobytes()
    size = len(data) if told is None else told
    if kind == "rf64":
        ds64 = struct.pack("<QQQI", size, size, 0, 0)
        body = b"WAVE" + chunk(kind, "ds64", ds64) + chunk(kind, "fmt ", fmt()) + chunk(kind, "data", data, 2**32 - 1)
        return b"RF64\xff\xff\xff\xff" + body + behind
    if kind == "w64":
        wave = b"wave" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
        return chunk(kind, "riff", wave + chunk(kind, "fmt ", fmt()) + chunk(kind, "data", data, size)) + behind
    if kind == "caf":
        desc = struct.pack(">d4sIIIII", RATE, b"lpcm", 0, 2, 1, 1, 16)
        size = size + 4 if size < 2**63 else size
        return b"caff\0\1\0\0" + chunk(kind, "desc", desc) + chunk(kind, "data", bytes(4) + data, size) + behind
    if kind == "au":
        return b".snd" + struct.pack(">IIIII", 24, size, 3, RATE, 1) + data
    if kind in ("aiff", "aifc"):
        common = struct.pack(">hIh", 1, size // 2, 16) + extended(RATE) + (b"sowt\0\0" if kind == "aifc" else b"")
        body = chunk(kind, "COMM", common) + chunk(kind, "SSND", bytes(8) + data, size + 8 if size else 0) + behind
        whole = 0 if told == 0 and whole is None else whole
        return chunk(kind, "FORM", kind.upper().encode() + body, whole)
    order = ">" if kind == "rifx" else "<"
    body = b"WAVE" + chunk(kind, "fmt ", fmt(order)) + chunk(kind, "data", data, size) + behind
    return kind.upper().encode() + struct.pack(order + "I", len(body) if whole is None else whole) + body


OTHER_NAMES = {
    "w64": {"LIST": "list", "id3 ": "summ", "cue ": "mark"},
    "caf": {"LIST": "info", "id3 ": "uuid", "cue ": "mark", "bext": "strg", "JUNK": "free"},
    "aiff": {"LIST": "ANNO", "id3 ": "ID3 ", "cue ": "MARK", "bext": "APPL"},
    "aifc": {"LIST": "ANNO", "id3 ": "ID3 ", "cue ": "MARK", "bext": "APPL"},
}


def chunks_of(kind: str, names: list[str]) -> bytes:
    """Some of ``CHUNKS`` as they may stand in this kind of file."""
    return b"".join(chunk(kind, OTHER_NAMES.get(kind, {}).get(name, name), CHUNKS[name]) for name in names)
