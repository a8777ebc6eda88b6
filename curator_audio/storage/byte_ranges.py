"""Cutting files of lines into byte ranges, and reading the lines of one.

A line belongs to the range in which its first byte lies. Ranges can therefore be cut anywhere without looking
into the file, and together they hold every line exactly once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

READ_BYTES = 2**20
OVERLONG_KEPT_BYTES = 64 * 1024
_BLANKS = re.compile(rb"\s*")


@dataclass(frozen=True)
class Lines:
    """Consecutive lines of a file.

    Args:
        start: byte offset of the first line.
        data: the lines with their line ends; of an overlong last line only the first 64 kB.
        overlong_num_bytes: the whole length of the last line, without its end, where it is longer than allowed and
            therefore cut, else 0.

    Example:
        >>> list(Lines(10, b"one\\n\\n  two\\n"))
        [(10, b'one'), (15, b'  two')]
    """

    start: int
    data: bytes
    overlong_num_bytes: int = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Byte offset and bytes, without the line end, of every line but blank ones, of which there may be millions."""
        begin, size = 0, len(self.data)
        while begin < size:
            text = _BLANKS.match(self.data, begin).end()  # type: ignore[union-attr]  # it matches nothing, too
            if text == size and not self.overlong_num_bytes:  # else it is a line of which no more than blanks was kept
                return
            begin = self.data.rfind(b"\n", begin, text) + 1 or begin
            end = self.data.find(b"\n", text)
            end = size if end < 0 else end
            yield self.start + begin, self.data[begin:end]
            begin = end + 1

    @property
    def sha256(self) -> str:
        """The hash by which a later run knows whether these lines have changed."""
        digest = hashlib.sha256(self.data)
        digest.update(b"%d" % self.overlong_num_bytes)
        return digest.hexdigest()


def read_lines(read: Callable[[int, int], bytes], start: int, end: int, max_line_bytes: int) -> Lines:
    """The lines that begin in ``[start, end)``; the last one is followed beyond ``end``.

    Args:
        read: returns the bytes from a start up to an end, fewer at the end of the file.
        start: first byte of the range.
        end: one past its last byte.
        max_line_bytes: a longer last line is cut short, and its length told.

    Example:
        >>> text = b"one\\ntwo\\nthree\\n"
        >>> read_lines(lambda start, end: text[start:end], 2, 8, 100).data
        b'two\\n'
    """
    if start == 0:
        data, first = read(0, end), 0
    else:  # the byte before the range tells whether a line begins at its start or runs into it
        data = read(start - 1, end)
        newline = data.find(b"\n")
        if newline < 0:
            return Lines(end, b"")
        data, first = data[newline + 1 :], start + newline
    if not data or data.endswith(b"\n"):
        return Lines(first, data)
    last_line = data.rfind(b"\n") + 1
    begun = len(data) - last_line
    rest, num_bytes = _rest_of_line(read, first + len(data), max(max_line_bytes, OVERLONG_KEPT_BYTES) - begun)
    if begun + num_bytes > max_line_bytes:
        return Lines(first, (data + rest)[: last_line + min(OVERLONG_KEPT_BYTES, begun + num_bytes)], begun + num_bytes)
    return Lines(first, data + rest)


def _rest_of_line(read: Callable[[int, int], bytes], position: int, max_kept_bytes: int) -> tuple[bytes, int]:
    """The bytes from ``position`` to the line's end, as far as they are worth keeping, and how many there are."""
    pieces: list[bytes] = []
    num_bytes = 0
    while piece := read(position + num_bytes, position + num_bytes + READ_BYTES):
        newline = piece.find(b"\n")
        pieces.append((piece if newline < 0 else piece[: newline + 1])[: max(0, max_kept_bytes + 1 - num_bytes)])
        num_bytes += len(piece) if newline < 0 else newline
        if newline >= 0:
            break
    return b"".join(pieces), num_bytes


def read_blocks(read: Callable[[int], bytes], block_bytes: int, max_line_bytes: int) -> Iterator[Lines]:
    """The lines of a file that can only be read in order, in blocks of about ``block_bytes``.

    Args:
        read: returns the next bytes, as many as asked for except at the end of the file.
        block_bytes: the size from which a block is cut at its last line end.
        max_line_bytes: a longer line is a block of its own, cut short, and its length told.

    Example:
        >>> import io
        >>> [lines.data for lines in read_blocks(io.BytesIO(b"one\\ntwo\\n").read, 2, 100)]
        [b'one\\n', b'two\\n']
    """
    start = 0
    buffer = bytearray()
    piece_bytes = max(1, min(READ_BYTES, block_bytes))
    while piece := read(piece_bytes):
        buffer += piece
        if len(buffer) < block_bytes:
            continue
        cut = buffer.rfind(b"\n") + 1
        if cut:
            yield Lines(start, bytes(buffer[:cut]))
            start += cut
            del buffer[:cut]
        elif len(buffer) > max_line_bytes:
            kept, num_bytes = bytes(buffer[:OVERLONG_KEPT_BYTES]), len(buffer)
            buffer.clear()
            while piece := read(READ_BYTES):
                newline = piece.find(b"\n")
                num_bytes += len(piece) if newline < 0 else newline
                if newline >= 0:
                    buffer += piece[newline + 1 :]
                    break
            yield Lines(start, kept, num_bytes)
            start += num_bytes + 1
    if buffer:
        yield Lines(start, bytes(buffer))
