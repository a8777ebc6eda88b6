"""What a declared column takes: what Arrow would cut, or make something else of, it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curator_audio.stages.field_types import arrow_type
from curator_audio.stages.io.columns import Columns
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.io.typed_rows import TypedRows
from curator_audio.stages.speech.segments import SEGMENT_TYPES


def written(kind: str, *values: Any) -> tuple[list[Any], list[str], dict[str, float]]:
    """Return the values that a declared column has, why others were set aside, and what was counted."""
    writer = ParquetShardWriterStage("memory://taken")
    columns = Columns({"x": kind}, frozenset("x"))
    table = TypedRows(columns.schema(), columns, writer).table([({"x": v}, "in", n) for n, v in enumerate(values)])
    return (
        table.column("x").to_pylist(),
        [aside.reason for aside in writer.observed.quarantined],
        writer.observed.metrics,
    )


@pytest.mark.parametrize(
    ("kind", "bad", "good"),
    [
        ("struct<a: int>", {"a": 1.5}, {"a": 1}),
        ("struct<a: int>", {"a": 1, "b": 2}, {"a": 1}),
        ("struct<a: int>", [("a", 1)], {"a": None}),
        ("list<struct<a: int>>", [{"a": 1, "z": 3}], [{"a": 1}]),
        ("list<list<int>>", [[1.5]], [[1, 2]]),
        ("list<list<int>>", [[True]], [[]]),
        ("list<string>", "abc", ["a", "bc"]),
        ("list<string>", {"a"}, [None]),
        ("string", b"abc", "abc"),
        ("binary", "abc", b"abc"),
        ("float", True, 1.5),
        ("list<float>", [0.5, True], [0.5]),
        ("float32", 1e300, 0.5),
        ("list<float32>", [0.5, -1e39], [0.5, -2.0]),
        ("audio", {"bytes": b"a", "path": None, "rate": 8000}, {"bytes": b"a", "path": None}),
        ("audio", {"bytes": "a", "path": None}, {"bytes": None, "path": "a"}),
    ],
)
def test_what_would_be_cut_is_set_aside_alone(kind: str, bad: Any, good: Any) -> None:
    assert written(kind, good, bad, None) == ([good, None], ["wrong_type"], {})


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int32", 3.0, 3),
        ("list<list<int>>", [[3.0]], [[3]]),
        ("float", 3, 3.0),
        ("float32", 0.1, float(np.float32(0.1))),
        ("float", np.float32(0.5), 0.5),
        ("int", np.int16(7), 7),
        ("bool", np.bool_(True), True),
        ("string", np.str_("a"), "a"),
        ("list<int32>", np.arange(3), [0, 1, 2]),
        ("list<float32>", np.array([0.5, 1]), [0.5, 1.0]),
        ("list<float>", (1, 0.5), [1.0, 0.5]),
        ("struct<a: int, b: string>", {"a": 1}, {"a": 1, "b": None}),
        ("struct<a: int>", {"a": 1, "b": None}, {"a": 1}),
    ],
)
def test_what_a_column_can_hold_is_taken(kind: str, value: Any, expected: Any) -> None:
    assert written(kind, value) == ([expected], [], {})


def test_infinity_is_null_and_counted_and_what_is_too_large_is_not() -> None:
    values = [float("inf"), 1e300, [0.5]]
    assert written("float32", *values[:2]) == ([None], ["wrong_type"], {"numbers_not_finite": 1})
    assert written("list<float32>", [np.float32("nan"), 1.0], *values[1:]) == (
        [[None, 1.0], [0.5]],
        ["wrong_type"],
        {"numbers_not_finite": 1},
    )


def test_the_columns_of_segments_are_declared() -> None:
    writer = ParquetShardWriterStage("memory://taken")
    columns = Columns(SEGMENT_TYPES, frozenset(SEGMENT_TYPES))
    rows = TypedRows(pa.schema([(n, arrow_type(kind)) for n, kind in SEGMENT_TYPES.items()]), columns, writer)
    odd = [{"text": b"a"}, {"start": True}, {"codes": [1.5]}, {"audio": {"bytes": "a"}}, {"text": "a", "start": 1}]
    table = rows.table([(record, "in", n) for n, record in enumerate(odd)])
    assert [(row["text"], row["start"]) for row in table.to_pylist()] == [("a", 1.0)]
    assert [aside.offset for aside in writer.observed.quarantined] == [0, 1, 2, 3]
