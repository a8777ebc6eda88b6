"""Chains of Ogg streams (RFC 3533, section 4), link by link."""

from __future__ import annotations

from typing import Protocol

MAGIC = b"OggS"
_HEADER_BYTES = 27  # and a byte for each of up to 255 segments
_BLOCK_BYTES = 32768
_BEGINS = 0b10
"""The flag of a page that begins a stream."""
_AT_START, _NO_TIME = bytes(8), b"\xff" * 8


class _Readable(Protocol):
    def read(self, num_bytes: int, /) -> bytes: ...


class OggLinks:
    """An Ogg file as FFmpeg is given it, in order: every link of a chain looks like a file of its own.

    A link may be of another codec, rate or number of channels than the one before, which FFmpeg's reader of Ogg files
    refuses. All streams of a link begin before the first other page of it, so a page behind that which begins a stream
    is of the next link. Pages are looked at as they pass.

    Args:
        file: what is read.
    """

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self._ahead = b""  # read, and given out up to _position
        self._position = 0
        self._num_left = 0  # bytes up to the next page
        self._has_begun = self._has_time = self._is_at_next = False

    def read(self, num_bytes: int) -> bytes:
        """Up to as many bytes of this link, none at its end."""
        pieces: list[bytes] = []
        while num_bytes and self._has_more():
            piece = self._ahead[self._position : self._position + min(num_bytes, self._num_left)]
            pieces.append(piece)
            self._position += len(piece)
            self._num_left -= len(piece)
            num_bytes -= len(piece)
        return b"".join(pieces)

    def tells_of_sound(self) -> bool:
        """Whether a page of this link, which is read to its end, has a time after its start."""
        while self.read(65536):
            pass
        return self._has_time

    def advance(self) -> bool:
        """Go to the next link; whether there is one."""
        while self.read(65536):
            pass
        is_there, self._is_at_next, self._has_begun, self._has_time = self._is_at_next, False, False, False
        return is_there

    def _has_more(self) -> bool:
        """Whether the next byte is there, and of this link."""
        if not self._num_left:
            self._look_at_page()
        if self._position == len(self._ahead):
            self._read_on()
        return not self._is_at_next and self._position < len(self._ahead)

    def _read_on(self) -> int:
        """Read a block more, and drop what is given out; how many bytes there were."""
        data = self._file.read(_BLOCK_BYTES)
        self._ahead, self._position = self._ahead[self._position :] + data, 0
        return len(data)

    def _look_at_page(self) -> None:
        """Find out how far the page reaches that comes next, or what is none."""
        while len(self._ahead) - self._position < _HEADER_BYTES + 255 and self._read_on():
            pass
        page = self._ahead[self._position : self._position + _HEADER_BYTES + 255]
        if not page.startswith(MAGIC):  # what was damaged goes on with the next page
            next_page = page.find(MAGIC, 1)
            self._num_left = next_page if next_page > 0 else max(1, len(page) - len(MAGIC) + 1)
            return
        num_segments = page[_HEADER_BYTES - 1] if len(page) >= _HEADER_BYTES else 0
        begins = len(page) >= _HEADER_BYTES and bool(page[5] & _BEGINS)
        if begins and self._has_begun:
            self._is_at_next = True
            return
        self._has_begun |= not begins
        self._has_time |= page[6:14] not in (_AT_START, _NO_TIME)
        self._num_left = _HEADER_BYTES + num_segments + sum(page[_HEADER_BYTES : _HEADER_BYTES + num_segments])
