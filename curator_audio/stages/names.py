"""Ids of what is named within a channel, and the names of its files."""

from __future__ import annotations

import os
import re

from curator_audio.errors import RecordError
from curator_audio.storage.names import short_name
from curator_audio.tasks import Record

_INDEX = re.compile(r"_seg_(\d+)\Z")


def id_in(channel: str | None, name: str) -> str:
    """Return the id of what has a name that is unique within a channel.

    Args:
        channel: the channel; None or empty where there is none.
        name: of a segment, a recording, a window or a speaker of a recording.

    Example:
        >>> id_in("news", "show_seg_3"), id_in(None, "show_seg_3")
        ('news/show_seg_3', 'show_seg_3')
    """
    return f"{channel}/{name}" if channel else name


def name_in(channel: str | None, known_id: str) -> str:
    """Return the name within a channel of what has an id; an id that does not carry the channel is the name.

    Example:
        >>> name_in("news", "news/show_seg_3"), name_in("news", "show_seg_3"), name_in("news", "talks/show_seg_3")
        ('show_seg_3', 'show_seg_3', 'talks/show_seg_3')
    """
    return known_id.removeprefix(f"{channel}/") if channel else known_id


def recording_of(segment_id: str) -> str:
    """The recording a segment was cut from, as its name tells.

    Example:
        >>> recording_of("show_12_seg_3")
        'show_12'
    """
    return _INDEX.sub("", segment_id)


def index_of(segment_id: str) -> int:
    """The place of a segment in its recording, as its name tells.

    Example:
        >>> index_of("show_12_seg_3")
        3
    """
    found = _INDEX.search(segment_id)
    return int(found[1]) if found else -1


def file_name_of(record: Record, suffix: str, id_field: str = "segment_id") -> list[str]:
    """Folder and name of a record's own file, below the folder of all of them, shortened where a file system would not
    take them.

    The folder is the channel, the name is the id without it; where another ``/`` is in the id, the name has ``_``.

    Raises:
        RecordError: the names in the record would lead elsewhere, or are no text.

    Example:
        >>> file_name_of({"channel": "news", "segment_id": "news/show_seg_3"}, ".npz")
        ['news', 'show_seg_3.npz']
        >>> file_name_of({"channel": "all", "segment_id": "news/show_seg_3"}, ".npz")
        ['all', 'news_show_seg_3.npz']
    """
    channel = str(record.get("channel") or "")
    name = name_in(channel, str(record.get(id_field) or "")).replace("/", "_")
    if not name:
        raise RecordError("missing_field", f"the record has no '{id_field}', after which its file is named")
    names = [channel, name] if channel else [name]
    for part in names:
        if part in (".", "..") or "/" in part or "\0" in part:
            raise RecordError("path_leaves_root", f"{part!r:.200} is no name of a file or folder; rename it")
        try:
            os.fsencode(part)
        except UnicodeEncodeError:
            raise RecordError("invalid_name", f"{part!r:.200} has half of a character in it; rename it") from None
    return [short_name(part) for part in (*names[:-1], name + suffix)]
