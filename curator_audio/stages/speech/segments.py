"""What a speech segment is: the fields of its record, in every container."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.names import file_name_of as file_name_of
from curator_audio.stages.names import id_in as id_in
from curator_audio.stages.names import index_of as index_of
from curator_audio.stages.names import name_in as name_in
from curator_audio.stages.names import recording_of as recording_of
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
    """A segment's record from what a container of others tells of it, further fields behind its own.

    Numbers for text become text, text for times becomes numbers where it is one, and sound that lies elsewhere is none.

    Args:
        values: fields and their values.
        segment_id: its name where it has none.

    Example:
        >>> segment = foreign_segment({"score": 0.5, "speaker_id": 7, "text": "hello"}, "shard_3")
        >>> segment["segment_id"], segment["speaker_id"], list(segment)[-1]
        ('shard_3', '7', 'score')
    """
    record = segment_record(**values)
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


def with_own_names(record: Record) -> Record:
    """Return what JSON has of a segment: all but the sound, the fields that were left out as null.

    By these a reader tells that it is a segment of ours, in which ``emotion`` is no other word for ``tone``.

    Example:
        >>> [*with_own_names({"segment_id": "a", "emotion": "calm"})][:3]
        ['segment_id', 'emotion', 'audio_id']
    """
    missing = [name for name in SEGMENT_FIELDS if name not in record]
    return {name: value for name, value in {**record, **dict.fromkeys(missing)}.items() if name != "audio"}


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
