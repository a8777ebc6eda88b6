"""Names of files that come from data, short enough for where they are written."""

from __future__ import annotations

import hashlib
import re

MAX_NAME_BYTES = 255
"""Of one part of a path, on the file systems of Linux and macOS."""
MAX_PATH_BYTES = 4000
"""Of a whole local path, with room for the name it has while it is written."""
MAX_KEY_BYTES = 1024
"""Of the key of an object: S3, Google Cloud Storage."""

_TAIL = re.compile(r"(_[a-z]{1,8}_\d{1,12})?(\.[A-Za-z0-9]{1,12}){0,2}\Z")
"""What a name ends in that tells its kind: ``_seg_12.npz``."""
MAX_TAIL_BYTES = 48


def short_name(name: str, num_reserved_bytes: int = 0) -> str:
    """A name as it is if a file system takes it, else its start, a hash of it, and its end.

    The same name becomes the same short one, and two names become two. The pieces of one recording keep their numbers,
    and have all else in common.

    Args:
        name: a name, without folders.
        num_reserved_bytes: of what will be put behind it.

    Example:
        >>> short_name("show_seg_3.npz")
        'show_seg_3.npz'
        >>> len(short_name("あ" * 100 + "_seg_3.npz").encode()), short_name("あ" * 100 + "_seg_3.npz")[-30:]
        (216, 'あああ-74584a8c919bd13c_seg_3.npz')
    """
    if _num_bytes(name) + num_reserved_bytes <= MAX_NAME_BYTES:
        return name
    found = _TAIL.search(name)
    tail = found[0] if found else ""
    return _shortened(name.removesuffix(tail), MAX_NAME_BYTES - MAX_TAIL_BYTES - num_reserved_bytes) + tail


def short_key(key: str, num_bytes_before: int, max_bytes: int, max_name_bytes: int | None = MAX_NAME_BYTES) -> str:
    """A path below a folder, with names and altogether short enough.

    A path that is too long keeps the folders there is room for; its name then has a hash of the whole path.

    Args:
        key: the path.
        num_bytes_before: of the folder it is put below.
        max_bytes: of both together.
        max_name_bytes: of every name in it; None for any.

    Example:
        >>> short_key("news/show.wav", 20, 1024)
        'news/show.wav'
        >>> short_key("a-folder/of-a-folder/of-a-folder/show.wav", 6, 46)
        'a-folder/show-1a6a9bdcd9caeb94.wav'
    """
    names = key.split("/") if max_name_bytes is None else [short_name(name) for name in key.split("/")]
    room = max_bytes - num_bytes_before
    if _num_bytes("/".join(names)) <= room:
        return "/".join(names)
    *folders, name = names
    found = _TAIL.search(name)
    tail = found[0] if found else ""
    last = _shortened(name.removesuffix(tail), min(64, room - len(tail)), key) + tail
    while folders and _num_bytes("/".join([*folders, last])) > room:
        folders.pop()
    return "/".join([*folders, last])


def _shortened(text: str, max_bytes: int, hashed: str | None = None) -> str:
    digest = hashlib.sha256(_encoded(text if hashed is None else hashed)).hexdigest()[:16]
    start = _encoded(text)[: max(0, max_bytes - 17)].decode(errors="ignore")  # characters are not cut in two
    return f"{start}-{digest}"


def _num_bytes(text: str) -> int:
    return len(_encoded(text))


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")  # names of files that are no UTF-8
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
