"""What a training pair for voice cloning is, and how a speaker's pairs are drawn."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.stages.field_types import plain_type, type_of_arrow
from curator_audio.stages.io.extra_column import with_extra
from curator_audio.stages.speech.parquet_columns import SegmentColumns
from curator_audio.stages.speech.segments import METADATA_FIELDS, SEGMENT_TYPES
from curator_audio.tasks import Record

SIDE_FIELDS = ("segment_id", "text", "codes", "duration_sec")
"""What a pair has of its reference and of its target, each as ``reference_…`` and ``target_…``."""

SHARED_FIELDS = (*METADATA_FIELDS, "channel")
"""What a pair has once: the speaker, and what else its target says."""

SIDES = ("reference", "target")

PAIR_TYPES: Mapping[str, str] = {
    **{name: SEGMENT_TYPES[name] for name in SHARED_FIELDS},
    **{f"{side}_{name}": SEGMENT_TYPES[name] for side in SIDES for name in SIDE_FIELDS},
}
"""The types of the fields of a pair's record."""

PAIR_FIELDS = tuple(PAIR_TYPES)
"""The fields of a pair's record, in order; further ones of both segments may stand behind them."""


def further_types(schema: Any, columns: SegmentColumns) -> dict[str, str]:
    """Return the types of the columns of a shard that pairs have beside the fields of segments: those without bytes.

    Args:
        schema: of the shard, a ``pyarrow.Schema``.
        columns: which of them are fields of segments.

    Example:
        >>> import pyarrow
        >>> schema = pyarrow.schema({"text": pyarrow.string(), "snr": pyarrow.float64(), "take": pyarrow.binary()})
        >>> further_types(schema, SegmentColumns(schema, {}))
        {'snr': 'float'}
    """
    further = _further(schema, columns)
    return {column.name: type_of_arrow(column.type) for column in further if not _holds_bytes(column.type)}


def left_out(schema: Any, columns: SegmentColumns) -> list[str]:
    """Return the columns that pairs do not have because they hold bytes, the sound of the segments apart."""
    return [column.name for column in _further(schema, columns) if _holds_bytes(column.type)]


def _further(schema: Any, columns: SegmentColumns) -> list[Any]:
    known = {*columns.sources.of.values(), *SEGMENT_TYPES}
    return [column for column in schema if column.name not in known]


def _holds_bytes(kind: Any) -> bool:
    """Tell whether values of an Arrow type are or contain bytes."""
    from pyarrow import types

    kind = plain_type(kind)
    if types.is_struct(kind):
        return any(_holds_bytes(part.type) for part in kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _holds_bytes(kind.value_type)
    return any(is_kind(kind) for is_kind in (types.is_binary, types.is_large_binary, types.is_binary_view))


def merged(row: Record) -> Record:
    """Further fields of a row, those in ``extra`` among them; without nulls.

    Example:
        >>> merged({"snr": None, "licence": "CC0", "extra": '{"take": 2}'})
        {'licence': 'CC0', 'take': 2}
    """
    try:
        found = with_extra(row)
    except RecordError:  # it is too large to be taken apart
        found = row
    return {name: value for name, value in found.items() if value is not None}


def drawn_pairs(
    speaker_id: str, num_segments: int, references: Sequence[int], max_pairs: int, seed: int
) -> list[tuple[int, int]]:
    """Return some of a speaker's pairs of a reference and another segment, all equally likely, none twice, in order.

    What is drawn depends on nothing but the arguments: other speakers make no difference.

    Args:
        speaker_id: the speaker.
        num_segments: how many segments the speaker has.
        references: which of them may be references, by number.
        max_pairs: how many pairs to draw; all there are if they are no more.
        seed: of the draw.

    Returns:
        The numbers of reference and target of each pair.

    Example:
        >>> drawn_pairs("show/spk0", 3, references=[0, 2], max_pairs=3, seed=0)
        [(0, 2), (2, 0), (2, 1)]
    """
    others = num_segments - 1
    num_possible = len(references) * others
    generator = random.Random(f"{seed}/{speaker_id}")
    # Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987); random() alone is the same in every version of Python.
    chosen: set[int] = set()
    for last in range(max(0, num_possible - max_pairs), num_possible):
        drawn = min(last, int(generator.random() * (last + 1)))
        chosen.add(last if drawn in chosen else drawn)
    pairs = [(references[number // others], number % others) for number in sorted(chosen)]
    return [(reference, other + (other >= reference)) for reference, other in pairs]
