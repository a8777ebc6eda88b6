"""What stands in an mp3 file: how long a frame should be, and what is no frame."""

from __future__ import annotations

MP3_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""How what is no sound begins that is meant to be in an mp3 file: behind it, or where files were put together."""

_KBIT_MPEG_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBIT_MPEG_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = (44100, 48000, 32000)
_LAYER_3 = 0b01
_FIELDS = ((19, 0b11), (17, 0b11), (12, 0b1111), (10, 0b11), (9, 0b1))
"""Version, layer, bit rate, sample rate and padding: where they stand in the header, and how wide they are."""


def is_cut_frame(frame: bytes) -> bool:
    """Whether an mp3 frame is shorter than its header tells (ISO/IEC 11172-3 and 13818-3, 2.4.2.3).

    An mp3 file may be cut anywhere and look like a shorter one; only its last frame then tells, if it is cut itself.

    Args:
        frame: it begins with the frame's header; what is none, or tells no length, is not cut.

    Example:
        >>> header = bytes([0xFF, 0xFB, 0x90, 0xC4])  # MPEG 1, 128 kbit/s, 44.1 kHz: 417 bytes
        >>> is_cut_frame(header + bytes(412)), is_cut_frame(header + bytes(413))
        (True, False)
    """
    header = int.from_bytes(frame[:4], "big")
    version, layer, index, rate, padding = (header >> shift & mask for shift, mask in _FIELDS)
    if len(frame) < 4 or header >> 21 != 0x7FF or layer != _LAYER_3 or version == 1 or rate == 3:
        return False
    if not 1 <= index <= 14:  # 0 is a rate of the file's own
        return False
    is_mpeg_1 = version == 3
    bits_per_sec = 1000 * (_KBIT_MPEG_1 if is_mpeg_1 else _KBIT_MPEG_2)[index - 1]
    rate_hz = _RATES_HZ[rate] // {3: 1, 2: 2, 0: 4}[version]
    return len(frame) < (144 if is_mpeg_1 else 72) * bits_per_sec // rate_hz + padding
