"""From trees of segments, or from segments with codes, to documents that can be loaded."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curator_audio.cli import main
from curator_audio.stages.speech.npz_writer import NpzWriterStage
from curator_audio.stages.speech.parquet_writer import SegmentParquetWriterStage
from curator_audio.stages.speech.segments import segment_record
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch
from tests.conftest import run_cli
from tests.segments import npz, segment
from tests.stages.interleave.trees import segment_json, write_tree

FOLDERS = {"1472/1437": 3, "1472/1438": 1, "26/495": 2, "3/1": 2}


def read(path: Path | str) -> list[dict[str, Any]]:
    with Storage().open(str(path)) as file:
        rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


def metrics(out: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return values


def interleave(root: Path | str, *overrides: str, executor: str = "local", expected: int = 0) -> str:
    command = ["--config-name", "interleave", f"executor={executor}", f"input_path={root}/tree"]
    done = run_cli(*command, f"list_dir={root}/lists", f"output_dir={root}/out", *overrides)
    assert done.returncode == expected, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_tree(tmp_path / "tree", FOLDERS)
    done = run_cli(
        "--config-name",
        "batch_lists",
        f"input_path={tmp_path}/tree",
        f"output_dir={tmp_path}/lists",
        "stages.0.speakers_per_batch=2",
    )
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_lists_then_documents_then_load_dataset(root: Path) -> None:
    import datasets

    assert sorted(path.name for path in (root / "lists").glob("*.txt")) == [
        "train-0000-of-0002.txt",
        "train-0001-of-0002.txt",
    ]
    assert (root / "lists/train-0000-of-0002.txt").read_text() == "1472-1437\n1472-1438\n26-495\n"
    interleave(root)
    assert sorted(path.name for path in (root / "out/data").iterdir()) == [
        "train-0000-of-0002.parquet",
        "train-0001-of-0002.parquet",
    ]
    rows = read(root / "out/data/train-0000-of-0002.parquet")
    assert [(row["speaker_id"], row["book_id"], row["num_segments"]) for row in rows] == [
        ("1472", "1437", 3),
        ("1472", "1438", 1),
        ("26", "495", 2),
    ]
    assert rows[1]["audio_first"] == (
        "<|begin_of_text|><|audio_start|><|speech_0|><|speech_1|><|speech_2|><|audio_end|>"
        "<|text_start|>segment 0 of 1472<|text_end|><|end_of_text|>"
    )
    dataset = datasets.load_dataset(
        "parquet", data_files=f"{root}/out/data/*.parquet", split="train", cache_dir=root / "c"
    )
    assert dataset.column_names == [
        "original_path", "text_first", "audio_first", "num_segments", "speaker_id", "book_id",
    ]  # fmt: skip
    assert len(dataset) == 4 and dataset[3]["speaker_id"] == "3"
    assert dataset.features["num_segments"].dtype == "int32"


def test_only_what_changed_is_done_again(root: Path) -> None:
    assert "done" not in interleave(root).split("Partitions")[-1]
    assert "Partitions: 2 done, 2 of them by an earlier run" in interleave(root)
    path = root / "tree/3/1/3_1_000001.json"
    path.write_text(json.dumps(segment_json("3", "1", 1, transcript="changed")))
    assert "Partitions: 2 done, 1 of them by an earlier run" in interleave(root)
    assert "<|text_start|>changed<|text_end|>" in read(root / "out/data/train-0001-of-0002.parquet")[0]["text_first"]
    (root / "tree/26/495/26_495_000001.json").unlink()
    assert "Partitions: 2 done, 1 of them by an earlier run" in interleave(root)
    assert read(root / "out/data/train-0000-of-0002.parquet")[-1]["num_segments"] == 1
    (root / "lists/more.txt").write_text("3-1\n")
    assert "Partitions: 3 done, 2 of them by an earlier run" in interleave(root)


def test_when_the_lists_are_others_so_are_the_files(root: Path) -> None:
    interleave(root)
    write_tree(root / "tree", {"1000/1": 1, "2000/1": 1})
    command = ["--config-name", "batch_lists", f"input_path={root}/tree", f"output_dir={root}/lists"]
    assert run_cli(*command, "stages.0.speakers_per_batch=2").returncode == 0
    interleave(root)
    assert sorted(path.name for path in (root / "lists").glob("*.txt")) == [
        f"train-000{number}-of-0003.txt" for number in range(3)
    ]
    files = sorted((root / "out/data").iterdir())
    assert [path.name for path in files] == [f"train-000{number}-of-0003.parquet" for number in range(3)]
    assert sum(len(read(path)) for path in files) == 6


def test_what_is_read_is_neither_written_to_nor_deleted(root: Path) -> None:
    command = ["--config-name", "interleave", "executor=local", f"input_path={root}/tree", f"list_dir={root}/lists"]
    for out, said in (("lists", "lies in"), ("tree/1472/1437", "lies in")):
        done = run_cli(*command, f"output_dir={root}/{out}", "overwrite=true")
        assert done.returncode == 2 and said in done.stderr, done.stderr
    done = run_cli(*command, f"output_dir={root}/lists", f"output_path={root}/documents", "overwrite=true")
    assert done.returncode == 2 and "overwrite=true would delete" in done.stderr, done.stderr
    assert len(list((root / "lists").glob("*.txt"))) == 2
    done = run_cli("--config-name", "batch_lists", f"input_path={root}/tree", f"output_dir={root}/tree/lists")
    assert done.returncode == 2 and "lies in" in done.stderr
    assert not (root / "tree/lists/_ledger").exists()


def test_the_same_bytes_from_ray_actors_and_with_other_sizes_of_work(root: Path, ray_session: None) -> None:
    from curator_audio.executors.local import LocalExecutor
    from curator_audio.executors.ray_actors import RayActorsExecutor
    from curator_audio.pipeline.config import build_pipeline, load_config

    written = []
    for number, executor in enumerate((LocalExecutor(), RayActorsExecutor(num_workers=2))):
        out = root / f"out{number}"
        overrides = [f"input_path={root}/tree", f"list_dir={root}/lists", f"output_dir={out}"]
        build_pipeline(load_config("interleave", None, overrides)).run(executor, output_dir=str(out))
        written.append({path.name: path.read_bytes() for path in (out / "data").iterdir()})
    assert written[0] == written[1] and len(written[0]) == 2


def test_bad_input_is_told_with_its_file(root: Path) -> None:
    files = sorted((root / "tree/1472/1437").iterdir())
    files[0].write_bytes(b"")
    files[1].write_text('{"entry_id": ')
    twice = json.loads(files[2].read_text())
    (root / "tree/1472/1437/z.json").write_text(json.dumps(twice))
    for name, change in (
        ("a", {"transcript": None}),
        ("b", {"end_time": float("inf")}),
        ("c", {"transcript": "<|text_end|>"}),
    ):
        (root / f"tree/26/495/{name}.json").write_text(
            json.dumps({**segment_json("26", "495", 9), "entry_id": name} | change)
        )
    (root / "lists/bad.txt").write_bytes(b"..-..\r\n\r\n99-99\r\n../../etc-passwd\r\nnothing\r\n3-1\r\n")
    told = interleave(root)
    assert metrics(root / "out")["quarantined"] == {
        "path_leaves_root": 2,
        "invalid_line": 1,
        "empty_file": 1,
        "invalid_json": 1,
        "duplicate_id": 1,
        "missing_field": 1,
        "invalid_time": 1,
        "contains_token": 1,
    }
    assert f"{root}/lists/bad.txt: 1 folder(s) missing or empty: 99-99" in told
    assert "folders_missing_or_empty: 1" in told and "Traceback" not in told
    lines = [line for path in (root / "out/quarantine").iterdir() for line in path.read_text().splitlines()]
    sources = {(bad["reason"], bad["source"].removeprefix(f"{root}/")) for bad in map(json.loads, lines)}
    assert ("empty_file", "tree/1472/1437/1472_1437_000000.json") in sources
    assert ("duplicate_id", "tree/1472/1437/z.json") in sources
    assert ("contains_token", "tree/26/495/c.json") in sources
    assert ("path_leaves_root", "lists/bad.txt") in sources
    assert [row["num_segments"] for row in read(root / "out/data/train-0000-of-0002.parquet")] == [1, 1, 2]
    assert [row["speaker_id"] for row in read(root / "out/data/bad.parquet")] == ["3"]


def test_raise_stops_at_the_first_bad_file(root: Path) -> None:
    path = root / "tree/26/495/26_495_000000.json"
    path.write_text("{}")
    told = interleave(root, "on_error=raise", expected=1)
    assert f"error: {path}: [interleaver] missing_field: the record has no 'original_path'" in told
    assert "Traceback" not in told


def test_a_list_that_yields_nothing_makes_a_file_of_no_rows(root: Path) -> None:
    (root / "lists/none.txt").write_text("99-99\n")
    (root / "lists/blank.txt").write_text("\r\n")
    interleave(root)
    for name in ("none", "blank"):
        table = pq.read_table(root / f"out/data/{name}.parquet")
        assert table.num_rows == 0 and table.schema.names[:2] == ["original_path", "text_first"]


def test_from_a_store_to_a_store(s3_bucket: str) -> None:
    write_tree(f"{s3_bucket}/tree", FOLDERS)
    storage_options = ["executor=local"]
    done = run_cli(
        "--config-name", "batch_lists", f"input_path={s3_bucket}/tree", f"output_dir={s3_bucket}/lists",
        "stages.0.speakers_per_batch=2", *storage_options, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run_cli(
        "--config-name", "interleave", f"input_path={s3_bucket}/tree", f"list_dir={s3_bucket}/lists",
        f"output_dir={s3_bucket}/out", *storage_options, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["num_segments"] for row in read(f"{s3_bucket}/out/data/train-0000-of-0002.parquet")] == [3, 1, 2]
    assert [row["num_segments"] for row in read(f"{s3_bucket}/out/data/train-0001-of-0002.parquet")] == [2]


# Segments with codes -----------------------------------------------------------------------------------------


def write_segments(folder: Path, name: str, *segments: dict[str, Any]) -> None:
    records = [segment_record(channel="news", speaker_id="anna", **segment) for segment in segments]
    SegmentParquetWriterStage(str(folder)).write(Storage(), f"{folder}/{name}.parquet", [AudioBatch(records)])


def test_segments_with_codes(tmp_path: Path) -> None:
    def segment(audio_id: str, number: int) -> dict[str, Any]:
        times = {"start": 2.0 * number, "end": 2.0 * number + 1.0, "duration_sec": 1.0}
        return {
            "segment_id": f"{audio_id}_seg_{number}",
            "audio_id": audio_id,
            "text": f"t{number}",
            "codes": [number],
            **times,
        }

    write_segments(tmp_path / "codes", "0", segment("b", 1), segment("a", 0), segment("b", 0))
    write_segments(tmp_path / "codes", "1", segment("b", 2), segment("c", 0) | {"codes": [0], "text": None})
    done = run_cli(
        "--config-name",
        "interleave_segments",
        "executor=local",
        f"input_path={tmp_path}/codes",
        f"output_dir={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    (shard,) = (tmp_path / "out/data").iterdir()
    assert [(row["original_path"], row["num_segments"], row["text_first"]) for row in read(shard)] == [
        (
            "b",
            3,
            "<|begin_of_text|><|text_start|>t0<|text_end|><|audio_start|><|speech_0|><|audio_end|>"
            "<|text_start|>t1<|text_end|><|audio_start|><|speech_1|><|audio_end|>"
            "<|text_start|>t2<|text_end|><|audio_start|><|speech_2|><|audio_end|><|end_of_text|>",
        ),
        (
            "a",
            1,
            "<|begin_of_text|><|text_start|>t0<|text_end|><|audio_start|><|speech_0|><|audio_end|><|end_of_text|>",
        ),
    ]
    assert metrics(tmp_path / "out")["quarantined"] == {"missing_field": 1}


def test_npz_files_become_documents(tmp_path: Path) -> None:
    """Those that tell their times, and others, of which the names tell the order."""
    written = [segment(f"new_seg_{k}", text=f"t{k}", start=9.0 - k, end=9.5 - k, codes=[k]) for k in (0, 1, 10)]
    NpzWriterStage(f"{tmp_path}/npz").write(Storage(), "", [AudioBatch(written, "elsewhere")])
    for k in (0, 2, 10):
        data = npz(text=f"t{k}", codes=[k], speaker_id="anna", duration_sec=0.1)
        (tmp_path / f"npz/news/old_seg_{k}.npz").write_bytes(data)
    run = ["executor=local", "--config-name"]
    assert main([*run, "dataset", "input=npz", f"input_path={tmp_path}/npz", f"output_dir={tmp_path}/a"]) == 0
    assert main([*run, "interleave_segments", f"input_path={tmp_path}/a/data", f"output_dir={tmp_path}/b"]) == 0
    found = {row["original_path"]: row for path in (tmp_path / "b/data").iterdir() for row in read(path)}
    texts = {name: re.findall(r"<\|text_start\|>(\w+)", row["text_first"]) for name, row in found.items()}
    assert texts == {"new": ["t10", "t1", "t0"], "old": ["t0", "t2", "t10"]}
    told = metrics(tmp_path / "b")
    assert told["quarantined"] == {} and "segments_ordered_by_number" in json.dumps(told)


def test_a_segment_that_comes_later_is_in_the_document_of_its_recording(tmp_path: Path) -> None:
    def write(*names: str) -> None:
        for name in names:
            path = tmp_path / f"in/news/{name}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(npz(0.05, text=f"t{name[-1]}", codes=[1], speaker_id="anna"))

    def documents(out: str, *overrides: str) -> list[tuple[str, list[str]]]:
        run = ["executor=local", "--config-name", "interleave_segments", "input=npz", f"input_path={tmp_path}/in"]
        assert main([*run, f"output_dir={tmp_path}/{out}", *overrides]) == 0
        rows = [row for path in sorted((tmp_path / out / "data").iterdir()) for row in read(path)]
        return [(row["original_path"], re.findall(r"<\|text_start\|>(\w+)", row["text_first"])) for row in rows]

    write("a_seg_0", "a_seg_2", "b_seg_0")
    assert documents("out") == [("a", ["t0", "t2"]), ("b", ["t0"])]
    write("a_seg_1", "b_seg_1")
    whole = [("a", ["t0", "t1", "t2"]), ("b", ["t0", "t1"])]
    assert documents("out") == whole == documents("fresh")
    write("c_seg_0")
    assert documents("out") == [*whole, ("c", ["t0"])]


def test_memory_is_bounded_by_the_largest_folder(tmp_path: Path) -> None:
    """However many folders a list names: here 40 of 2 MB."""
    import tracemalloc

    from curator_audio.stages.interleave import InterleaverStage, SegmentJsonReaderStage
    from curator_audio.stages.io import ParquetWriterStage

    audio = "".join(f"<|speech_{code}|>" for code in range(1000))
    for folder in range(40):
        path = tmp_path / f"tree/1/{folder}"
        path.mkdir(parents=True)
        for number in range(100):
            text = json.dumps(segment_json("1", str(folder), number, audio_str=audio))
            (path / f"{number}.json").write_text(text)
    (tmp_path / "list.txt").write_text("".join(f"1-{folder}\n" for folder in range(40)))
    reader = SegmentJsonReaderStage(f"{tmp_path}/tree", f"{tmp_path}/list.txt")
    interleaver = InterleaverStage()
    writer = ParquetWriterStage(str(tmp_path), row_group_mb=1.0)
    (partition,) = reader.partitions()
    writer.write(Storage(), f"{tmp_path}/first.parquet", [AudioBatch([{"num_segments": 1}])])  # which imports a lot
    tracemalloc.start()
    batches = (interleaver.process(batch) for batch in reader.process(partition))
    (part,) = writer.write(Storage(), f"{tmp_path}/documents.parquet", batches)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    folder_bytes = 100 * len(audio)
    assert part.num_records == 40 and pq.read_metadata(part.path).num_rows == 40
    assert peak < 8 * folder_bytes, "a folder as records and as documents, and the one before it"
