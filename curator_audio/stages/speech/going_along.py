"""Which fields of an entry of a manifest go along with the segments and windows that are cut of its recording."""

from __future__ import annotations

from collections.abc import Container

from curator_audio.stages.field_types import SCALARS, members
from curator_audio.stages.fields import UNTYPED, Fields, FieldTypes
from curator_audio.storage.json_codec import VerbatimFloat
from curator_audio.tasks import Record

_SINGLE = frozenset((str, bool, int, float, VerbatimFloat))
_OF_ENTRY = ("duration", "offset", "audio_sample_rate")  # of the recording; pieces have their own
_OF_SEGMENT = ("duration", "speaker")  # which are duration_sec, and speaker_id


def going_along(entry: Record, segment: Record, core: Container[str]) -> Record:
    """Return the further fields of a segment: its own, and those of its entry that it does not have itself.

    They are single values: texts, numbers, true or false. Paths are not among them, as they lead nowhere from there.

    Args:
        entry: the entry.
        segment: the segment in the manifest; empty for what has no such fields.
        core: the names that the record has anyway.

    Example:
        >>> entry = {"audio_filepath": "a.wav", "duration": 60.5, "episode_id": 7, "licence": "CC0", "words": []}
        >>> going_along(entry, {"start": 0, "end": 2, "snr": 9.5, "licence": None}, core=("start", "end"))
        {'episode_id': 7, 'licence': 'CC0', 'snr': 9.5}
    """
    of_entry = {
        name: value
        for name, value in entry.items()
        if type(value) in _SINGLE and segment.get(name) is None and _goes(name, core, _OF_ENTRY)
    }
    of_segment = {
        name: value for name, value in segment.items() if type(value) in _SINGLE and _goes(name, core, _OF_SEGMENT)
    }
    return {**of_entry, **of_segment}


def fields_going_along(fields: Fields, core: FieldTypes, segments: str = "", gone: tuple[str, ...] = ()) -> Fields:
    """The fields of the records that are cut: the core ones, and those that go along.

    Args:
        fields: of the entries.
        core: the fields that the records have anyway.
        segments: the field with the segments whose own fields go along; empty for none.
        gone: fields that do not.

    Example:
        >>> entry = Fields(seen={"episode_id": "int", "segments": "list<struct<start: float, snr?: float>>"})
        >>> fields_going_along(entry, {"start": "float"}, "segments").kinds
        {'episode_id': 'int', 'snr': 'float', 'start': 'float'}
    """
    own = members(fields.kinds.get(segments, UNTYPED))
    own = {name: kind for name, kind in own.items() if kind != UNTYPED or name not in fields.kinds}  # null in all
    kept = {
        name
        for name, kind in fields.kinds.items()
        if _is_single(kind) and name not in own and name not in gone and _goes(name, core, _OF_ENTRY)
    }
    of_segment = {name: kind for name, kind in own.items() if _is_single(kind) and _goes(name, core, _OF_SEGMENT)}
    removed = fields.removed.union(gone, fields.kinds.keys() - kept) - core.keys() - of_segment.keys()
    return Fields(
        types={**core, **{name: kind for name, kind in fields.types.items() if name in kept}},
        open=fields.open,
        removed=removed if fields.open else frozenset(),
        unknown=fields.unknown,
        unsaid=fields.unsaid,
        seen={**{name: kind for name, kind in fields.seen.items() if name in kept}, **of_segment},
    )


def _goes(name: str, core: Container[str], held: tuple[str, ...]) -> bool:
    return not (name in core or name in held or name.endswith("path") or name == "file")


def _is_single(kind: str) -> bool:
    """Tell whether a field of a type may go along: one of an unknown type may."""
    return kind in SCALARS or kind == UNTYPED
