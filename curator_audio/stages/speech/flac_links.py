"""FLAC files that were put one behind the other, file by file."""

from __future__ import annotations

import re

from curator_audio.stages.speech.media_file import Source

MAGIC = b"fLaC"
_BEGINS = re.compile(rb"fLaC[\0\x80]\0\0\x22")
"""A stream begins with this, and a block of 34 bytes that describes it (RFC 9639, section 8.2)."""
_NUM_BYTES = 8


class FlacLinks:
    """A FLAC file as FFmpeg is given it, in order: every stream in it looks like a file of its own.

    FFmpeg's reader knows one stream of one rate, and finds some frames twice where another follows.

    Args:
        file: what is read.

    Example:
        >>> import io
        >>> begin = b"fLaC\\x80\\0\\0\\x22"
        >>> links = FlacLinks(io.BytesIO(begin + b"one" + begin + b"two"))
        >>> links.read(100)[-3:], links.read(100), links.advance(), links.read(100)[-3:], links.advance()
        (b'one', b'', True, b'two', False)
    """

    def __init__(self, file: Source) -> None:
        self._file = file
        self._ahead = b""  # read, and not given out
        self._at_start = True

    def read(self, num_bytes: int) -> bytes:
        """Up to as many bytes of this stream, none at its end."""
        while len(self._ahead) < _NUM_BYTES and (more := self._file.read(num_bytes)):
            self._ahead += more
        data = self._ahead
        end = _next_stream(data, int(self._at_start))
        if end < 0:  # what may be the beginning of a beginning waits for the rest
            end = data.find(b"f", 1 - _NUM_BYTES) if len(data) >= _NUM_BYTES else -1
            end = end if end >= 0 else len(data)
        end = min(end, num_bytes)
        self._ahead = data[end:]
        self._at_start &= not end
        return data[:end]

    def tells_of_sound(self) -> bool:
        """Whether there is sound in a stream that has no samples: there is not."""
        return False

    def advance(self) -> bool:
        """Go to the next stream; whether there is one."""
        while self.read(65536):
            pass
        self._at_start = True
        return bool(self._ahead)


def _next_stream(data: bytes, start: int) -> int:
    """Where the next stream begins, or -1."""
    if data.rfind(MAGIC, start) < 0:  # in half the time of ``find``, and there is none in nearly all data
        return -1
    begins = _BEGINS.search(data, start)
    return begins.start() if begins else -1
