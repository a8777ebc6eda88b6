"""Fields of segments that others have written, of which only sound, text or codes must be there."""

from __future__ import annotations

from typing import Any

from curator_audio.stages.optional import Ignored, as_text, is_number
from curator_audio.stages.speech.segments import SEGMENT_FIELDS
from curator_audio.tasks import Record

_NUMBERS = ("start", "end", "duration_sec")


def with_usable_fields(record: Record, ignored: Ignored) -> Record:
    """Return a segment's record with None for optional fields that hold something of another kind.

    Args:
        record: the record, with all fields of a segment.
        ignored: where they are counted.

    Example:
        >>> from curator_audio.stages.speech.segments import segment_record
        >>> ignored = Ignored()
        >>> segment = segment_record(text="so be it", speaker_id=["ann"], start="soon")
        >>> segment = with_usable_fields(segment, ignored)
        >>> segment["text"], segment["speaker_id"], segment["start"], ignored.num_fields
        ('so be it', None, None, 2)
    """
    wrong = [name for name in SEGMENT_FIELDS if not _is_usable(name, record[name])]
    ignored.num_fields += len(wrong)
    return {**record, **dict.fromkeys(wrong)} if wrong else record


def _is_usable(name: str, value: Any) -> bool:
    if value is None or name in ("audio", "codes"):
        return True
    if name in _NUMBERS:
        return is_number(value)
    if name == "sample_rate":
        return is_number(value) and value == int(value) and value > 0
    return as_text(value) is not None
