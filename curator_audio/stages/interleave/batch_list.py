"""Batch lists: text files that name the folders of a batch, one ``speaker_id-book_id`` a line."""

from __future__ import annotations

from collections.abc import Iterator

from curator_audio.errors import RecordError

SUFFIX = ".txt"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 512  # two names of 255 bytes, and the dash


def lines_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a list that are not blank, without line ends, and the byte each begins at.

    Example:
        >>> list(lines_of(b"1472-1437\\r\\n\\n1472-1438"))
        [(0, b'1472-1437'), (12, b'1472-1438')]
    """
    offset = 0
    for line in data.splitlines(keepends=True):
        content = line.removeprefix(BYTE_ORDER_MARK) if offset == 0 else line
        if content.strip():
            yield offset, content.strip()
        offset += len(line)


def folders_of(line: bytes) -> list[str]:
    """The folders, below the root of the tree, that a line may mean: one for each dash in it.

    Raises:
        RecordError: it means none, or one that lies elsewhere.

    Example:
        >>> folders_of(b"1472-1437"), folders_of(b"le-petit-prince")
        (['1472/1437'], ['le/petit-prince', 'le-petit/prince'])
    """
    if len(line) > MAX_LINE_BYTES:
        raise RecordError("invalid_line", f"the line has {len(line)} bytes; give one folder a line")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise RecordError("invalid_utf8", "the line is not UTF-8; save the list as UTF-8") from None
    parts = text.split("-")
    splits = [("-".join(parts[:count]), "-".join(parts[count:])) for count in range(1, len(parts))]
    if any(mark in text for mark in "/\\\0") or any(name in (".", "..") for split in splits for name in split):
        raise RecordError("path_leaves_root", f"{text!r} is no folder of a speaker and a book; take it out")
    folders = ["/".join(split) for split in splits if all(split)]
    if not folders:
        raise RecordError("invalid_line", f"{text!r} names no folder; give speaker_id-book_id, such as 1472-1437")
    return folders


def line_of(speaker_id: str, book_id: str) -> str:
    """The line that names the folder of a speaker's book.

    Raises:
        RecordError: no line can.

    Example:
        >>> line_of("1472", "1437")
        '1472-1437'
    """
    line = f"{speaker_id}-{book_id}"
    is_line = line == line.strip() and len(line.splitlines()) == 1
    if not is_line or f"{speaker_id}/{book_id}" not in folders_of(line.encode(errors="surrogateescape")):
        raise RecordError("invalid_name", f"{speaker_id}/{book_id} cannot stand in a line; rename the folder")
    return line
