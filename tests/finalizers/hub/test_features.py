"""The columns of Parquet files in the words of a card, as ``datasets`` reads and writes them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from curator_audio.finalizers.hub.features import features_of
from curator_audio.stages.speech.schema import segment_schema
from tests.extras import needs


@pytest.fixture(scope="module")
def datasets() -> Any:
    return needs("datasets")


SCHEMAS = {
    "plain": pa.schema({"text": pa.string(), "n": pa.int32(), "x": pa.float64(), "y": pa.float32(), "b": pa.bool_()}),
    "lists": pa.schema(
        {
            "codes": pa.list_(pa.int32()),
            "nested": pa.list_(pa.list_(pa.int64())),
            "large": pa.large_list(pa.string()),
            "fixed": pa.list_(pa.float32(), 4),
        }
    ),
    "structs": pa.schema(
        {
            "segment": pa.struct({"start": pa.float64(), "words": pa.list_(pa.string())}),
            "segments": pa.list_(pa.struct({"text": pa.string(), "end": pa.float64()})),
        }
    ),
    "times": pa.schema(
        {"at": pa.timestamp("us", tz="UTC"), "on": pa.date32(), "raw": pa.binary(), "l": pa.large_string()}
    ),
}


def of_one(schema: Any) -> list[dict[str, Any]] | None:
    return features_of({"a.parquet": schema})


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas(name: str, datasets: Any) -> None:
    features = datasets.Features.from_arrow_schema(SCHEMAS[name])
    found = of_one(SCHEMAS[name])
    assert found == features._to_yaml_list()
    assert datasets.Features._from_yaml_list(found) == features


def test_segments_have_sound(datasets: Any) -> None:
    found = of_one(segment_schema())
    features = datasets.Features._from_yaml_list(found)
    assert features["audio"] == datasets.Audio()
    assert features["codes"] == datasets.List(datasets.Value("int32"))
    assert features == datasets.Features.from_arrow_schema(segment_schema())


def test_what_datasets_wrote_itself(datasets: Any) -> None:
    features = datasets.Features(
        {
            "audio": datasets.Audio(sampling_rate=16000),
            "kind": datasets.ClassLabel(names=["news", "talk"]),
            "clips": datasets.List(datasets.Audio()),
            "matrix": datasets.Array2D(shape=(2, 3), dtype="float32"),
        }
    )
    found = of_one(features.arrow_schema)
    assert datasets.Features._from_yaml_list(found) == features


def test_metadata_of_other_columns_is_not_used() -> None:
    schema = segment_schema(("text", "codes"))
    assert of_one(pa.schema({"text": pa.string()}, metadata=schema.metadata)) == [{"name": "text", "dtype": "string"}]


@pytest.mark.parametrize("metadata", [{b"huggingface": b"no JSON"}, {b"huggingface": b"{}"}, {b"huggingface": b"[1]"}])
def test_broken_metadata_is_passed_over(metadata: dict[bytes, bytes]) -> None:
    assert of_one(pa.schema({"n": pa.int8()}, metadata=metadata)) == [{"name": "n", "dtype": "int8"}]


def test_a_column_without_a_name_for_its_type() -> None:
    assert of_one(pa.schema({"a": pa.map_(pa.string(), pa.int8())})) is None


def test_a_dataset_has_every_column_of_its_files(warned: list[str]) -> None:
    files = {
        "a.parquet": pa.schema({"text": pa.string(), "n": pa.int32()}),
        "b.parquet": pa.schema({"n": pa.int32(), "language": pa.string()}),
    }
    assert [feature["name"] for feature in features_of(files) or []] == ["text", "n", "language"]
    assert warned == []


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((pa.null(), pa.string()), {"dtype": "string"}),
        ((pa.string(), pa.null()), {"dtype": "string"}),
        ((pa.list_(pa.null()), pa.list_(pa.int32())), {"list": "int32"}),
        ((pa.int32(), pa.int64(), pa.int8()), {"dtype": "int64"}),
        ((pa.int64(), pa.float64()), {"dtype": "float64"}),
        ((pa.struct({"x": pa.int8()}), pa.struct({"y": pa.int8()})), {"struct": [
            {"name": "x", "dtype": "int8"}, {"name": "y", "dtype": "int8"}]}),
    ],
)  # fmt: skip
def test_a_column_is_of_a_type_that_holds_those_of_all_files(
    kinds: tuple[Any, ...], expected: dict[str, Any], warned: list[str]
) -> None:
    assert features_of({f"{k}": pa.schema({"n": kind}) for k, kind in enumerate(kinds)}) == [{"name": "n", **expected}]
    assert warned == []


@pytest.mark.parametrize("told_by", [0, 1])
def test_audio_is_audio_if_one_of_the_files_tells(told_by: int) -> None:
    schemas = [segment_schema(), segment_schema()]
    schemas[1 - told_by] = schemas[1 - told_by].remove_metadata()
    assert features_of({str(k): schema for k, schema in enumerate(schemas)}) == of_one(segment_schema())


def test_a_column_of_types_that_do_not_go_together_is_warned_of(warned: list[str]) -> None:
    kinds = [pa.int8(), pa.list_(pa.int8()), pa.int8()]
    assert features_of({f"{k}.parquet": pa.schema({"n": kind}) for k, kind in enumerate(kinds)}) == [
        {"name": "n", "dtype": "int8"}
    ]
    assert warned == [
        "1 file(s) have a column of a type of its own, such as 1.parquet: 'n' is list<item: int8> there, and int8 in "
        "0.parquet; load_dataset fails on what it cannot convert"
    ]


def test_a_type_without_a_name_is_warned_of_where_it_matters(warned: list[str]) -> None:
    text, odd = pa.schema({"text": pa.string()}), pa.schema({"text": pa.string(), "d": pa.decimal128(5, 2)})
    assert features_of({"a": odd, "b": odd}) is None and warned == []
    assert features_of({"a": text, "b": odd}) is None
    assert warned == [
        "the card names no columns, as it has no name for the type of 'd', decimal128(5, 2); load_dataset takes those "
        "of the first file, and fails on one that has others"
    ]


def test_without_files_there_are_no_columns() -> None:
    assert features_of({}) is None
