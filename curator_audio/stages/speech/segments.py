"""What a speech segment is: the fields of its record, in every container."""

from __future__ import annotations

from typing import Any

from curator_audio.errors import RecordError
from curator_audio.tasks import Record

SEGMENT_FIELDS = (
    "segment_id",
    "audio_id",
    "text",
    "speaker_id",
    "gender",
    "dialect",
    "tone",
    "language",
    "channel",
    "start",
    "end",
    "duration_sec",
    "sample_rate",
    "audio",
    "codes",
)
"""The fields of a segment's record, in order.

``audio`` is ``{"bytes": …, "path": …}`` with the bytes of a sound file (16-bit FLAC, mono, unless it was read as
something else), ``codes`` a list of ints, empty until encoded; times are in seconds.
"""

METADATA_FIELDS = ("speaker_id", "gender", "dialect", "tone", "language")
"""What may stand on an entry of a manifest or on one of its segments, and goes along; None where it is not known."""


def segment_record(**values: Any) -> Record:
    """A segment's record with all fields, those not given as None; ``codes`` are empty if not given.

    Example:
        >>> segment_record(segment_id="a_seg_0", text="hello")["codes"]
        []
    """
    return {**dict.fromkeys(SEGMENT_FIELDS), "codes": [], **values}


def file_name_of(record: Record, suffix: str) -> list[str]:
    """Folder and name of a segment's own file, below the folder of all of them.

    Raises:
        RecordError: the names in the record would lead elsewhere.

    Example:
        >>> file_name_of({"channel": "news", "segment_id": "show_seg_3"}, ".npz")
        ['news', 'show_seg_3.npz']
    """
    names = [str(name) for name in (record.get("channel"), record.get("segment_id")) if name]
    if not record.get("segment_id"):
        raise RecordError("missing_field", "the record has no 'segment_id', after which its file is named")
    for name in names:
        if name in (".", "..") or "/" in name or "\0" in name:
            raise RecordError("path_leaves_root", f"{name!r} is no name of a file or folder; rename it")
    return [*names[:-1], names[-1] + suffix]
