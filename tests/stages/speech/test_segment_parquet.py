"""Segments in Parquet shards: what is written, what others read of it, and what is read of others' shards."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.fields import Fields
from curator_audio.stages.speech import (
    NpzReaderStage,
    SegmentParquetReaderStage,
    SegmentParquetWriterStage,
    WebDatasetWriterStage,
)
from curator_audio.stages.speech.segments import METADATA_FIELDS, SEGMENT_FIELDS, SEGMENT_TYPES, segment_record
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.extras import needs
from tests.segments import RATE, FakeCodecStage, fake_codes, npz, segment, tone


def write(out: str, *records: Record, name: str = "a", **parameters: Any) -> SegmentParquetWriterStage:
    writer = SegmentParquetWriterStage(out, **parameters)
    writer.write(Storage(), f"{out}/{name}.parquet", [AudioBatch(list(records))])
    return writer


def batches(reader: SegmentParquetReaderStage) -> Iterator[AudioBatch]:
    for partition in reader.partitions():
        yield from reader.process(partition)


def read(path: str, **parameters: Any) -> list[Record]:
    return [record for batch in batches(SegmentParquetReaderStage(path, **parameters)) for record in batch.records]


def foreign(path: Path, columns: dict[str, Any], row_group_size: int = 1000) -> None:
    """A shard that another tool has written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)


def test_values_of_another_kind_are_absent_and_counted(tmp_path: Path) -> None:
    columns = {"text": ["a", "b"], "speaker_id": [["ann"], None], "start": ["soon", "0.5"], "sample_rate": [16000, 0]}
    foreign(tmp_path / "in" / "a.parquet", columns)
    reader = SegmentParquetReaderStage(f"{tmp_path}/in")
    first, second = (record for batch in batches(reader) for record in batch.records)
    assert (first["text"], first["speaker_id"], first["start"], first["sample_rate"]) == ("a", None, None, 16000)
    assert (second["text"], second["sample_rate"]) == ("b", None)
    assert reader.observed.metrics["optional_fields_ignored"] == 2


# What is written ---------------------------------------------------------------------------------------------

times = st.none() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))
segments = st.builds(
    segment,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10),
    text=texts,
    gender=texts,
    start=times,
    codes=st.lists(st.integers(0, 65535), max_size=4),
)


@given(st.lists(segments, min_size=1, max_size=5))
def test_segments_survive_being_written(records: list[Record]) -> None:
    Storage().delete(["memory://segments/a.parquet"])
    write("memory://segments", *records)
    assert read("memory://segments") == records


def test_what_soundfile_and_datasets_make_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = needs("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    nothing_known = dict.fromkeys((*METADATA_FIELDS, "text", "start", "audio"))
    write(f"{tmp_path}/out", segment("a_seg_0", codes=[], **nothing_known), name="000000-a")
    write(f"{tmp_path}/out", segment("b_seg_0", codes=[1, 65535], duration_sec=0.5), name="000001-b")

    files = f"{tmp_path}/out/*.parquet"
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=f"{tmp_path}/cache")

    assert loaded.features["audio"] == datasets.Audio()
    assert loaded.features["codes"] == datasets.List(datasets.Value("int32"))
    assert loaded.features["text"] == datasets.Value("string")
    assert list(loaded.features) == list(SEGMENT_FIELDS)
    assert loaded["segment_id"][:] == ["a_seg_0", "b_seg_0"] and loaded["codes"][:] == [[], [1, 65535]]
    raw = loaded.cast_column("audio", datasets.Audio(decode=False))
    assert raw[0]["audio"] is None
    samples, rate = soundfile.read(io.BytesIO(raw[1]["audio"]["bytes"]), dtype="float32")
    assert (rate, len(samples)) == (RATE, RATE // 2)
    assert soundfile.info(io.BytesIO(raw[1]["audio"]["bytes"])).format == "FLAC"
    assert raw[1]["audio"]["path"] == "b_seg_0.flac"


def test_datasets_decodes_the_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = needs("datasets")
    needs("torch")
    needs("torchcodec.decoders")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    record = segment("b_seg_0", duration_sec=0.5)
    write(f"{tmp_path}/out", record)
    files = f"{tmp_path}/out/*.parquet"
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=f"{tmp_path}/cache")
    decoded = loaded[0]["audio"].get_all_samples()
    assert decoded.sample_rate == RATE and tuple(decoded.data.shape) == (1, RATE // 2)
    expected, _ = soundfile.read(io.BytesIO(record["audio"]["bytes"]), dtype="float32")
    assert np.abs(decoded.data.numpy()[0] - expected).max() < 1e-4


def test_chosen_columns(tmp_path: Path) -> None:
    write(str(tmp_path), segment("a_seg_0", codes=[1]), columns=["codes", "text"])
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == [{"codes": [1], "text": "text of a_seg_0"}]


def test_a_segment_that_does_not_fit_is_set_aside_alone(tmp_path: Path) -> None:
    bad = [segment("b_seg_0", codes=[2**40]), segment("c_seg_0", audio=b"FLAC"), segment("d_seg_0", speaker_id=7)]
    writer = write(str(tmp_path), segment("a_seg_0"), *bad, segment("e_seg_0"))
    assert [record["segment_id"] for record in read(str(tmp_path))] == ["a_seg_0", "e_seg_0"]
    assert [aside.record for aside in writer.observed.quarantined] == bad


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["text", "text"], "columns has 'text' twice"),
        ([], r"columns is \[\]; give a list"),
        ("text", "columns is 'text'; give a list"),
        ([["text"]], r"columns has \['text'\]; give names of fields"),
    ],
)
def test_bad_columns(columns: Any, message: str) -> None:
    for stage in (SegmentParquetWriterStage, SegmentParquetReaderStage):
        with pytest.raises(ConfigurationError, match=message):
            stage("folder", columns=columns)


