"""Writing records of any kind as Parquet: columns that are declared, and columns that are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.stages.io import ParquetWriterStage
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
        ("speaker", "string"),
        ("codes", "list<element: int64>"),
        ("place", "struct<city: string>"),
    ]
    assert table.to_pylist() == [{**dict.fromkeys(("codes", "place")), **records[0]}, records[1]]


def test_where_values_are_of_several_types_the_first_decides(tmp_path: Path) -> None:
    _, writer = write(tmp_path, {"id": None}, {"id": 7}, {"id": "seven"})
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [{"id": None}, {"id": 7}]
    assert [bad.record for bad in writer.observed.quarantined] == [{"id": "seven"}]


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


def test_a_field_that_comes_later_is_not_lost_in_silence(tmp_path: Path) -> None:
    late = {"text": "b", "late": 1}
    _, writer = write(tmp_path, {"text": "a" * 200}, late, {"text": "c"}, row_group_mb=1e-4)
    assert [row["text"][0] for row in pq.read_table(tmp_path / "a.parquet").to_pylist()] == ["a", "c"]
    (bad,) = writer.observed.quarantined
    assert (bad.reason, bad.record) == ("unknown_field", late)
    assert bad.message == "'late' is in none of the first records of the shard; declare the columns"


def test_what_no_value_tells_the_type_of(tmp_path: Path) -> None:
    record = {"none": None, "codes": [], "meta": {}, "place": {"city": None, "more": {}}, "n": 1}
    write(tmp_path, record)
    table = pq.read_table(tmp_path / "a.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "none": "string",
        "codes": "list<element: string>",
        "place": "struct<city: string>",
        "n": "int64",
    }


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
