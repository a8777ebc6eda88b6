"""Where a FLAC frame stands in its stream."""

from __future__ import annotations

_SYNC = 0xFFF8
_BLOCK_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}


class FlacClock:
    """Tells the first sample of FLAC frames by their headers (RFC 9639, section 9.1).

    In an Ogg file only the end of a page has a time, and FFmpeg counts on from the page before, also where one is
    missing.

    Example:
        >>> clock = FlacClock()
        >>> [clock.first_sample(bytes.fromhex(frame)) for frame in ("fff8c9a800e3", "fff8c9a8032f", "5bc0")]
        [0, 12288, None]
    """

    def __init__(self) -> None:
        self._block_size = 0  # of all frames but the last, which may be shorter
        self._num_left_out = 0

    def time_of(self, frame: bytes, told: int | None) -> int | None:
        """Where a frame stands, by its number and its page: an encoder that leaves out silence numbers frames on.

        Args:
            frame: it begins with the frame's header.
            told: where it stands as FFmpeg has it of the pages, which may be too early, and None where it does not.

        Example:
            >>> clock = FlacClock()
            >>> frames = ("fff8c9a800e3", "fff8c9a8032f", "fff8c9a80428")
            >>> [clock.time_of(bytes.fromhex(frame), told) for frame, told in zip(frames, (0, 4096, 64384))]
            [0, 12288, 64384]
        """
        number = self.first_sample(frame)
        if number is None:
            return None
        if told is not None:
            self._num_left_out = max(self._num_left_out, told - number)
        return number + self._num_left_out

    def first_sample(self, frame: bytes) -> int | None:
        """The number of a frame's first sample, None of what is no frame.

        Args:
            frame: it begins with the frame's header.
        """
        if int.from_bytes(frame[:2], "big") & 0xFFFE != _SYNC or len(frame) < 6:
            return None
        number, num_bytes = _coded_number(frame[4:11])
        if number is None or frame[1] & 1:  # it tells the sample itself
            return number
        code = frame[2] >> 4
        if code in (6, 7):
            size = int.from_bytes(frame[4 + num_bytes : 4 + num_bytes + code - 5], "big") + 1
        else:
            size = _BLOCK_SIZES.get(code, 0)
        self._block_size = max(self._block_size, size)
        return number * self._block_size


def _coded_number(data: bytes) -> tuple[int | None, int]:
    """A number coded as in UTF-8, of up to 36 bits, and how many bytes it takes."""
    num_bytes = (8 - (data[0] ^ 0xFF).bit_length()) or 1
    if num_bytes > len(data) or (data[0] & 0xC0) == 0x80:
        return None, 0
    number = data[0] & (0x7F if num_bytes == 1 else 0x7F >> num_bytes)
    for byte in data[1:num_bytes]:
        number = number << 6 | byte & 0x3F
    return number, num_bytes