def test_columns_that_segments_do_not_have() -> None:
    writer = SegmentParquetWriterStage("folder", columns=["text", "score"])
    with pytest.raises(ConfigurationError, match="columns has 'score', which records here do not have; there are segm"):
        writer.settle(Fields.of(SEGMENT_TYPES))
    settled = writer.settle(Fields.of({**SEGMENT_TYPES, "score": "float"}))
    assert settled is not None and settled["columns"] == {"text": "string", "score": "float"}


def test_a_column_that_is_nowhere_is_named_before_a_run(tmp_path: Path) -> None:
    foreign(tmp_path / "x.parquet", {"text": ["a"], "score": [0.5]})
    with pytest.raises(ConfigurationError, match=r"columns has 'scores', and .* begins without it, it has score, text"):
        SegmentParquetReaderStage(str(tmp_path), columns=["text", "scores"]).remarks()
    reader = SegmentParquetReaderStage(str(tmp_path), columns=["gender", "score"])
    assert reader.remarks() == []
    assert "score" in reader.sampled_fields().known and not reader.sampled_fields().open
    assert read(str(tmp_path), columns=["text", "score"])[0]["score"] == 0.5
    assert "score" not in read(str(tmp_path), columns=["text"])[0]


# What others have written ------------------------------------------------------------------------------------


def sound(suffix: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(0.1), RATE, format=suffix)
    return file.getvalue()


def test_plain_binary_sound_and_other_columns(tmp_path: Path) -> None:
    columns = {"audio": [sound(), None], "text": ["a", "b"], "speaker_id": [7, 8], "codes": [[1], None]}
    foreign(tmp_path / "train" / "x.parquet", columns | {"score": [0.5, 0.6]})
    first, second = read(str(tmp_path))
    assert first == segment_record(
        segment_id="train_x_0", text="a", speaker_id="7", codes=[1], audio={"bytes": sound(), "path": None}, score=0.5
    )
    assert second == segment_record(segment_id="train_x_1", text="b", speaker_id="8", codes=[], score=0.6)


def test_shards_of_one_name_make_segments_of_different_names(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        foreign(tmp_path / folder / "0000.parquet", {"text": ["a"]})
    assert [record["segment_id"] for record in read(str(tmp_path))] == ["test_0000_0", "train_0000_0"]
    assert [record["segment_id"] for record in read(f"{tmp_path}/test/0000.parquet")] == ["0000_0"]


def test_sound_that_lies_elsewhere_is_none(tmp_path: Path) -> None:
    foreign(tmp_path / "x.parquet", {"audio": [{"bytes": None, "path": "a.wav"}, None], "text": ["a", "b"]})
    foreign(tmp_path / "y.parquet", {"audio": ["a.wav"], "text": ["c"]})
    assert [(found["audio"], found["text"]) for found in read(str(tmp_path))] == [(None, text) for text in "abc"]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([[1, 2]], pa.list_(pa.int64())), [1, 2]),
        (pa.array([[1, 2]], pa.large_list(pa.uint16())), [1, 2]),
        (pa.array([[1, 2]], pa.list_(pa.int16(), 2)), [1, 2]),
        (pa.array([None], pa.null()), []),
    ],
)
def test_codes_of_other_types(column: Any, expected: list[int], tmp_path: Path) -> None:
    foreign(tmp_path / "x.parquet", {"text": ["a"], "codes": column})
    assert [record["codes"] for record in read(str(tmp_path))] == [expected]


