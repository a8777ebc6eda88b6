"""One rule for text that is no Unicode, and for numbers that are none, in every container that is read or written."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.cli import main
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.speech import (
    NpzReaderStage,
    NpzWriterStage,
    SegmentParquetReaderStage,
    SegmentParquetWriterStage,
    WebDatasetReaderStage,
    WebDatasetWriterStage,
)
from curator_audio.storage.valid_text import Repairs, is_valid, valid_text, with_finite_numbers, with_valid_text
from curator_audio.tasks import Record
from tests.extras import needs
from tests.segments import RATE, tone

HALF, NOT_UTF8 = "a cut emoji \ud83d", b"caf\xe9"
REPAIRED = "a cut emoji \ufffd"


@given(st.text(st.one_of(st.characters(), st.characters(categories=["Cs"]))))
def test_any_text_becomes_one_that_can_be_written(text: str) -> None:
    assert is_valid(valid_text(text))
    assert valid_text(valid_text(text)) == valid_text(text)
    assert valid_text(text) == text or not is_valid(text)
    pairs = len(text) - len(valid_text(text))  # of halves that stood together
    assert pairs <= len([c for c in text if "\ud800" <= c <= "\udbff"])


def test_what_needs_no_repair_is_the_same_object() -> None:
    record = {"text": "naïve \0", "codes": [1, 2], "audio": {"bytes": b"\xff"}, "scores": [0.5, None]}
    repairs = Repairs()
    assert with_valid_text(record, repairs) is record and with_finite_numbers(record, repairs) is record
    assert repairs.as_metrics() == {}


def flac() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(), RATE, format="FLAC")
    return file.getvalue()


def parquet(folder: Path) -> None:
    texts = pa.array([b"good", NOT_UTF8, b"third"], pa.binary()).view(pa.string())
    audio = pa.array([{"bytes": flac(), "path": None}] * 3)
    ids = ["a_seg_0", "a_seg_1", "a_seg_2"]
    pq.write_table(pa.table({"segment_id": ids, "text": texts, "audio": audio}), folder / "a.parquet")


def npz(folder: Path) -> None:
    for index, text in enumerate([np.str_("good"), np.bytes_(NOT_UTF8), np.str_(HALF)]):
        np.savez(folder / f"a_seg_{index}.npz", audio=tone(), text=text)


def webdataset(folder: Path) -> None:
    members = [
        ("a_seg_0.json", b'{"text": "good", "start": NaN}'),
        ("a_seg_1.json", b'{"text": "%s"}' % NOT_UTF8),
        ("a_seg_2.json", json.dumps({"text": HALF}).encode()),
        ("a_seg_3.txt", NOT_UTF8),
        (b"caf\xe9".decode(errors="surrogateescape") + ".json", b'{"text": "good"}'),
    ]
    with tarfile.open(folder / "a.tar", "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name, data in members:
            for member, content in ((name, data), (f"{name.partition('.')[0]}.flac", flac())):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def texts_of(out: Path) -> list[Any]:
    """The texts in an output, whatever its containers."""
    tables = [pq.read_table(path).to_pylist() for path in sorted(out.rglob("*.parquet"))]
    texts = [row["text"] for rows in tables for row in rows]
    for path in sorted(out.rglob("*.npz")):
        with np.load(path) as arrays:
            texts.append(str(arrays["text"]))
    for path in sorted(out.rglob("*.tar")):
        with tarfile.open(path) as archive:
            names = [name for name in archive.getnames() if name.endswith(".json")]
            assert all(map(is_valid, names))
            files = [archive.extractfile(name) for name in names]
            texts += [strictly(file.read())["text"] for file in files if file is not None]
    return texts


def strictly(data: bytes) -> Any:
    """What those make of it who take JSON in UTF-8 and nothing else."""
    orjson.loads(data)
    return json.loads(data.decode(), parse_constant=pytest.fail)


def check_bookkeeping(out: Path) -> dict[str, Any]:
    """Read all that lies beside an output; returns ``metrics.json``."""
    for path in out.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            strictly(line)
    for path in out.rglob("*.json"):
        strictly(path.read_bytes())
    metrics: dict[str, Any] = strictly((out / "metrics.json").read_bytes())
    return metrics


@pytest.mark.parametrize("writer", [SegmentParquetWriterStage, NpzWriterStage, WebDatasetWriterStage])
@pytest.mark.parametrize(
    ("make", "reader", "texts", "num_bad"),
    [
        (parquet, SegmentParquetReaderStage, ["good", "third"], 1),
        (npz, NpzReaderStage, ["good", REPAIRED], 1),
        (webdataset, WebDatasetReaderStage, ["good", REPAIRED, "good"], 2),
    ],
)
def test_segments_of_any_container_follow_the_rule(
    make: Any, reader: Any, texts: list[Any], num_bad: int, writer: Any, tmp_path: Path
) -> None:
    (tmp_path / "in" / "news").mkdir(parents=True)
    make(tmp_path / "in" / "news")
    pipeline = Pipeline("rule", [reader(f"{tmp_path}/in"), writer(f"{tmp_path}/out/data")])
    assert pipeline.run(LocalExecutor(), output_dir=f"{tmp_path}/out").exit_status == 0

    found = texts_of(tmp_path / "out")
    assert sorted(found) == sorted(texts)
    metrics = check_bookkeeping(tmp_path / "out")
    assert metrics["quarantined"] == {"invalid_utf8": num_bad}
    repaired = sum(stage.get("texts_repaired", 0) for stage in metrics["stages"].values())
    assert (repaired > 0) == (REPAIRED in texts)


def test_a_recording_whose_name_is_not_utf8_gives_names_that_are(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    soundfile.write(os.fsencode(f"{tmp_path}/{name}"), tone(1.0), RATE)
    segment = {"start": 0.0, "end": 1.0, "speaker": "a", "text": HALF}
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio_filepath": name, "segments": [segment]}))
    command = ["--config-name=segment", "executor=local", f"manifest_path={tmp_path}/m.jsonl"]
    assert main([*command, f"output_dir={tmp_path}/out"]) == 0

    (path,) = (tmp_path / "out" / "data").rglob("*.parquet")
    (row,) = pq.read_table(path, columns=["segment_id", "audio_id", "text"]).to_pylist()
    assert row == {"segment_id": f"{tmp_path.name}/caf\ufffd_seg_0", "audio_id": "caf\ufffd", "text": REPAIRED}
    metrics = check_bookkeeping(tmp_path / "out")
    assert metrics["stages"]["parquet_writer"]["texts_repaired"] == 1
    assert main([*command, f"output_dir={tmp_path}/out"]) == 0  # and the ledger finds its files again
    assert check_bookkeeping(tmp_path / "out")["partitions"]["done_before"] == 1


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_datasets_loads_what_the_alm_pipeline_writes(suffix: str, tmp_path: Path) -> None:
    datasets = needs("datasets")
    lines = [
        '{"segments": [], "text": "half \\ud83d", "score": NaN, "big": 1e999}',
        '{"segments": [], "text": "na\u00efve", "score": 0.5, "big": 12345678901234567890123}',
        '{"segments": [{"start": NaN, "end": 1.0}], "text": "\\udfff", "score": -Infinity, "big": 1}',
    ]
    (tmp_path / f"in{suffix}").write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "out"
    assert main(["executor=local", f"manifest_path={tmp_path}/in{suffix}", f"output_dir={out}"]) == 0

    metrics = check_bookkeeping(out)
    assert metrics["quarantined"] == {"not_finite": 1}
    writer = metrics["stages"]["alm_manifest_writer"]
    assert (writer["texts_repaired"], writer["numbers_not_finite"]) == (1, 2)
    loaded = datasets.load_dataset("json", data_files=f"{out}/alm_output.jsonl", cache_dir=f"{tmp_path}/cache")
    assert loaded["train"]["text"] == ["half \ufffd", "naïve"]
    assert (loaded["train"]["score"], loaded["train"]["big"]) == ([None, 0.5], [None, 12345678901234567890123.0])


def test_a_figure_that_is_none_is_left_out_of_the_metrics(tmp_path: Path) -> None:
    class Measure(RecordStage):
        name = "measure"

        def process_record(self, record: Record) -> Record:
            self.log_metric("score", record["score"])
            return record

        def derived_metrics(self, totals: Any) -> dict[str, float]:
            return {"mean": float("inf")}

    (tmp_path / "in.jsonl").write_text('{"score": 1.5}\n{"score": NaN}\n{"score": 2}\n')
    stages = [ManifestReaderStage(f"{tmp_path}/in.jsonl"), Measure(), ManifestWriterStage(f"{tmp_path}/out/shards")]
    Pipeline("measured", stages).run(LocalExecutor(), output_dir=f"{tmp_path}/out")
    stage = check_bookkeeping(tmp_path / "out")["stages"]["measure"]
    assert (stage["score"], stage["mean"]) == (3.5, None)
