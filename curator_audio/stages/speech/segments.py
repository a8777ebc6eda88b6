"""What a speech segment is: the fields of its record, in every container."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.storage.names import short_name
from curator_audio.tasks import Record

SEGMENT_TYPES: Mapping[str, str] = {
    "segment_id": "string",
    "audio_id": "string",
    "text": "string",
    "speaker_id": "string",
    "gender": "string",
    "dialect": "string",
    "tone": "string",
    "language": "string",
    "channel": "string",
    "start": "float",
    "end": "float",
    "duration_sec": "float",
    "sample_rate": "int32",
    "audio": "audio",
    "codes": "list<int32>",
}
"""The types of the fields of a segment's record."""

SEGMENT_FIELDS = tuple(SEGMENT_TYPES)
"""The fields of a segment's record, in order; others may stand behind them.

``audio`` is ``{"bytes": …, "path": …}`` with the bytes of a sound file (16-bit FLAC, mono, unless it was read as
something else), ``codes`` a list of ints, empty until encoded; times are in seconds.
"""

METADATA_FIELDS = ("speaker_id", "gender", "dialect", "tone", "language")
"""What may stand on an entry of a manifest or on one of its segments, and goes along; None where it is not known."""


TIME_FIELDS = ("start", "end", "duration_sec")
"""Those in seconds."""

_TEXT_FIELDS = ("segment_id", "audio_id", "text", "channel", *METADATA_FIELDS)


def check_columns(columns: Any, fields: Sequence[str] = SEGMENT_FIELDS, owner: str = "segments") -> None:
    """Check a choice of fields.

    Args:
        columns: the choice; None for all of them.
        fields: those there are.
        owner: what has them, for the message.

    Raises:
        ConfigurationError: it is no list, or names a field that there is not.
    """
    check_chosen(columns)
    for column in columns or ():
        if column not in fields:
            raise ConfigurationError(f"columns has {column!r}; {owner} have {', '.join(fields)}")


def check_chosen(columns: Any) -> None:
    """Check that a choice of fields is a list of names, none twice; None is all of them.

    Raises:
        ConfigurationError: it is something else.
    """
    if columns is None:
        return
    if not isinstance(columns, list) or not columns:
        raise ConfigurationError(f"columns is {columns!r}; give a list such as [text,codes], or null for all")
    for index, column in enumerate(columns):
        if not isinstance(column, str) or not column:
            raise ConfigurationError(f"columns has {column!r}; give names of fields, such as [text,codes]")
        if column in columns[:index]:
            raise ConfigurationError(f"columns has {column!r} twice; name each field once")


def segment_record(**values: Any) -> Record:
    """A segment's record with all fields, those not given as None; ``codes`` are empty if not given.

    Example:
        >>> segment_record(segment_id="a_seg_0", text="hello")["codes"]
        []
    """
    return {**dict.fromkeys(SEGMENT_FIELDS), "codes": [], **values}


def foreign_segment(values: Mapping[str, Any], segment_id: str) -> Record:
    """A segment's record from what a container of others tells of it.

    Fields that segments do not have are left out, numbers for text become text, text for times becomes numbers where it
    is one, and sound that lies elsewhere is none.

    Args:
        values: fields and their values.
        segment_id: its name where it has none.

    Example:
        >>> segment = foreign_segment({"speaker_id": 7, "text": "hello", "score": 0.5}, "shard_3")
        >>> segment["segment_id"], segment["speaker_id"], "score" in segment
        ('shard_3', '7', False)
    """
    record = segment_record(**{name: values[name] for name in SEGMENT_FIELDS if name in values})
    for name in _TEXT_FIELDS:
        value = record[name]
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # which a column of whole numbers becomes where one of them is missing
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            record[name] = None if value != value else str(value)
    for name in TIME_FIELDS:
        if isinstance(record[name], str):
            with suppress(ValueError):
                record[name] = float(record[name])
    if isinstance(record["sample_rate"], str) and record["sample_rate"].isdecimal():
        record["sample_rate"] = int(record["sample_rate"])
    audio = record["audio"]
    audio = {"bytes": audio, "path": None} if isinstance(audio, bytes) else audio
    record["audio"] = audio if isinstance(audio, dict) and isinstance(audio.get("bytes"), bytes) else None
    record["segment_id"] = record["segment_id"] or segment_id
    record["codes"] = [] if record["codes"] is None else record["codes"]
    return record


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


def sound_of(record: Record) -> bytes:
    """The bytes of the sound file in a segment's record.

    Raises:
        RecordError: there is none.

    Example:
        >>> sound_of({"audio": {"bytes": b"fLaC", "path": "show_seg_3.flac"}})
        b'fLaC'
    """
    audio = record.get("audio")
    data = audio.get("bytes") if isinstance(audio, dict) else None
    if not isinstance(data, bytes) or not data:
        raise RecordError("missing_audio", "the record has no sound: its 'audio' has no bytes")
    return data


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
