import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from curator_audio.errors import AccessError, ConfigurationError, StorageError
from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.result import RunResult
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Record

SMALL = 0.001
"""A partition size, in MB, of a few records."""


def numbered(first: int, end: int) -> list[Record]:
    return [{"number": number, "text": f"naïve {number} " + "x" * (number % 50)} for number in range(first, end)]


def as_lines(records: list[Record], line_end: str = "\n") -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + line_end for record in records).encode()


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read_all(path: object, **parameters: Any) -> list[Record]:
    """The records of all partitions, in order, each checked against the place it is said to come from."""
    reader = ManifestReaderStage(str(path), **({"partition_size_mb": SMALL} | parameters))
    records = []
    for partition in reader.partitions():
        for batch in reader.process(partition):
            assert batch.source_path == partition.source_path
            assert all(partition.start <= offset <= partition.end for offset in batch.offsets)
            records += batch.records
    return records


def quarantined(path: object, **parameters: Any) -> list[tuple[int, str, bytes, int]]:
    """Offset, reason, raw bytes and length of what could not be read."""
    reader = ManifestReaderStage(str(path), **({"partition_size_mb": SMALL} | parameters))
    for partition in reader.partitions():
        list(reader.process(partition))
    return [(bad.offset, bad.reason, bad.record, bad.num_bytes) for bad in reader.take_observations().quarantined]


# The same records whatever the file ---------------------------------------------------------------------------

RECORDS = numbered(0, 300)
LINES = as_lines(RECORDS)


def zstd(data: bytes) -> bytes:
    return pyarrow.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize("partition_size_mb", [1e-6, 0.0003, SMALL, 4.0])
@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz", "all.jsonl.zst"])
def test_plain_and_compressed_manifests_hold_the_same(name: str, partition_size_mb: float, tmp_path: Path) -> None:
    compress: Callable[[bytes], bytes] = {".gz": gzip.compress, ".zst": zstd}.get(Path(name).suffix, bytes)
    path = write(tmp_path / name, compress(LINES))

    assert read_all(path, partition_size_mb=partition_size_mb) == RECORDS


