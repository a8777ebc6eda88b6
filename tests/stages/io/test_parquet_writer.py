"""Writing records of any kind as Parquet: columns that are declared, and columns that are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError
from curator_audio.stages.io import ParquetWriterStage
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Part, Record


def write(folder: Path, *records: Record, **parameters: Any) -> tuple[list[Part], ParquetWriterStage]:
    writer = ParquetWriterStage(str(folder), **parameters)
    return writer.write(Storage(), f"{folder}/a.parquet", [AudioBatch(list(records))] if records else []), writer


def test_columns_are_those_of_the_records_in_the_order_they_appear(tmp_path: Path) -> None:
    records = [
        {"text": "naïve", "score": 1, "speaker": None},
        {"text": "שלום", "score": 0.5, "codes": [1, 2], "speaker": None, "place": {"city": "Oslo"}},
    ]
    write(tmp_path, *records)
    table = pq.read_table(tmp_path / "a.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("text", "string"),
        ("score", "double"),
        ("codes", "list<element: int64>"),
        ("place", "struct<city: string>"),
        ("extra", "string"),
    ]
    assert table.to_pylist() == [
        {"text": "naïve", "score": 1.0, "codes": None, "place": None, "extra": None},
        {"text": "שלום", "score": 0.5, "codes": [1, 2], "place": {"city": "Oslo"}, "extra": None},
    ]


def test_where_values_are_of_several_types_the_first_decides_and_others_are_extra(tmp_path: Path) -> None:
    _, writer = write(tmp_path, {"id": None}, {"id": 7}, {"id": "seven"}, {"id": 7.5}, {"id": True}, {"id": 2**70})
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [(row["id"], row["extra"]) for row in rows] == [
        (None, None),
        (7, None),
        (None, '{"id":"seven"}'),
        (7.5, None),
        (None, '{"id":true}'),
        (None, '{"id":1180591620717411303424}'),
    ]
    assert writer.observed.quarantined == [] and writer.observed.metrics == {"extra_id": 3}


def test_objects_of_another_shape_than_their_column_are_extra(tmp_path: Path) -> None:
    """Arrow would drop a key that the column has not, and add one that it has."""
    write(tmp_path, {"place": {"city": "Oslo"}}, *({"n": 0} for _ in range(3)), {"place": {"city": "Rome"}})
    assert pq.read_schema(tmp_path / "a.parquet").names == ["place", "n", "extra"]
    write(tmp_path, {"place": {"city": "Oslo"}}, {"place": {"city": "Rome", "lat": 41.9}}, {"place": {}})
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert rows == [
        {"extra": '{"place":{"city":"Oslo"}}'},
        {"extra": '{"place":{"city":"Rome","lat":41.9}}'},
        {"extra": '{"place":{}}'},
    ]


def test_declared_columns(tmp_path: Path) -> None:
    write(
        tmp_path, {"codes": [1, 2], "text": "so be it", "other": 1}, columns={"text": "string", "codes": "list<int32>"}
    )
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.names == ["text", "codes"] and table.schema.field("codes").type == pa.list_(
        pa.field("element", pa.int32())
    )
    assert table.to_pylist() == [{"text": "so be it", "codes": [1, 2]}]


def test_a_shard_of_no_rows_where_it_is_asked_for(tmp_path: Path) -> None:
    (part,), _ = write(tmp_path, columns={"text": "string"}, empty_shards=True)
    assert part.num_records == 0
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.num_rows == 0 and table.schema.names == ["text"]


def test_else_none(tmp_path: Path) -> None:
    parts, _ = write(tmp_path, columns={"text": "string"})
    assert parts == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"columns": ["text"]}, r"columns is \['text'\]; give types by names, such as {text: string}, or null"),
        ({"columns": {"text": "strong"}}, "columns has text: 'strong'; give string, binary"),
        ({"columns": {"codes": "list<code>"}}, "columns has codes: 'code'; give string, binary"),
        (
            {"columns": {"extra": "int"}},
            "columns has extra: 'int'; it is the JSON of fields without a column, give strin",
        ),
        ({"empty_shards": True}, "empty_shards needs columns"),
        ({"empty_shards": "no", "columns": {"text": "string"}}, "empty_shards is 'no'; give true or false"),
    ],
)
def test_parameters_out_of_range(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ParquetWriterStage("out", **parameters)


def test_a_shard_of_no_rows_loads_with_others(tmp_path: Path) -> None:
    import datasets

    for name, records in (("a", []), ("b", [{"text": "so be it"}])):
        writer = ParquetWriterStage(str(tmp_path), columns={"text": "string"}, empty_shards=True)
        writer.write(Storage(), f"{tmp_path}/{name}.parquet", [AudioBatch(records)])
    for is_streaming in (False, True):
        loaded = datasets.load_dataset(
            "parquet",
            data_files=[f"{tmp_path}/a.parquet", f"{tmp_path}/b.parquet"],
            split="train",
            streaming=is_streaming,
            cache_dir=str(tmp_path / "cache"),
        )
        assert [row["text"] for row in loaded] == ["so be it"]


def test_a_field_that_comes_later_is_extra(tmp_path: Path) -> None:
    late = {"text": "b", "late": decode_line(b"0.1234567890123456789012")}
    _, writer = write(tmp_path, {"text": "a" * 200}, late, {"text": "c"}, row_group_mb=1e-4)
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["extra"] for row in rows] == [None, '{"late":0.1234567890123456789012}', None]
    assert writer.observed.quarantined == [] and writer.observed.metrics == {"extra_late": 1}


def test_fields_in_extra_are_counted_by_their_whole_names(tmp_path: Path) -> None:
    one, other, long = "m" * 60 + "_a", "m" * 60 + "_b", "x" * 101
    _, writer = write(tmp_path, {"text": "a" * 200}, {one: 1, other: 2, long: 3}, row_group_mb=1e-4)
    assert writer.observed.metrics == {f"extra_{one}": 1, f"extra_{other}": 1, "extra_others": 1}


def test_what_no_value_tells_the_type_of_is_extra(tmp_path: Path) -> None:
    record = {"none": None, "codes": [], "meta": {}, "place": {"city": None, "more": {}}, "n": 1}
    write(tmp_path, record)
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.names == ["n", "extra"]
    (row,) = table.to_pylist()
    assert json.loads(row["extra"]) == {"codes": [], "meta": {}, "place": {"city": None, "more": {}}}


def test_a_field_called_extra_stands_in_the_column_of_that_name(tmp_path: Path) -> None:
    write(tmp_path, {"text": "a", "extra": "salt"})
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [{"text": "a", "extra": '{"extra":"salt"}'}]


def test_bytes_that_nobody_declared_have_no_place(tmp_path: Path) -> None:
    bad = {"text": "a", "sound": {"bytes": b"fLaC"}}
    _, writer = write(tmp_path, {"text": "b" * 200}, bad, row_group_mb=1e-4)
    (aside,) = writer.observed.quarantined
    assert aside.record is bad and aside.message == (
        "'sound' has no column of its own, and a value of type bytes has no JSON form; "
        "give it a type in outputs() of the stage that adds it, such as binary or audio"
    )
    assert pq.read_table(tmp_path / "a.parquet").column("extra").to_pylist() == [None]


def test_texts_and_numbers_in_extra_are_repaired_as_elsewhere(tmp_path: Path) -> None:
    odd = {"text": "a", "late": ["\ud83d", float("nan")], "l\udce9": 1}
    _, writer = write(tmp_path, {"text": "a" * 200}, odd, row_group_mb=1e-4)
    (_, row) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert json.loads(row["extra"]) == {"late": ["\ufffd", None], "l\ufffd": 1}
    assert writer.observed.metrics["texts_repaired"] == 2


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["text", "n", "extra", "ü"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
            | st.lists(st.integers(-3, 3), max_size=3)
            | st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
            max_size=4,
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=60)
def test_nothing_is_lost_and_nothing_changes(records: list[Record]) -> None:
    writer = ParquetWriterStage("memory://open")
    Storage().delete(["memory://open/a.parquet"])
    writer.write(Storage(), "memory://open/a.parquet", [AudioBatch(records)])
    assert writer.observed.quarantined == []
    rows = pq.read_table(pa.BufferReader(Storage().read("memory://open/a.parquet"))).to_pylist()
    extras = [json.loads(row.pop("extra", None) or "{}") for row in rows]
    assert [without_nulls(row) | extra for row, extra in zip(rows, extras)] == [
        without_nulls(record) for record in records
    ]


def without_nulls(record: Record) -> Record:
    return {name: value for name, value in record.items() if value is not None}


@pytest.mark.parametrize(
    ("kind", "values", "kept"),
    [
        ("int32", [1, "3", True, 2.0, 2.5, None, 4], [1, 2, None, 4]),
        ("int32", ["3", "4"], []),
        ("list<int32>", [[1], ["3"], [True], [2.0, 3], [], None], [[1], [2, 3], [], None]),
        ("float64", [1, 0.5, "x"], [1.0, 0.5]),
    ],
)
def test_records_fit_alone_as_they_do_together(kind: str, values: list[Any], kept: list[Any], tmp_path: Path) -> None:
    _, writer = write(tmp_path, *({"value": value} for value in values), columns={"value": kind})
    there = (tmp_path / "a.parquet").exists()
    assert ([row["value"] for row in pq.read_table(tmp_path / "a.parquet").to_pylist()] if there else []) == kept
    assert len(writer.observed.quarantined) == len(values) - len(kept)
