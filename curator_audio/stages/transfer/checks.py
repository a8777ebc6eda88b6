"""Which files can be copied."""

from __future__ import annotations

import os
import stat

from curator_audio.errors import RecordError


def check_name(key: str, has_objects: bool) -> None:
    """Check that a path below a folder stays below any other.

    Args:
        key: the path.
        has_objects: whether an object store is on one side.

    Raises:
        RecordError: it does not, or cannot be written there.

    Example:
        >>> check_name("news/../../a", has_objects=True)
        Traceback (most recent call last):
        curator_audio.errors.RecordError: path_leaves_root: 'news/../../a' is no path below a folder; rename it
    """
    if any(name in ("", ".", "..") for name in key.split("/")) or "\0" in key:
        raise RecordError("path_leaves_root", f"{key!r} is no path below a folder; rename it")
    if not has_objects:
        return
    try:
        key.encode()
    except UnicodeEncodeError:
        raise RecordError("name_is_no_text", f"{key!r} is no UTF-8, as names of objects must be; rename it") from None
    if "?versionId=" in key:  # s3fs takes it for something else
        raise RecordError("name_has_version", f"{key!r} reads like a version of another object; rename it")


def check_regular(path: str, root: str) -> None:
    """Check that a local file is a regular one, or a link to one below ``root``; one that has gone passes.

    Raises:
        RecordError: it is something else.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if stat.S_ISLNK(mode):
        leads_to = os.path.realpath(path)
        if not leads_to.startswith(os.path.realpath(root) + "/"):
            raise RecordError("link_leaves_root", f"it is a link to {leads_to}; put that below {root} itself")
        if not os.path.exists(path):
            raise RecordError("broken_link", f"it is a link to {leads_to}, which is not there; mend or delete it")
        mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise RecordError("link_to_folder", "it is a link to a folder; copy that folder by itself")
    if not stat.S_ISREG(mode):
        raise RecordError("not_a_file", "it is a pipe, a socket or a device; delete it")