def test_folders_and_globs_are_read_in_order_of_the_paths(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl.gz", gzip.compress(as_lines(RECORDS[200:])))
    write(tmp_path / "a" / "2.ndjson", as_lines(RECORDS[100:150]))
    write(tmp_path / "a" / "1.jsonl", as_lines(RECORDS[:100]))
    write(tmp_path / "a.json.zst", zstd(as_lines(RECORDS[150:200])))
    write(tmp_path / "notes.txt", b"not a manifest")
    write(tmp_path / "empty.jsonl", b"")
    in_order = RECORDS[150:200] + RECORDS[:150] + RECORDS[200:]

    assert read_all(tmp_path) == in_order
    assert read_all(f"{tmp_path}/") == in_order
    assert read_all(f"{tmp_path}/a/*") == RECORDS[:150]
    assert read_all(f"{tmp_path}/*.j*") == RECORDS[150:]
    assert read_all(f"{tmp_path}/a/[12].*j*n*") == RECORDS[:150]


def test_a_folder_on_s3(s3_bucket: str) -> None:
    Storage().write(f"{s3_bucket}/in/b.jsonl", as_lines(RECORDS[100:]))
    Storage().write(f"{s3_bucket}/in/a.jsonl.gz", gzip.compress(as_lines(RECORDS[:100])))

    assert read_all(f"{s3_bucket}/in") == RECORDS
    assert read_all(f"{s3_bucket}/in/*.jsonl*") == RECORDS
    assert read_all(f"{s3_bucket}/in/b.jsonl") == RECORDS[100:]


def test_a_name_may_hold_the_marks_of_a_pattern(tmp_path: Path) -> None:
    assert read_all(write(tmp_path / "take[1]?*.jsonl", LINES)) == RECORDS


@pytest.mark.parametrize("name", [b"caf\xe9.jsonl", b"n" * 240 + b".jsonl", "東京 #1 (neu).jsonl".encode(), b".jsonl"])
def test_any_file_name_will_do(name: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / os.fsdecode(name), LINES)

    result = run(path, tmp_path / "out")

    assert outcome(tmp_path / "out") == RECORDS
    assert {entry.source for entry in result.entries} == {""}, "there is no other"
    assert run(path, tmp_path / "out").num_done_before == len(result.entries)


def test_the_output_folder_of_another_run_is_a_folder_of_manifests(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", as_lines(RECORDS[:10]) + b"{broken\n")
    run(tmp_path / "in.jsonl", tmp_path / "first")
    assert (tmp_path / "first" / "quarantine").is_dir() and (tmp_path / "first" / "metrics.json").exists()

    assert read_all(tmp_path / "first") == RECORDS[:10]


# Lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "data",
    [
        as_lines(RECORDS, "\r\n"),
        as_lines(RECORDS, "\n\n \t\n\r\n"),
        b"\n\n" + LINES.removesuffix(b"\n"),
        b"\xef\xbb\xbf" + LINES,
        b"\xef\xbb\xbf\r\n" + as_lines(RECORDS, "\r\n"),
    ],
    ids=["CRLF", "blank lines", "no line end at the end", "byte order mark", "all of it"],
)
def test_line_ends_blank_lines_and_byte_order_marks(
    data: bytes, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = write(tmp_path / ("in.jsonl" if compress is bytes else "in.jsonl.gz"), compress(data))

    assert read_all(path) == RECORDS
    assert quarantined(path) == []


def test_offsets_are_those_of_the_lines(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + as_lines(RECORDS, "\r\n\n")
    write(tmp_path / "in.jsonl", data)
    write(tmp_path / "in.jsonl.gz", gzip.compress(data))

    for name in ("in.jsonl", "in.jsonl.gz"):
        reader = ManifestReaderStage(f"{tmp_path}/{name}", partition_size_mb=SMALL)
        batches = [batch for partition in reader.partitions() for batch in reader.process(partition)]
        offsets = [offset for batch in batches for offset in batch.offsets]
        assert [
            json.loads(data[offset:].split(b"\n", 1)[0].removeprefix(b"\xef\xbb\xbf")) for offset in offsets
        ] == RECORDS


BAD_LINES = [
    (b'{"number": 1', "invalid_json"),
    (b"[1, 2]", "not_an_object"),
    (b"null", "not_an_object"),
    (b"plain text", "invalid_json"),
    (b'{"text": "caf\xe9"}', "invalid_utf8"),
    (b"{} {}", "invalid_json"),
]


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_bad_lines_are_set_aside_and_the_others_read(name: str, tmp_path: Path) -> None:
    lines = LINES.splitlines(keepends=True)
    expected = []
    for position, (bad, reason) in zip((0, 40, 41, 150, 250, 305), BAD_LINES):
        lines.insert(position, bad + b"\n")
        expected.append((len(b"".join(lines[:position])), reason, bad, len(bad)))
    data = b"".join(lines)
    path = write(tmp_path / name, data if name == "in.jsonl" else gzip.compress(data))

    assert quarantined(path) == expected
    assert read_all(path) == RECORDS


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
@pytest.mark.parametrize("partition_size_mb", [0.05, 0.2, 10.0])
def test_a_line_beyond_the_limit_is_set_aside_by_its_length(
    name: str, partition_size_mb: float, tmp_path: Path
) -> None:
    long_line = b"\xef\xbb\xbf" + b'{"text": "' + b"x" * 3 * 2**20 + b'"}'
    for begin, end in ((b"", LINES), (LINES, LINES), (LINES, b"")):
        data = begin + long_line + b"\n" + end
        path = write(tmp_path / name, data if name == "in.jsonl" else gzip.compress(data))

        ((offset, reason, raw, num_bytes),) = quarantined(path, partition_size_mb=partition_size_mb, max_line_mb=1.0)

        assert (offset, reason, num_bytes) == (len(begin), "line_too_long", len(long_line))
        assert long_line.removeprefix(b"\xef\xbb\xbf").startswith(raw.removeprefix(b"\xef\xbb\xbf"))
        assert 2**16 - 3 <= len(raw) <= 2**16
        records = read_all(path, partition_size_mb=partition_size_mb, max_line_mb=1.0)
        assert len(records) == (data.count(b"\n") - 1)


def test_a_long_line_within_the_limit_is_a_record(tmp_path: Path) -> None:
    record = {"text": "x" * 2**20}
    path = write(tmp_path / "in.jsonl", LINES + as_lines([record]) + LINES)
    assert read_all(path, max_line_mb=1.5) == [*RECORDS, record, *RECORDS]


# What is not there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none.jsonl", AccessError, "cannot read {}/none.jsonl: there is no such file; check the path"),
        ("none/", ConfigurationError, "no manifest in {}/none/; there is no file named *.jsonl"),
        ("folder", ConfigurationError, "no manifest in {}/folder; there is no file named *.jsonl"),
        ("*.jsonlx", ConfigurationError, "no file matches {}/*.jsonlx; check the pattern"),
        ("empty.jsonl", ConfigurationError, "{}/empty.jsonl is empty (0 bytes); give a manifest with a record a line"),
        ("empt*", ConfigurationError, "{}/empt* is empty (0 bytes)"),
    ],
)
def test_sources_that_hold_nothing_are_told(name: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    write(tmp_path / "empty.jsonl", b"")
    write(tmp_path / "folder" / "notes.txt", b"notes")

    with pytest.raises(error) as raised:
        read_all(f"{tmp_path}/{name}")
    assert str(raised.value).startswith(message.format(tmp_path))


@pytest.mark.parametrize(
    "parameters", [{"partition_size_mb": 0}, {"partition_size_mb": "4"}, {"max_line_mb": float("nan")}]
)
def test_parameters_out_of_range_are_refused_by_name(parameters: dict[str, Any]) -> None:
    (name,) = parameters
    with pytest.raises(ConfigurationError, match=f"{name} is .*; give a number of MB above 0"):
        ManifestReaderStage("in.jsonl", **parameters)


@pytest.mark.parametrize("path", ["", None, 7])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"manifest_path is .*; give a manifest, a folder or a glob"):
        ManifestReaderStage(path)


def test_a_truncated_archive_fails_by_name_and_a_whole_one_mends_it(tmp_path: Path) -> None:
    whole = gzip.compress(LINES)
    path = write(tmp_path / "in.jsonl.gz", whole[: len(whole) - 10])

    with pytest.raises(
        StorageError, match=r"cannot decompress .*/in\.jsonl\.gz: Truncated compressed stream; check that"
    ):
        run(path, tmp_path / "out")
    assert not (tmp_path / "out" / "out.jsonl").exists()

    path.write_bytes(whole)
    run(path, tmp_path / "out")
    assert outcome(tmp_path / "out") == RECORDS


# The fields a pipeline may count on ---------------------------------------------------------------------------


def test_fields_are_sampled_where_the_sample_tells_something(tmp_path: Path) -> None:
    def fields(data: bytes) -> Any:
        return ManifestReaderStage(str(write(tmp_path / "in.jsonl", data))).sampled_fields()

    assert "text" in fields(LINES) and "segments" not in fields(LINES)
    assert "segments" in fields(b'{"text": "a"}\n{"segments": []}'), "the last line of a small file counts"
    assert "segments" in fields(b'{"text": "a"}\n{"segments": "' + b"x" * 2**20 + b'"}\n'), "one record tells little"
    assert "segments" in fields(b"not json\n"), "nothing was seen"
    assert "segments" not in fields(as_lines(numbered(0, 20_000))), "many records tell enough"


# What a later run does again ----------------------------------------------------------------------------------


def run(path: Path, out: Path, **parameters: Any) -> RunResult:
    reader = ManifestReaderStage(str(path), **({"partition_size_mb": SMALL} | parameters))
    return Pipeline("test", [reader, ManifestWriterStage(f"{out}/out.jsonl")], after=[JoinParts()]).run(LocalExecutor())


def outcome(out: Path) -> list[Record]:
    return [json.loads(line) for line in (out / "out.jsonl").read_bytes().splitlines()]


def num_redone(result: RunResult) -> int:
    return len(result.entries) - result.num_done_before


@pytest.fixture(params=["in.jsonl", "in.jsonl.gz"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[list[Record]], Path]:
    """Writes a manifest, plain or compressed."""

    def written(records: list[Record]) -> Path:
        data = as_lines(records)
        return write(tmp_path / request.param, data if request.param == "in.jsonl" else gzip.compress(data))

    return written


def test_nothing_is_redone_for_a_file_that_was_only_touched(source: Any, tmp_path: Path) -> None:
    first = run(source(RECORDS), tmp_path / "out")
    path = source(RECORDS)
    os.utime(path, (1, 1))

    second = run(path, tmp_path / "out")

    assert len(first.entries) > 10
    assert num_redone(second) == 0
    assert outcome(tmp_path / "out") == RECORDS
    fingerprints = {one.fingerprint for entry in second.entries for one in entry.inputs.unpacked().values()}
    assert fingerprints == {f"{path.stat().st_size}-1.0"}, "the next look is a cheap one"


def test_only_the_tail_of_an_appended_manifest_is_redone(source: Any, tmp_path: Path) -> None:
    first = run(source(RECORDS), tmp_path / "out")

    second = run(source(RECORDS + numbered(300, 310)), tmp_path / "out")

    assert num_redone(second) <= 1 + len(second.entries) - len(first.entries)
    assert second.num_done_before >= len(first.entries) - 1
    assert outcome(tmp_path / "out") == RECORDS + numbered(300, 310)


def test_only_the_changed_piece_of_a_manifest_is_redone(source: Any, tmp_path: Path) -> None:
    run(source(RECORDS), tmp_path / "out")
    changed = [record | {"text": record["text"].upper()} if record["number"] == 150 else record for record in RECORDS]

    result = run(source(changed), tmp_path / "out")

    assert num_redone(result) == 1
    assert outcome(tmp_path / "out") == changed


def test_a_manifest_that_has_become_shorter(source: Any, tmp_path: Path) -> None:
    run(source(RECORDS), tmp_path / "out")

    result = run(source(RECORDS[:100]), tmp_path / "out")

    assert num_redone(result) <= 1
    assert outcome(tmp_path / "out") == RECORDS[:100]


def test_a_piece_that_has_lost_all_its_records(tmp_path: Path) -> None:
    data = as_lines(RECORDS)
    half = data.index(b"\n", len(data) // 2) + 1
    path = write(tmp_path / "in.jsonl", data)
    reader = ManifestReaderStage(str(path), partition_size_mb=half / 2**20)
    shards = Pipeline("test", [reader, ManifestWriterStage(f"{tmp_path}/shards/")])
    shards.run(LocalExecutor(), output_dir=f"{tmp_path}/out")

    path.write_bytes(data[:half] + b" " * (len(data) - half))
    shards.run(LocalExecutor(), output_dir=f"{tmp_path}/out")

    (shard,) = (tmp_path / "shards").iterdir()
    assert shard.read_bytes().count(b"\n") == data[:half].count(b"\n")


def test_a_new_file_that_sorts_first_is_one_new_piece_of_work(tmp_path: Path) -> None:
    for name, records in (("m1", RECORDS[:100]), ("m2", RECORDS[100:])):
        write(tmp_path / "in" / f"{name}.jsonl", as_lines(records))
    first = run(tmp_path / "in", tmp_path / "out", partition_size_mb=4.0)
    write(tmp_path / "in" / "a.jsonl", as_lines(numbered(300, 320)))

    second = run(tmp_path / "in", tmp_path / "out", partition_size_mb=4.0)

    assert (len(first.entries), len(second.entries), num_redone(second)) == (2, 3, 1)
    assert outcome(tmp_path / "out") == numbered(300, 320) + RECORDS


def test_a_file_that_has_gone_keeps_its_output(tmp_path: Path) -> None:
    for name, records in (("m1", RECORDS[:100]), ("m2", RECORDS[100:])):
        write(tmp_path / "in" / f"{name}.jsonl", as_lines(records))
    run(tmp_path / "in", tmp_path / "out", partition_size_mb=4.0)
    (tmp_path / "in" / "m1.jsonl").unlink()

    result = run(tmp_path / "in", tmp_path / "out", partition_size_mb=4.0)

    assert (result.num_kept, num_redone(result) - result.num_kept) == (1, 0)
    assert sorted(outcome(tmp_path / "out"), key=lambda record: record["number"]) == RECORDS


@pytest.mark.parametrize("root", ["memory", "s3"])
def test_a_run_is_taken_up_on_other_stores(root: str, request: pytest.FixtureRequest) -> None:
    folder = f"{request.getfixturevalue('s3_bucket')}" if root == "s3" else "memory://test_manifest_reader"
    storage = Storage()
    storage.write(f"{folder}/in.jsonl", LINES)

    def again() -> RunResult:
        reader = ManifestReaderStage(f"{folder}/in.jsonl", partition_size_mb=4 * SMALL)
        writer = ManifestWriterStage(f"{folder}/out/out.jsonl")
        return Pipeline("test", [reader, writer], after=[JoinParts()]).run(LocalExecutor())

    first = again()
    assert num_redone(again()) == 0
    storage.write(f"{folder}/in.jsonl", LINES + as_lines(numbered(300, 301)))
    second = again()

    assert second.num_done_before == len(first.entries) - 1
    output = storage.read(f"{folder}/out/out.jsonl")
    assert [json.loads(line) for line in output.splitlines()] == numbered(0, 301)
