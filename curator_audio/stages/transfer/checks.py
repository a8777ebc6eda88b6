"""Which names can be copied."""

from __future__ import annotations

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
