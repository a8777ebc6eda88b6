"""Fields that segments do not have: from container to container, they stay what they are."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.fields import Fields
from curator_audio.stages.io.extra_column import with_extra
from curator_audio.stages.speech import (
    Mp3WriterStage,
    NpzReaderStage,
    NpzWriterStage,
    SegmentParquetReaderStage,
    WebDatasetReaderStage,
    WebDatasetWriterStage,
)
from curator_audio.stages.speech.npz import npz_of_record, record_of_npz, with_codes
from curator_audio.stages.speech.segment_tree_reader import SegmentTreeReaderStage
from curator_audio.stages.speech.segments import SEGMENT_TYPES
from curator_audio.stages.writer import WriterStage
from curator_audio.storage import limits
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.segments import RATE, npz, segment, tone

FURTHER: dict[str, Any] = {
    "loudness_db": 1.5,
    "license": "cc-by — naïve",
    "codes_of_others": [[1, 2], [], [3]],
    "meta": {"deep": {"er": [None, True, "x"]}},
    "nothing": None,
    "is_clean": False,
    "big": 10**69,
    "": "no name",
    "metadata": {"of": "theirs"},
    "emotion": "calm",
    "offset": 7,
    "extra": "a text",
}


def written(writer: WriterStage[AudioBatch], *records: Record) -> list[Any]:
    parts = writer.write(Storage(), f"{writer.output_path}/0{writer.suffix}", [AudioBatch(list(records), "elsewhere")])
    assert not writer.observed.quarantined
    return parts


def read(reader: SegmentTreeReaderStage) -> list[Record]:
    batches = (batch for partition in reader.partitions() for batch in reader.process(partition))
    records = [record for batch in batches for record in batch.records]
    assert not reader.observed.quarantined
    return records


def further(record: Record) -> Record:
    return {name: record[name] for name in FURTHER}


def parquet(path: Path, **columns: Any) -> str:
    """A shard of segments with these columns beside ``text``, as another tool or a later version writes it."""
    path.mkdir(exist_ok=True, parents=True)
    rows = len(next(iter(columns.values())))
    pq.write_table(pa.table({"text": ["so be it"] * rows} | columns), path / "0.parquet")
    return str(path)


# From one to the other ---------------------------------------------------------------------------------------


def test_they_survive_all_containers(tmp_path: Path) -> None:
    sound = segment()["audio"]
    first = parquet(
        tmp_path / "0", audio=[sound], extra=[json.dumps(FURTHER)], channel=["news"], start=[1.5], end=[2.0]
    )
    (record,) = read(SegmentParquetReaderStage(first))
    assert further(record) == FURTHER

    chain: list[tuple[Callable[[str], WriterStage[AudioBatch]], Callable[[str], SegmentTreeReaderStage]]] = [
        (NpzWriterStage, NpzReaderStage),
        (WebDatasetWriterStage, WebDatasetReaderStage),
        (NpzWriterStage, NpzReaderStage),
    ]
    for step, (writer, reader) in enumerate(chain, 1):
        written(writer(f"{tmp_path}/{step}"), record)
        (record,) = read(reader(f"{tmp_path}/{step}"))
        assert further(record) == FURTHER
        assert {type(record[name]) for name in ("loudness_db", "is_clean", "big", "meta")} == {float, bool, int, dict}
        assert (record["start"], record["end"], record["tone"], record["text"]) == (1.5, 2.0, None, "so be it")
    values = {name: value for name, value in record.items() if name not in ("audio", "text")}
    of_extra = {name: value for name, value in values.items() if name in FURTHER}
    columns = {name: [value] for name, value in values.items() if name not in FURTHER and value is not None}
    last = parquet(tmp_path / "9", **columns, extra=[json.dumps(of_extra)])
    (again,) = read(SegmentParquetReaderStage(last))
    assert again == record | {"audio": None}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.text(min_size=1, max_size=8).filter(lambda name: name not in segment())


@settings(max_examples=30)
@given(st.dictionaries(names, json_values, max_size=4))
@example({"sr": [None], "emotion": ["calm"], "speaker": float("1e300"), "0": {}})
def test_any_json_survives_npz_and_tar(values: Record) -> None:
    for writer, reader in ((NpzWriterStage, NpzReaderStage), (WebDatasetWriterStage, WebDatasetReaderStage)):
        Storage().delete([file.path for file in Storage().list_files("memory://further")])
        record = segment(duration_sec=0.01) | values
        written(writer("memory://further"), record)
        (again,) = read(reader("memory://further"))
        assert {name: again[name] for name in values} == values


def test_what_numpy_has_is_what_python_has(tmp_path: Path) -> None:
    values = {"snr": np.float32(9.5), "count": np.int64(3), "ok": np.bool_(True), "vector": np.arange(3), "nan": np.nan}
    expected = {"snr": 9.5, "count": 3, "ok": True, "vector": [0, 1, 2], "nan": None}
    for writer, reader in ((NpzWriterStage, NpzReaderStage), (WebDatasetWriterStage, WebDatasetReaderStage)):
        stage = writer(f"{tmp_path}/{writer.__name__}")
        written(stage, segment() | values)
        assert stage.observed.metrics["numbers_not_finite"] == 1
        (record,) = read(reader(stage.output_path))
        assert {name: record[name] for name in values} == expected


@pytest.mark.parametrize("writer", [NpzWriterStage, WebDatasetWriterStage])
@pytest.mark.parametrize(
    "value", [b"bytes", {"bytes": b"fLaC", "path": "a.flac"}, {1, 2}, datetime(2026, 1, 2), {1: 2}]
)
def test_a_value_without_a_json_form_is_set_aside_alone(writer: Any, value: Any, tmp_path: Path) -> None:
    stage = writer(str(tmp_path))
    records = [segment("a_seg_0", mine=value), segment("a_seg_1")]
    stage.write(Storage(), f"{tmp_path}/0.tar", [AudioBatch(records, "elsewhere")])
    (aside,) = stage.observed.quarantined
    assert (aside.reason, aside.record) == ("not_serializable", records[0])
    assert aside.message.startswith("'mine': a ")


@pytest.mark.parametrize("writer", [NpzWriterStage, WebDatasetWriterStage, Mp3WriterStage])
def test_bytes_that_a_container_cannot_hold_are_an_error_before_the_run(writer: Any, tmp_path: Path) -> None:
    kinds = {**SEGMENT_TYPES, "snr": "float", "raw": "binary", "near": "audio", "pages": "list<struct<png: binary>>"}
    assert writer(str(tmp_path)).lost(Fields(seen=kinds)) == ["raw", "near", "pages"]
    assert writer(str(tmp_path)).lost(Fields.of({".npy": "binary"})) == (
        [] if writer is WebDatasetWriterStage else [".npy"]
    )
    folder = parquet(tmp_path / "in", raw=[b"\xff"])
    with pytest.raises(ConfigurationError, match="would lose the field 'raw', which 'parquet_reader' reads"):
        Pipeline("p", [SegmentParquetReaderStage(folder), writer(f"{tmp_path}/out")]).run(LocalExecutor())


def test_views_are_texts_and_bytes_as_any_others(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", minversion="16")
    views = {"raw": pa.array([b"\xff"], pa.binary_view()), "speaker": pa.array(["ann"], pa.string_view())}
    reader = SegmentParquetReaderStage(parquet(tmp_path, **views))
    (record,) = read(reader)
    assert (record["raw"], record["speaker_id"]) == (b"\xff", "ann")
    assert reader.sampled_fields().types["raw"] == "binary"


# Parquet -----------------------------------------------------------------------------------------------------


def test_values_of_all_types_come_as_python_has_them(tmp_path: Path) -> None:
    columns = {
        "day": [date(2026, 1, 2)],
        "price": [Decimal("12.50")],
        "times": pa.array([[datetime(2026, 1, 2, 3, 4)]], pa.list_(pa.timestamp("s"))),
        "pairs": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
        "kind": pa.array(["x"]).dictionary_encode(),
        "small": pa.array([1.5], pa.float16()),
        "id8": pa.array([b"12345678"], pa.binary(8)),
        "other_sound": [{"bytes": b"fLaC", "path": None}],
        "score": pa.array([0.5], pa.float32()),
        "count": pa.array([3], pa.int16()),
        "null": pa.array([None], pa.null()),
        "json": [{"dnsmos": 3.5, "count": "of the json"}],
    }
    reader = SegmentParquetReaderStage(parquet(tmp_path, **columns))
    (record,) = read(reader)
    expected = {
        "day": ("2026-01-02", "string"),
        "price": ("12.50", "string"),
        "times": (["2026-01-02 03:04:00.000"], "list<string>"),
        "pairs": ([{"key": "a", "value": 1}], "list<struct<key: string, value: int32>>"),
        "kind": ("x", "string"),
        "small": (1.5, "float32"),
        "id8": (b"12345678", "binary"),
        "other_sound": ({"bytes": b"fLaC", "path": None}, "audio"),
        "score": (0.5, "float32"),
        "count": (3, "int32"),
        "null": (None, ""),
        "dnsmos": (3.5, "float"),
        "json.count": ("of the json", "string"),
    }
    fields = reader.sampled_fields()
    assert {name: (record[name], fields.types[name]) for name in expected} == expected
    assert not fields.open, "all there is stands in the columns"


def test_extra_goes_into_the_record(tmp_path: Path) -> None:
    """A column with a value wins; where it is null, the value may be one that did not fit it."""
    extra = ['{"snr": "high", "later": [1], "gender": "f"}', None, '{"snr": 2}', "no JSON", "{broken"]
    folder = parquet(tmp_path, snr=[None, 1.5, 1.0, None, None], extra=extra)
    reader = SegmentParquetReaderStage(folder)
    records = read(reader)
    assert [record["snr"] for record in records] == ["high", 1.5, 1.0, None, None]
    assert [record.get("extra") for record in records] == [None, None, None, "no JSON", "{broken"]
    assert (records[0]["later"], records[0]["gender"], "later" in records[1]) == ([1], "f", False)
    assert reader.sampled_fields().open and "extra" not in reader.sampled_fields().types

    (record, *_) = read(SegmentParquetReaderStage(folder, columns=["text", "snr", "later"]))
    assert (record["snr"], record["later"], record["gender"]) == ("high", [1], None)

    reader = SegmentParquetReaderStage(folder, columns=["text", "extra"])
    (record, *_) = read(reader)
    assert (record["later"], record["gender"], "snr" in record) == ([1], "f", False), "snr has a column of its own"
    assert reader.sampled_fields().open


def test_a_column_called_extra_that_is_no_text_is_one_as_any_other(tmp_path: Path) -> None:
    reader = SegmentParquetReaderStage(parquet(tmp_path, extra=[{"a": 1}]))
    assert read(reader)[0]["extra"] == {"a": 1}
    assert not reader.sampled_fields().open


def test_an_extra_that_is_too_large_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_audio.stages.io.extra_column.MAX_JSON_BYTES", 100)
    with pytest.raises(RecordError, match="too_large: its 'extra' has 110 bytes, more than 100"):
        with_extra({"extra": json.dumps({"a": "x" * 101})})


def test_columns_of_one_name_are_told(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array([2])], ["text", "snr", "snr"])
    pq.write_table(table, tmp_path / "0.parquet")
    reader = SegmentParquetReaderStage(str(tmp_path))
    assert read(reader)[0]["snr"] == 1
    assert reader.observed.metrics["not_taken_snr"] == 1


def test_fields_of_many_shards_are_open(tmp_path: Path) -> None:
    for number in range(SegmentParquetReaderStage.looked_at + 1):
        pq.write_table(pa.table({"text": ["a"], f"field_{number}": [number]}), tmp_path / f"{number:02d}.parquet")
    fields = SegmentParquetReaderStage(str(tmp_path)).sampled_fields()
    assert fields.open and "field_0" in fields.types and "field_16" not in fields.types


# npz ---------------------------------------------------------------------------------------------------------


def metadata(data: bytes) -> Any:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        array = arrays["metadata"]
        assert array.shape == () and array.dtype.kind == "U"
        return json.loads(array.item())


def test_anybody_reads_the_metadata() -> None:
    record = segment(gender="female", codes=[1]) | {"loudness_db": 1.5, "big": 10**69}
    told = metadata(npz_of_record(record))
    assert told == {
        "dialect": None,
        "tone": None,
        "language": None,
        "start": 1.5,
        "end": 1.6,
        "sample_rate": RATE,
        "loudness_db": 1.5,
        "big": 10**69,
    }


def test_arrays_win_over_metadata_and_come_as_python_has_them() -> None:
    told = json.dumps({"snr": 1, "text": "of the JSON", "left": "alone", "start": 0.5})
    arrays = {"snr": np.float32(9.5), "vector": np.arange(4).reshape(2, 2), "tags": np.array(["a", "b"]), "raw": b"caf"}
    data = npz(metadata=np.array(told), flag=np.bool_(True), wide=np.longdouble(0.5), **arrays)
    record = record_of_npz(data, "a_seg_0", None, 8000).record
    assert {name: record[name] for name in (*arrays, "flag", "wide", "left", "text", "start")} == {
        "snr": 9.5,
        "vector": [[0, 1], [2, 3]],
        "tags": ["a", "b"],
        "raw": "caf",
        "flag": True,
        "wide": 0.5,
        "left": "alone",
        "text": "so be it",
        "start": 0.5,
    }
    assert "metadata" not in record


@pytest.mark.parametrize("value", ["recorded in 2019", "{broken", np.array(["a", "b"]), 7.5, "[1]"])
def test_metadata_of_others_is_a_field_as_any_other(value: Any, tmp_path: Path) -> None:
    (tmp_path / "a_seg_0.npz").write_bytes(npz(metadata=value))
    (record,) = read(NpzReaderStage(str(tmp_path)))
    assert record["metadata"] == (value.tolist() if isinstance(value, np.ndarray) else value)


def test_pickled_metadata_is_never_read_and_named(tmp_path: Path) -> None:
    (tmp_path / "a_seg_0.npz").write_bytes(npz(metadata=np.array({"a": 1}, object), when=np.datetime64("2026-01-02")))
    reader = NpzReaderStage(str(tmp_path))
    assert "metadata" not in read(reader)[0]
    assert reader.observed.metrics["not_taken_metadata"] == 1 and reader.observed.metrics["not_taken_when"] == 1
    what = "pickled objects, which are never read, or neither text nor numbers"
    assert reader.remarks() == [f"not taken from {tmp_path}: 'metadata', 'when', {what}"]


@pytest.mark.parametrize(
    ("arrays", "limit", "reason"),
    [
        ({"metadata": np.array(json.dumps({"a": "x" * 2000}))}, ("MAX_JSON_BYTES", 1000), "too_large"),
        ({"metadata": np.array(json.dumps({"a": "x" * 20_000}))}, ("MAX_UNPACKED_BYTES", 50_000), "too_large"),
        ({"vector": np.zeros(2000, np.int8)}, ("MAX_UNPACKED_BYTES", 50_000), "too_large"),
        ({"raw": np.bytes_(b"caf\xe9")}, ("MAX_JSON_BYTES", 1000), "invalid_utf8"),
    ],
)
def test_metadata_cannot_fill_the_memory(
    arrays: Any, limit: tuple[str, int], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = npz(**arrays)
    assert record_of_npz(npz(), "a", None, RATE).record["text"] == "so be it"
    assert getattr(limits, limit[0]) > limit[1]
    monkeypatch.setattr(f"curator_audio.stages.speech.npz.{limit[0]}", limit[1])
    with pytest.raises(RecordError) as raised:
        record_of_npz(data, "a", None, RATE)
    assert raised.value.reason == reason


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist() if name != "codes.npy"}


def test_codes_in_place_leave_metadata_and_arrays_as_they_are(tmp_path: Path) -> None:
    before = npz(snr=9.5, nan=np.nan, metadata=np.array('{ "mine":1, "start":0.5 }'))
    (tmp_path / "a_seg_0.npz").write_bytes(before)
    (record,) = read(NpzReaderStage(str(tmp_path)))
    writer = NpzWriterStage(str(tmp_path))
    writer.write(Storage(), "", [AudioBatch([record | {"codes": [5]}], str(tmp_path))])
    after = (tmp_path / "a_seg_0.npz").read_bytes()
    assert members(after) == members(before)
    assert record_of_npz(after, "a_seg_0", None, RATE).record["codes"] == [5]


def test_fields_that_a_stage_has_added_are_put_beside_the_codes(tmp_path: Path) -> None:
    before = npz(snr=9.5, when="2019", metadata=np.array('{"mine": 1}'))
    after = with_codes(before, [5], {"snr": 9.5, "when": "2020", "mine": 1, "loudness_db": 1.5})
    assert metadata(after) == {"mine": 1, "when": "2020", "loudness_db": 1.5}
    old, new = members(before), members(after)
    assert old.keys() - new.keys() == {"when.npy"}, "an array would go before"
    assert {name: new[name] for name in new if name != "metadata.npy"} == {
        name: old[name] for name in old if name not in ("when.npy", "metadata.npy")
    }
    record = record_of_npz(after, "a_seg_0", None, RATE).record
    assert [record[name] for name in ("snr", "when", "mine", "loudness_db")] == [9.5, "2020", 1, 1.5]

    others = with_codes(npz(metadata="a text"), [5], {"metadata": "a text", "loudness_db": math.pi})
    assert metadata(others) == {"metadata": "a text", "loudness_db": math.pi}


def in_place(folder: Path, changes: Record, gone: tuple[str, ...] = (), **reading: Any) -> NpzWriterStage:
    """Write the one segment of a folder into its place, with other fields."""
    reader, writer = NpzReaderStage(str(folder), **reading), NpzWriterStage(str(folder))
    (record,) = read(reader)
    record = {name: value for name, value in {**record, **changes}.items() if name not in gone}
    writer = writer.reading_from(reader)
    writer.write(Storage(), "", [AudioBatch([record], str(folder))])
    return writer


def test_what_stages_make_of_fields_is_put_in_their_place(tmp_path: Path) -> None:
    file = tmp_path / "a_seg_0.npz"
    before = npz(lang="en", words="hello", begin_time=0.5, note="private", metadata=np.array('{"mine": 1, "gone": 2}'))
    file.write_bytes(before)
    changes = {"language": "de", "text": "HELLO", "start": 1.5, "gender": "f", "tags": ["a"]}
    assert not in_place(tmp_path, changes, gone=("note", "gone"), fields={"text": "words"}).observed.quarantined
    (record,) = read(NpzReaderStage(str(tmp_path), fields={"text": "words"}))
    assert {name: record[name] for name in changes} == changes
    assert {"mine", "tags"} == record.keys() - SEGMENT_TYPES.keys()
    with np.load(file, allow_pickle=False) as arrays:
        assert (arrays["lang"].item(), arrays["words"].item()) == ("de", "HELLO")
    assert members(file.read_bytes())["audio.npy"] == members(before)["audio.npy"]

    in_place(tmp_path, {}, gone=("language", "gender", "mine", "tags", "start"))
    (record,) = read(NpzReaderStage(str(tmp_path)))
    assert (record["language"], record["gender"], record["start"]) == (None, None, None)
    assert {"words"} == record.keys() - SEGMENT_TYPES.keys()


def test_codes_in_place_go_to_the_array_that_they_were_read_from(tmp_path: Path) -> None:
    before = npz(words="hello", tokens=np.array([1, 2]))
    (tmp_path / "a_seg_0.npz").write_bytes(before)
    fields = {"text": "words", "codes": "tokens"}
    in_place(tmp_path, {"codes": [7]}, fields=fields)
    (record,) = read(NpzReaderStage(str(tmp_path), fields=fields))
    assert (record["codes"], record["text"]) == ([7], "hello")
    after = members((tmp_path / "a_seg_0.npz").read_bytes())
    assert {**after, "tokens.npy": b""} == {**members(before), "tokens.npy": b""}


@pytest.mark.parametrize("changes", [{"duration_sec": 9.0}, {"audio": {"bytes": b"fLaC", "path": None}}])
def test_what_cannot_be_written_in_place_is_set_aside(changes: Record, tmp_path: Path) -> None:
    before = npz(text="hello")
    (tmp_path / "a_seg_0.npz").write_bytes(before)
    (bad,) = in_place(tmp_path, {**changes, "codes": [7]}).observed.quarantined
    (name,) = changes
    assert (bad.reason, f"'{name}' cannot be changed" in bad.message) == ("not_in_place", True)
    assert (tmp_path / "a_seg_0.npz").read_bytes() == before


def test_what_others_have_pickled_is_not_replaced() -> None:
    before = npz(metadata=np.array({"a": 1}, object), style=np.array(["calm"]))
    assert members(with_codes(before, [5], {"style": "calm"})) == members(before)
    with pytest.raises(RecordError, match=r"pickled_metadata: its 'metadata' holds objects .* so loudness_db cannot"):
        with_codes(before, [5], {"loudness_db": 1.5})


@pytest.mark.parametrize("limit", ["storage.json_codec.MAX_JSON_BYTES", "stages.speech.npz.MAX_UNPACKED_BYTES"])
def test_what_could_not_be_read_again_is_not_written(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"curator_audio.{limit}", 20_000)
    assert npz_of_record(segment(duration_sec=0.1))
    with pytest.raises(RecordError, match="too_large"):
        npz_of_record(segment(duration_sec=0.1, mine="x" * 20_000))


def test_the_rate_is_in_the_file(tmp_path: Path) -> None:
    from curator_audio.stages.speech.sound import audio_field

    written(NpzWriterStage(str(tmp_path)), segment(audio=audio_field(tone(0.1, sample_rate=24000), 24000, "a")))
    (record,) = read(NpzReaderStage(str(tmp_path)))
    assert (record["sample_rate"], record["duration_sec"]) == (24000, 0.1)
