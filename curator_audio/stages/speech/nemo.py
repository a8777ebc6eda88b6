"""NeMo's manifests, a segment a line, as entries with segments."""

from __future__ import annotations

from curator_audio.stages.speech.foreign_fields import kind_of, sources_of, taken
from curator_audio.stages.speech.segments import METADATA_FIELDS
from curator_audio.stages.times import is_time
from curator_audio.tasks import Record

NEMO_FIELDS = ("audio_filepath", "duration", "text")
"""By which a line of such a manifest is known, where it has no ``segments``."""

SOMEBODY = "speaker"
"""Who speaks where a line does not tell: a label that holds within the recording."""


def as_entry(record: Record) -> Record:
    """Return an entry of NeMo's as one with its segment, without what the segment says now; any other as it is.

    Example:
        >>> line = {"audio_filepath": "a.wav", "duration": 2.5, "offset": 10, "text": "so", "lang": "en", "snr": 9}
        >>> sorted(as_entry(line))
        ['audio_filepath', 'duration', 'language', 'segments', 'snr', 'text']
    """
    entry = with_segments(record)
    if entry is record:
        return record
    of = sources_of({name: kind_of(value) for name, value in record.items()}, {}).of
    said = {"offset", "speaker", *(other for name, other in of.items() if name in METADATA_FIELDS and other != name)}
    return {name: value for name, value in entry.items() if name not in said}


def with_segments(record: Record) -> Record:
    """Return an entry of NeMo's as one with its segment; any other entry as it is.

    The segment is what lies from ``offset`` (0 where there is none) on for ``duration`` seconds.

    Example:
        >>> line = {"audio_filepath": "a.wav", "duration": 2.5, "offset": 10, "text": "so be it", "lang": "en"}
        >>> entry = with_segments(line)
        >>> entry["language"], entry["segments"]
        ('en', [{'start': 10.0, 'end': 12.5, 'text': 'so be it', 'speaker': 'speaker'}])
    """
    if "segments" in record or not all(name in record for name in NEMO_FIELDS) or not is_time(record["duration"]):
        return record
    kinds = {name: kind_of(value) for name, value in record.items()}
    found = taken(record, sources_of(kinds, {}))
    start = float(record["offset"]) if is_time(record.get("offset")) else 0.0
    segment = {
        "start": start,
        "end": start + float(record["duration"]),
        "text": record["text"],
        "speaker": record.get("speaker") or SOMEBODY,
    }
    return {**record, **{name: found[name] for name in METADATA_FIELDS if name in found}, "segments": [segment]}