def test_chosen_columns_are_read_alone(tmp_path: Path) -> None:
    write(str(tmp_path), segment("a_seg_0", codes=[1]))
    (record,) = read(str(tmp_path), columns=["segment_id", "codes"])
    assert record == segment_record(segment_id="a_seg_0", codes=[1])


def test_durations_that_are_none_do_no_harm(tmp_path: Path) -> None:
    for index, column in enumerate([["long"], [float("nan")], [-5.0], [None]]):
        foreign(tmp_path / f"{index}.parquet", {"text": ["a"], "duration_sec": column})
    assert [record["text"] for record in read(str(tmp_path))] == ["a"] * 4


def test_an_empty_shard(tmp_path: Path) -> None:
    foreign(tmp_path / "x.parquet", {"text": pa.array([], pa.string())})
    reader = SegmentParquetReaderStage(str(tmp_path))
    assert list(batches(reader)) == [] and reader.observed.quarantined == []


def whole_shard(tmp_path: Path) -> bytes:
    foreign(tmp_path / "whole", {"text": [f"text number {k}" for k in range(3000)]}, row_group_size=1000)
    return (tmp_path / "whole").read_bytes()


def damaged(data: bytes) -> bytes:
    """With another content of the second row group."""
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(1).column(0)
    changed = bytearray(data)
    start = group.dictionary_page_offset or group.data_page_offset
    changed[start : start + group.total_compressed_size] = bytes([255]) * group.total_compressed_size
    return bytes(changed)


