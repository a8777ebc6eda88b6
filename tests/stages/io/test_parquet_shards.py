from __future__ import annotations

import errno
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, StorageFullError
from curator_audio.stages.io import parquet_shards
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.storage import atomic_file
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Part, Record


@dataclass
class ScoreWriter(ParquetShardWriterStage):
    name = "score_writer"

    def schema(self) -> Any:
        return pa.schema([("text", pa.string()), ("score", pa.float64()), ("codes", pa.list_(pa.int32()))])


def write(
    out: str, *batches: Sequence[Record], name: str = "a", row_group_mb: float = 16.0
) -> tuple[list[Part], ScoreWriter]:
    writer = ScoreWriter(out, row_group_mb=row_group_mb)
    tasks = [AudioBatch(list(batch), "in.jsonl", list(range(len(batch)))) for batch in batches]
    return writer.write(Storage(), f"{out}/{name}.parquet", tasks), writer


def rows(out: str, name: str = "a") -> list[Record]:
    found: list[Record] = pq.read_table(f"{out}/{name}.parquet").to_pylist()
    return found


def test_records_become_rows(tmp_path: Path) -> None:
    (part,), _ = write(
        str(tmp_path), [{"text": "naïve", "score": 0.5, "codes": [1, 2]}], [{"text": None}, {"score": 3}]
    )
    assert rows(str(tmp_path)) == [
        {"text": "naïve", "score": 0.5, "codes": [1, 2]},
        {"text": None, "score": None, "codes": None},
        {"text": None, "score": 3.0, "codes": None},
    ]
    path = tmp_path / "a.parquet"
    assert (part.path, part.num_bytes, part.num_records) == (str(path), path.stat().st_size, 3)
    assert part.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_writer_with_columns_of_its_own_loses_nothing_in_silence(tmp_path: Path) -> None:
    more = {"text": "b", "loudness_db": -20.5}
    _, writer = write(str(tmp_path), [{"text": "a"}, more])
    (aside,) = writer.observed.quarantined
    assert (aside.reason, aside.record) == ("unknown_field", more)
    assert [row["text"] for row in rows(str(tmp_path))] == ["a"]


def test_on_s3(s3_bucket: str, tmp_path: Path) -> None:
    records = [{"text": "x" * 1000, "score": float(k)} for k in range(100)]
    (part,), _ = write(f"{s3_bucket}/out", records)
    write(str(tmp_path), records)
    assert Storage().read(part.path) == (tmp_path / "a.parquet").read_bytes()


def test_all_shards_have_one_schema(tmp_path: Path) -> None:
    """Also where nothing in the first one tells what is in a column."""
    write(str(tmp_path), [{"text": None, "score": None, "codes": []}], name="a")
    write(str(tmp_path), [{"text": "b", "score": 1.5, "codes": [7]}], name="b")
    a, b = (pq.read_schema(tmp_path / f"{name}.parquet") for name in "ab")
    assert a.equals(b, check_metadata=True) and a.types == [pa.string(), pa.float64(), pa.list_(pa.int32())]


def test_no_records_are_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"of an earlier version of the source")
    assert write(str(tmp_path), [], [])[0] == []
    assert write(str(tmp_path), [{"score": "no number"}])[0] == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_text_or_no_number_is_replaced_and_counted(tmp_path: Path) -> None:
    odd = [{"text": "\ud83d", "score": float("nan")}, {"text": "a", "score": float("-inf"), "codes": [1]}]
    (part,), writer = write(str(tmp_path), odd)
    assert rows(str(tmp_path)) == [
        {"text": "\ufffd", "score": None, "codes": None},
        {"text": "a", "score": None, "codes": [1]},
    ]
    assert writer.observed.metrics == {"texts_repaired": 1, "numbers_not_finite": 2}
    assert part.num_records == 2 and writer.observed.quarantined == []


