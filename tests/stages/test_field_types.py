"""Types of fields: what Arrow and values make of them, and that a column of a type gives back what fits."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.stages.field_types import (
    arrow_type,
    fits,
    is_type,
    members,
    type_of_arrow,
    type_of_values,
    types_seen,
)
from curator_audio.stages.fields import Fields
from curator_audio.storage.json_codec import VerbatimFloat


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("float", pa.float64()),
        ("float32", pa.float32()),
        ("int", pa.int64()),
        ("int32", pa.int32()),
        ("list<list<float>>", pa.list_(pa.list_(pa.float64()))),
        ("audio", pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        ("struct<a: int, b: list<string>>", pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())})),
        ("struct<a?: int>", None),
        ("list<object>", None),
        ("", None),
    ],
)
def test_names_and_arrow(name: str, expected: Any) -> None:
    assert is_type(name) and arrow_type(name) == expected
    if expected is not None:
        assert type_of_arrow(expected) == name


@pytest.mark.parametrize("name", ["strong", "list<code>", "list<int", "struct<a: strong>", "struct<a>", None, 7])
def test_names_that_are_none(name: Any) -> None:
    assert not is_type(name)


def test_objects_that_differ_are_told_by_member() -> None:
    segments = [
        [{"start": 0, "end": 1.5, "words": [{}]}],
        [{"start": 0.5, "end": 2, "snr": 9, "note": None}],
    ]
    assert members(type_of_values(segments)) == {
        "start": "float",
        "end": "float",
        "words": "object",
        "snr": "int",
        "note": "",
    }
    assert type_of_values([{"a<b": 1}]) == "object", "no name of a type could hold it"
    assert types_seen([{"a": None}, {"b": 1}, {"a": "x", "b": "y"}]) == {"a": "string", "b": "int"}


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=2)
    | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(values, max_size=4), values)
@settings(max_examples=150, deadline=None)
def test_what_fits_comes_back_as_it_was(sample: list[Any], value: Any) -> None:
    kind = type_of_values(sample)
    assert is_type(kind)
    if arrow_type(kind) is None or not fits([value], kind):
        return
    try:
        (back,) = pa.array([value], arrow_type(kind)).to_pylist()
    except (pa.ArrowException, OverflowError):
        return  # a number beyond the column's range
    assert (back == value and type(back) is type(value)) or isinstance(value, (int, list, dict))
    assert back == value


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "int"),
        (1, "bool"),
        (b"a", "string"),
        (VerbatimFloat("0.12345678901234567890"), "float"),
        ({"a": 1}, "struct<a: int, b: int>"),
        ([True], "list<int>"),
        ({"bytes": b"", "path": "", "rate": 1}, "audio"),
        ({"bytes": "a", "path": ""}, "audio"),
        (0.1, "float32"),
        ([0.5, 1e300], "list<float32>"),
        (2**24 + 1, "float32"),
        (2**2000, "float32"),
    ],
)
def test_what_arrow_would_take_and_change_does_not_fit(value: Any, kind: str) -> None:
    assert not fits([value], kind) and fits([None], kind)


def test_what_32_bits_hold_fits_them() -> None:
    assert fits([0.5, None, float("nan"), float("-inf"), 3], "float32") and fits([0.1], "float32", may_round=True)
    (from_a_file,) = pa.array([0.1], pa.float32()).to_pylist()
    assert fits([[from_a_file]], "list<float32>")


def test_an_object_is_sound_by_what_is_in_it() -> None:
    sizes = pa.struct({"bytes": pa.int64(), "path": pa.string()})
    assert type_of_arrow(sizes) == "struct<bytes: int, path: string>"
    assert type_of_values([{"bytes": b"", "path": 7}]) == "struct<bytes: binary, path: int>"


def test_a_member_whose_name_a_type_could_not_give_back() -> None:
    """Blanks at its end would be lost."""
    assert type_of_arrow(pa.struct({"a ": pa.int64(), "b": pa.int64()})) == "object"
    assert type_of_values([{"a b": 1}]) == "struct<a b: int>"


def test_infinity_fits_as_it_is_null_everywhere() -> None:
    assert fits([VerbatimFloat("NaN"), VerbatimFloat("-Infinity")], "float")


def test_fields_keep_their_types_through_a_pipeline() -> None:
    start = Fields.any().seeing(Fields({"text": "string", "snr": "int", "score": "float"}, open=True))
    fields = start.plus(["snr"]).plus({"score": "float32"}).renamed({"text": "words"})
    assert fields.kinds == {"snr": "int", "words": "string", "score": "float32"}
    assert "text" not in fields and "other" in fields
    assert fields.only(["words", "other"]).kinds == {"words": "string", "other": ""}
    assert not fields.only(["words"]).open