@pytest.mark.parametrize(
    ("kind", "reason", "num_read"),
    [
        ("empty", "not_parquet", 0),
        ("text", "not_parquet", 0),
        ("cut", "not_parquet", 0),
        ("damaged", "not_parquet", 1000),
        ("others", "missing_field", 0),
    ],
)
def test_shards_that_are_none_do_not_keep_others_from_being_read(
    kind: str, reason: str, num_read: int, tmp_path: Path
) -> None:
    whole = whole_shard(tmp_path)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"score": [1.0]}), buffer)
    data = {"empty": b"", "text": b"text", "cut": whole[:-100], "damaged": damaged(whole), "others": buffer.getvalue()}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.parquet").write_bytes(data[kind])
    write(f"{tmp_path}/in", segment("b_seg_0"), name="b")

    reader = SegmentParquetReaderStage(f"{tmp_path}/in", partition_size_mb=64)
    (partition,) = reader.partitions()
    found = [record["segment_id"] for batch in reader.process(partition) for record in batch.records]

    assert found == [f"a_{row}" for row in range(num_read)] + ["b_seg_0"]
    (aside,) = reader.observed.quarantined
    assert (aside.reason, aside.source_path) == (reason, f"{tmp_path}/in/a.parquet")
    assert aside.record == {"file": "a.parquet"}


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), ConnectionError(), TimeoutError()])
def test_a_store_that_fails_is_no_fault_of_the_shard(
    error: OSError, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    write(f"{s3_bucket}/in", segment("a_seg_0"))
    reader = SegmentParquetReaderStage(f"{s3_bucket}/in")
    (partition,) = reader.partitions()

    def fails(self: Any, start: int, end: int) -> bytes:
        raise error

    monkeypatch.setattr(s3fs.S3File, "_fetch_range", fails)
    with pytest.raises(StorageError):
        list(reader.process(partition))
    assert reader.observed.quarantined == []


# On a store --------------------------------------------------------------------------------------------------


def test_a_shard_is_read_with_few_requests_and_little_memory(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    noise = np.random.default_rng(0)
    sounds = [{"bytes": noise.bytes(2**17), "path": "x.flac"} for _ in range(96)]
    write(f"{s3_bucket}/in", *(segment(f"a_seg_{k}", audio=sound) for k, sound in enumerate(sounds)), row_group_mb=1.0)
    ranges: list[int] = []
    real = s3fs.S3File._fetch_range

    def counted(self: Any, start: int, end: int) -> Any:
        ranges.append(end - start)
        return real(self, start, end)

    monkeypatch.setattr(s3fs.S3File, "_fetch_range", counted)
    reader = SegmentParquetReaderStage(f"{s3_bucket}/in")
    (partition,) = reader.partitions()
    before, most, found = pa.total_allocated_bytes(), 0, 0
    for batch in reader.process(partition):
        most = max(most, pa.total_allocated_bytes() - before)
        found += batch.num_items
    assert found == 96
    assert len(ranges) <= 12 + 2, "a request for each row group of a MB, and for the footer"
    assert sum(ranges) < 1.02 * partition.end + 2**16
    assert most < 4 * 2**20, "a row group or two, not the shard"


def test_batches_are_of_half_an_hour_or_64_mb(tmp_path: Path) -> None:
    shard = {"audio": [bytes(2**20)] * 100, "text": ["a"] * 100}
    foreign(tmp_path / "x.parquet", shard)
    assert [batch.num_items for batch in batches(SegmentParquetReaderStage(str(tmp_path)))] == [64, 36]
    foreign(tmp_path / "x.parquet", shard | {"audio": [b"a"] * 100, "duration_sec": [60.0] * 100})
    assert [batch.num_items for batch in batches(SegmentParquetReaderStage(str(tmp_path)))] == [30, 30, 30, 10]


# In pipelines ------------------------------------------------------------------------------------------------


def test_npz_to_parquet_with_codes_and_again(tmp_path: Path, s3_bucket: str) -> None:
    root, out, log = f"{s3_bucket}/npz", f"{s3_bucket}/out", tmp_path / "log"
    log.touch()
    for k in (10, 9, 0):
        Storage().write(f"{root}/news/a_seg_{k}.npz", npz(0.1 * (k + 1)))

    def run() -> list[str]:
        log.write_text("")
        stages = [NpzReaderStage(root, 0), FakeCodecStage(str(log)), SegmentParquetWriterStage(out)]
        Pipeline("encode", stages).run(LocalExecutor())
        return log.read_text().split()

    assert run() == ["news/a_seg_0", "news/a_seg_9", "news/a_seg_10"]
    first = read(out)
    assert [record["segment_id"] for record in first] == ["news/a_seg_0", "news/a_seg_9", "news/a_seg_10"]
    assert all(record["codes"] == fake_codes(record) for record in first)
    assert run() == []
    Storage().write(f"{root}/first/z_seg_0.npz", npz())
    assert run() == ["first/z_seg_0"]
    assert read(out)[:3] == first and read(out)[3]["channel"] == "first"


def test_shards_are_the_same_on_ray(tmp_path: Path, ray_session: None) -> None:
    for shard in "abc":
        write(f"{tmp_path}/in", *(segment(f"{shard}_seg_{k}") for k in range(3)), name=shard)
    (tmp_path / "log").touch()
    for executor in (LocalExecutor(), RayActorsExecutor(num_workers=2)):
        stages = [SegmentParquetReaderStage(f"{tmp_path}/in"), FakeCodecStage(f"{tmp_path}/log")]
        Pipeline("encode", [*stages, SegmentParquetWriterStage(f"{tmp_path}/{executor.name}")]).run(executor)
    folders = (tmp_path / name for name in ("local", "ray_actors"))
    local, on_ray = ({path.name: path.read_bytes() for path in folder.glob("*.parquet")} for folder in folders)
    assert local == on_ray and len(local) == 3


def test_quarantined_segments_are_told_without_their_sound(tmp_path: Path) -> None:
    write(f"{tmp_path}/in", segment("a_seg_0", duration_sec=2.0), segment("b_seg_0", channel="..", duration_sec=2.0))
    stages = [SegmentParquetReaderStage(f"{tmp_path}/in"), WebDatasetWriterStage(f"{tmp_path}/out")]
    result = Pipeline("convert", stages).run(LocalExecutor())
    assert result.quarantined == {"path_leaves_root": 1}
    (file,) = (tmp_path / "out" / "quarantine").iterdir()
    assert os.path.getsize(file) < 2000
    line = json.loads(file.read_text())
    assert line["source"] == f"{tmp_path}/in/a.parquet" and line["stage"] == "webdataset_writer"
    assert line["record"]["segment_id"] == "b_seg_0"
    assert line["record"]["audio"]["bytes"].endswith("bytes>")
