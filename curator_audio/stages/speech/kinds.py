"""What a file is that is named like a recording and is none."""

from __future__ import annotations

import re

_BINARY = (
    (b"PK\3\4", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b", "a gzip file", "unpack it"),
    (b"\xfd7zXZ\0", "an xz file", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it"),
    (b"%PDF-", "a PDF document", ""),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF87a", "a GIF image", ""),
    (b"GIF89a", "a GIF image", ""),
    (b"PAR1", "a Parquet file", ""),
    (b"\x93NUMPY", "a NumPy array", ""),
    (b"\x7fELF", "a program", ""),
    (b"SQLite format 3\0", "a SQLite database", ""),
)
"""How files of other kinds begin; no recording does."""

_FAILED = "has the download failed?"
_TEXTS = (
    (rb"<(!doctype\s+html|html|head|body)\b", "an HTML page", _FAILED),
    (rb"<\?xml\b|<Error>|<!DOCTYPE|<svg\b", "an XML document", _FAILED),
    (rb"version https://git-lfs\.github\.com/", "a Git LFS pointer", "get what it stands for with git lfs pull"),
    (rb"#EXTM3U|\[playlist\]", "a playlist", "give the recordings that it names"),
    (rb"WEBVTT\b|\d+\s+\d\d:\d\d:\d\d[,.]\d", "subtitles", ""),
    (rb"[{\[]\s*[\"{\[\]}\d-]", "a JSON document", _FAILED),
)
_SOUND = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"OggS", b"fLaC", b"ID3", b"caff", b".snd", b"#!AMR", b"FLV")
"""How recordings begin that are legible up to there."""

_COMMENTS = re.compile(rb"(?:<!--(?:(?!-->).)*-->\s*)*", re.DOTALL)
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def what_else(head: bytes) -> str:
    """What a file is that begins as no recording does, and what to do; empty where it may be one.

    Args:
        head: its first bytes, some hundred of them at least where it has as many.

    Example:
        >>> what_else(b"PK\\3\\4" + bytes(26))
        'it is a ZIP archive, not audio; unpack it'
        >>> what_else(b"RIFF....WAVEfmt ")
        ''
    """
    for magic, kind, remedy in _BINARY:
        if head.startswith(magic):
            return _told(kind, remedy)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _told("a WebP image", "")
    if head[257:262] == b"ustar":
        return _told("a tar archive", "unpack it")
    return ""


def what_text(head: bytes) -> str:
    """What a file is that FFmpeg finds no sound in, and what to do; empty where its first bytes do not tell.

    Example:
        >>> what_text(b"<!DOCTYPE html><html>404 Not Found</html>")
        'it is an HTML page, not audio; has the download failed?'
        >>> what_text(b"\\x9c\\x41\\x00")
        ''
    """
    if not head.strip(b"\0"):
        return _told("nothing but zero bytes", "has the copy failed?")
    if head.startswith(_SOUND):
        return ""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head[2:].replace(b"\0", b"").lstrip()
    if _NO_TEXT.search(text):
        return ""
    begin = text[match.end() :] if (match := _COMMENTS.match(text)) else text
    for pattern, kind, remedy in _TEXTS:
        if re.match(pattern, begin, re.IGNORECASE):
            return _told(kind, remedy)
    try:
        text[:-3].decode()  # the last letter may be cut
    except UnicodeDecodeError:
        return ""
    return _told("a text", _FAILED)


def _told(kind: str, remedy: str) -> str:
    return f"it is {kind}, not audio" + (f"; {remedy}" if remedy else "")
