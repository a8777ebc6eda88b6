"""A file as FFmpeg is given it to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol

from curator_audio.errors import AccessError, CuratorError, RecordError, StorageError
from curator_audio.stopping import called_back, raise_put_off
from curator_audio.storage.failures import explained

HEAD_BYTES = 2**16
"""How much of the beginning is kept, to tell what a file is; most headers are shorter, save for pictures in them."""

MAX_OPENING_BYTES = 128 * 2**20
"""How much may be read to find the sound in a file: an index of a day of film, or tags with large pictures, is less."""

FAR_BYTES = 4 * 2**20
"""What a jump within a file costs at most, as bytes read: stores send about as much for every one of them."""


class LookedTooFar(RecordError):
    """FFmpeg did not find the sound in a file within ``MAX_OPENING_BYTES``."""


class Source(Protocol):
    """What reads a file in a way of its own."""

    def read(self, num_bytes: int, /) -> bytes:
        """Up to as many of the next bytes, none at the end."""


class InOrder:
    """What FFmpeg is given of a source that can be read in order only; what goes wrong is kept as that of its file.

    Args:
        source: what is read.
        file: what it reads.
    """

    def __init__(self, source: Source, file: MediaFile) -> None:
        self._source, self._file = source, file

    @called_back
    def read(self, num_bytes: int) -> bytes:
        try:
            return self._source.read(num_bytes)
        except BaseException as error:
            self._file.error = error
        return b""


class MediaFile:
    """A file that FFmpeg calls back into: what goes wrong there is kept, and looks like the file's end to FFmpeg.

    What is raised in a callback is lost on its way through C. FFmpeg may pass over a failed read, too, and a connection
    that broke, or a signal to stop, would then look like a recording that breaks off. ``check`` raises it afterwards.

    The file that FFmpeg sees may be another one than is there: bytes that stand for a header, a range of the real file,
    and bytes that stand for its end (see ``replace``).

    Args:
        file: what is read.
        path: its path, for messages.
    """

    def __init__(self, file: IO[bytes], path: str) -> None:
        self._file = file
        self._path = path
        self._real_bytes: int | None = getattr(file, "size", None)
        self.num_bytes = self._real_bytes if file.seekable() else None
        """How long the real file is, where that is known and it can be read at any place."""
        self._position = self._real_position = 0
        self._is_in_order = False
        self._opening_bytes: int | None = None
        self._has_read = False
        self.error: BaseException | None = None
        """What went wrong in a callback."""
        self._header, self._trailer = b"", b""  # what stands before the bytes from _start to _end, and behind them
        self._start, self._end = 0, self._real_bytes
        self.head = b""
        """The first bytes of the real file."""
        self.wrong_header = ""
        """What is wrong with the header that FFmpeg does not see."""

    # What is behind FFmpeg's back ---------------------------------------------------------------------------------

    def read_head(self) -> None:
        """Read the first bytes, which FFmpeg is given from memory then."""
        self.head = self._read_all(HEAD_BYTES)
        self.replace(self.head, len(self.head), self._real_bytes)

    def replace(self, header: bytes, start: int, end: int | None, trailer: bytes = b"") -> None:
        """Let FFmpeg see a header, the real bytes from ``start`` up to ``end``, and a trailer.

        Args:
            header: what it sees first.
            start: a byte of the real file.
            end: one past another; None where it is not known how many there are.
            trailer: what it sees last.
        """
        self._header, self._start, self._end, self._trailer = header, start, end, trailer
        self._position = 0

    def bytes_at(self, start: int, num_bytes: int) -> bytes:
        """Some bytes of the real file, fewer at its end.

        Only the first ones where it can be read in order only.

        Raises:
            StorageError: they cannot be read.
        """
        if start + num_bytes <= len(self.head) or self.num_bytes is None:
            return self.head[start : start + num_bytes]
        if start >= self.num_bytes:
            return b""
        with explained(self._path, "read"):
            self._file.seek(start)
            self._real_position = -1
            pieces = []
            while num_bytes and (piece := self._file.read(num_bytes)):
                pieces.append(piece)
                num_bytes -= len(piece)
            return b"".join(pieces)

    def tail(self, num_bytes: int) -> bytes:
        """The last bytes of what FFmpeg sees, none where it can only be read in order."""
        if not self.seekable():
            return b""
        self.seek(max(0, self.seek(0, 2) - num_bytes))
        return self._read_all(num_bytes)

    def _read_all(self, num_bytes: int) -> bytes:
        """The next bytes of what FFmpeg sees, fewer at its end only."""
        data = b""
        while len(data) < num_bytes and (piece := self.read(num_bytes - len(data))):
            data += piece
        self.check()
        return data

    def begin(self, in_order: bool = False) -> None:
        """Let FFmpeg begin, with ``MAX_OPENING_BYTES`` to read before the first ``check``.

        Args:
            in_order: whether FFmpeg may only read on, and not look for an index or for more at other places.
        """
        self._is_in_order = in_order
        self._position = self._opening_bytes = 0
        self.error = None

    @contextmanager
    def read_anew(self) -> Iterator[None]:
        """Let the file be read from its start, and then go on where it was."""
        position = self._position
        try:
            yield
        finally:
            self._position = position

    def check(self) -> None:
        """Raise what went wrong.

        Raises:
            LookedTooFar: FFmpeg read more than it may to open the file.
            StorageError: a read failed.
        """
        self._opening_bytes = None
        raise_put_off()
        error = self.error
        if error is None:
            return
        if isinstance(error, AccessError) and self._has_read:  # what could be read a moment ago can be read again
            raise StorageError(str(error))
        if isinstance(error, CuratorError) or not isinstance(error, Exception):
            raise error
        raise StorageError(f"cannot read {self._path}: {error}")

    # What FFmpeg calls ----------------------------------------------------------------------------------------------

    @called_back
    def read(self, num_bytes: int) -> bytes:
        try:
            return self._read(num_bytes)
        except BaseException as error:
            self.error = error
        return b""

    @called_back
    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte counted from the start or, with 2, from the end; -1, FFmpeg's failure, if there is none."""
        try:
            return self._seek(offset, whence)
        except BaseException as error:
            self.error = error
        return -1

    @called_back
    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return self.num_bytes is not None and not self._is_in_order

    def _read(self, num_bytes: int) -> bytes:
        raise_put_off()
        if self.error is not None:
            return b""
        start = self._position - len(self._header) + self._start
        if start < self._start:
            data = self._header[self._position : self._position + num_bytes]
        elif self._end is not None and start >= self._end:
            data = self._trailer[start - self._end : start - self._end + num_bytes]
        else:
            data = self._read_real(start, num_bytes)
        self._position += len(data)
        self._count(len(data))
        self._has_read = True
        return data

    def _read_real(self, start: int, num_bytes: int) -> bytes:
        if self._end is not None:
            num_bytes = min(num_bytes, self._end - start)
        with explained(self._path, "read"):
            if self._real_position != start:
                self._file.seek(start)
            data = self._file.read(num_bytes)
            if not data and self._end is not None:
                raise OSError(f"it ends at byte {start} of {self._real_bytes}")
        self._real_position = start + len(data)
        return data

    def _seek(self, offset: int, whence: int) -> int:
        end = len(self._header) + (self._end or 0) - self._start + len(self._trailer)
        target = offset + (end if whence == 2 else 0)
        if self.error is not None or not 0 <= target <= end:
            return -1
        self._count(min(abs(target - self._position), FAR_BYTES))
        self._position = target
        return target

    def _count(self, num_bytes: int) -> None:
        if self._opening_bytes is None:
            return
        self._opening_bytes += num_bytes
        if self._opening_bytes > MAX_OPENING_BYTES:
            megabytes = MAX_OPENING_BYTES // 2**20
            remedy = "convert it to wav, flac, ogg, mp3, m4a or webm"
            raise LookedTooFar("unreadable_audio", f"{self._path}: no sound is found in {megabytes} MB of it; {remedy}")