@pytest.mark.parametrize(
    "bad",
    [
        {"text": 5},
        {"text": b"\xff"},
        {"text": ["a"]},
        {"score": "high"},
        {"score": {}},
        {"codes": [2**31]},
        {"codes": [1.5]},
        {"codes": ["one"]},
        {"codes": [1, 2, 3.5]},
        {"codes": [float("nan")]},
        {"codes": 1},
        {"codes": [[1]]},
        {"score": 10**400},
    ],
)
def test_a_record_that_does_not_fit_is_set_aside_alone(bad: Record, tmp_path: Path) -> None:
    good = {"text": "good", "score": 1.0, "codes": [1]}
    (part,), writer = write(str(tmp_path), [good, bad, good])
    assert rows(str(tmp_path)) == [good, good] and part.num_records == 2
    (aside,) = writer.observed.quarantined
    assert (aside.source_path, aside.offset, aside.stage, aside.reason) == ("in.jsonl", 1, "score_writer", "wrong_type")
    assert aside.record is bad
    (name,) = bad
    assert aside.message.startswith(f"it does not fit the columns: '{name}' is {bad[name]!r:.80}, which is no ")


def test_numbers_that_keep_their_digits_fit(tmp_path: Path) -> None:
    """As a manifest has them where a float cannot hold them exactly."""
    record = decode_line(b'{"score": 0.1000000000000000055511151231257827, "codes": [1]}')
    assert type(record["score"]) is not float
    write(str(tmp_path), [record])
    assert rows(str(tmp_path)) == [{"text": None, "score": 0.1, "codes": [1]}]


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=30), st.integers(1, 7), st.integers(1, 30))
def test_row_groups_and_bytes_do_not_depend_on_the_size_of_tasks(
    items: list[tuple[int, bool]], size: int, other: int
) -> None:
    records = [{"text": "x" * length, "score": "bad" if is_bad else 1.0} for length, is_bad in items]

    def written(size: int) -> tuple[bytes, list[int]]:
        batches = [records[i : i + size] for i in range(0, len(records), size)]
        write("memory://parquet", *batches, row_group_mb=1e-4)
        if not Storage().exists("memory://parquet/a.parquet"):
            return b"", []
        data = Storage().read("memory://parquet/a.parquet")
        metadata = pq.ParquetFile(pa.BufferReader(data)).metadata
        return data, [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_shards, "MAX_ROW_GROUP_RECORDS", 5)
        data, groups = written(size)
        assert written(other) == (data, groups)
        assert sum(groups) == sum(not is_bad for _, is_bad in items) and max(groups, default=0) <= 5


def test_row_groups_are_of_some_mb(tmp_path: Path) -> None:
    write(str(tmp_path), [{"text": "x" * 2**20} for _ in range(40)])
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [16, 16, 8]


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: atomic_file.LocalAtomicFile, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_file.LocalAtomicFile, "_write", fails)
    with pytest.raises(StorageFullError, match=r"a\.parquet: no space left on the device"):
        write(str(tmp_path), [{"text": "a"}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "none"])
def test_compressions(compression: str, tmp_path: Path) -> None:
    writer = ScoreWriter(str(tmp_path), compression=compression)
    writer.write(Storage(), str(tmp_path / "a.parquet"), [AudioBatch([{"text": "so be it"}])])
    assert rows(str(tmp_path))[0]["text"] == "so be it"
    found = pq.read_metadata(tmp_path / "a.parquet").row_group(0).column(0).compression
    assert found == {"none": "UNCOMPRESSED"}.get(compression, compression.upper())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"compression": "zip"}, "compression is 'zip'; give one of zstd, snappy, gzip, lz4, none"),
        ({"row_group_mb": 0}, "row_group_mb is 0; give a number of MB above 0"),
    ],
)
def test_parameters_out_of_range(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ScoreWriter("out", **parameters)


def test_a_folder_is_wanted() -> None:
    with pytest.raises(ConfigurationError, match=r"give a folder, Parquet is written as shards"):
        ScoreWriter("out.parquet")
