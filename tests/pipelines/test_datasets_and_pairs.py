"""The pipelines ``dataset`` and ``pairs`` as a user runs them: existing segments in, training data out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curator_audio.cli import main
from curator_audio.stages.speech import NpzWriterStage, SegmentParquetWriterStage, WebDatasetWriterStage
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, segment_record
from curator_audio.stages.speech.sound import audio_field
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.extras import needs

RATE = 8000


def segment(channel: str, number: int) -> Record:
    """Segment ``number`` of a channel's one recording, spoken by one of two speakers."""
    samples = np.sin(np.arange(RATE) / (10 + number)).astype(np.float32) / 2
    segment_id = f"{channel}/show_seg_{number}"
    return segment_record(
        segment_id=segment_id,
        audio_id="show",
        text=f"text {number}",
        speaker_id=f"{channel}/show/spk{number % 2}",
        channel=channel,
        duration_sec=1.0,
        sample_rate=RATE,
        audio=audio_field(samples, RATE, segment_id),
        codes=[number, 65535],
    )


SEGMENTS = {channel: [segment(channel, number) for number in range(6)] for channel in ("news", "talks_-")}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Six small Parquet shards, three a channel."""
    writer = SegmentParquetWriterStage(f"{tmp_path}/shards")
    for channel, segments in SEGMENTS.items():
        for number in range(3):
            batch = AudioBatch(segments[2 * number : 2 * number + 2])
            writer.write(Storage(), f"{tmp_path}/shards/{channel}{number}.parquet", [batch])
    return tmp_path / "shards"


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    writer = NpzWriterStage(f"{tmp_path}/npz")
    writer.write(Storage(), "", [AudioBatch([*SEGMENTS["news"], *SEGMENTS["talks_-"]], "elsewhere")])
    return tmp_path / "npz"


def run(name: str, source: Path | str, out: Path | str, *overrides: str) -> None:
    arguments = ["--config-name", name, "executor=local", f"input_path={source}", f"output_dir={out}"]
    assert main([*arguments, *overrides]) == 0


def rows(out: Path) -> list[Record]:
    """The rows of all shards, in order of the segments."""
    found = [row for path in (out / "data").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return sorted(found, key=lambda row: str(row.get("segment_id")))


# dataset ------------------------------------------------------------------------------------------------------


def test_small_shards_become_large_ones(shards: Path, tmp_path: Path) -> None:
    run("dataset", shards, tmp_path / "out")
    assert len(list((tmp_path / "out" / "data").iterdir())) == 1
    assert rows(tmp_path / "out") == [*SEGMENTS["news"], *SEGMENTS["talks_-"]]


def test_columns_and_channels_are_chosen(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("dataset", shards, out, "columns=[text,codes,channel]", "channels=[talks]", "channel_mapping={talks_-: talks}")
    assert rows(out) == [{"text": f"text {n}", "codes": [n, 65535], "channel": "talks"} for n in range(6)]


def test_npz(npz: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("dataset", npz, out, "input=npz", f"input.sample_rate={RATE}", "input.partition_size_mb=0")
    assert len(list((out / "data").iterdir())) == 2, "a shard a recording"
    found = rows(out)
    assert list(found[0]) == [*SEGMENT_FIELDS, "extra"], "other files may have further fields"
    assert found == [{**segment, "extra": None} for segment in (*SEGMENTS["news"], *SEGMENTS["talks_-"])]


def test_other_channels_of_npz_need_not_be_read(npz: Path, tmp_path: Path) -> None:
    (npz / "talks_-" / "show_seg_0.npz").write_bytes(b"no .npz file")
    run("dataset", npz, tmp_path / "out", "input=npz", "input.channels=[news]", "columns=[segment_id]")
    assert rows(tmp_path / "out") == [{"segment_id": f"news/show_seg_{number}"} for number in range(6)]
    assert not (tmp_path / "out" / "quarantine").exists()


def test_webdataset(tmp_path: Path) -> None:
    writer = WebDatasetWriterStage(f"{tmp_path}/tar")
    writer.write(Storage(), f"{tmp_path}/tar/0.tar", [AudioBatch(SEGMENTS["news"])])
    run("dataset", f"{tmp_path}/tar/0.tar", tmp_path / "out", "input=webdataset", "columns=[segment_id,text,codes]")
    assert rows(tmp_path / "out") == [
        {"segment_id": f"news/show_seg_{n}", "text": f"text {n}", "codes": [n, 65535]} for n in range(6)
    ]


def test_saved_to_disk(shards: Path, tmp_path: Path) -> None:
    datasets = needs("datasets")
    run("dataset", shards, tmp_path / "out", "columns=[segment_id,codes]", f"save_to_disk={tmp_path}/saved")
    dataset = datasets.load_from_disk(f"{tmp_path}/saved")
    assert sorted(dataset["segment_id"]) == [s["segment_id"] for group in SEGMENTS.values() for s in group]
    assert dataset.features["codes"] == datasets.List(datasets.Value("int32"))
    with_parquet = datasets.load_dataset(
        "parquet", data_files=f"{tmp_path}/out/data/*.parquet", split="train", cache_dir=str(tmp_path / "cache")
    )
    assert with_parquet.to_list() == dataset.to_list()


def test_from_s3_to_s3(shards: Path, s3_bucket: str) -> None:
    for path in shards.iterdir():
        Storage().write(f"{s3_bucket}/in/{path.name}", path.read_bytes())
    run("dataset", f"{s3_bucket}/in", f"{s3_bucket}/dataset", "columns=[segment_id,speaker_id,duration_sec,text,codes]")
    run("pairs", f"{s3_bucket}/dataset/data", f"{s3_bucket}/pairs", f"save_to_disk={s3_bucket}/saved")
    metrics = json.loads(Storage().read(f"{s3_bucket}/pairs/metrics.json"))
    assert metrics["num_output_records"] == 4 * 3 * 2
    saved = {file.path.rpartition("/")[2] for file in Storage().list_files(f"{s3_bucket}/saved")}
    assert len(saved) == 3 and {"state.json", "dataset_info.json"} < saved


# pairs --------------------------------------------------------------------------------------------------------


def test_pairs_of_a_dataset(shards: Path, tmp_path: Path, capsys: Any) -> None:
    run("dataset", shards, tmp_path / "dataset")
    capsys.readouterr()
    run("pairs", tmp_path / "dataset", tmp_path / "pairs", "stages.0.max_pairs_per_speaker=4")
    printed = capsys.readouterr().out
    assert "Output entries: 16" in printed
    assert "speakers: 4" in printed
    pairs = rows(tmp_path / "pairs")
    by_id = {row["segment_id"]: row for row in rows(tmp_path / "dataset")}
    for pair in pairs:
        reference, target = by_id[pair["reference_segment_id"]], by_id[pair["target_segment_id"]]
        assert reference["speaker_id"] == target["speaker_id"] == pair["speaker_id"]
        assert reference["segment_id"] != target["segment_id"]
        assert (pair["reference_text"], pair["reference_codes"]) == (reference["text"], reference["codes"])
        assert (pair["target_text"], pair["target_codes"]) == (target["text"], target["codes"])


def test_the_seed_decides_what_is_drawn(shards: Path, tmp_path: Path) -> None:
    drawn = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        run("pairs", shards, tmp_path / out, f"stages.0.seed={seed}", "stages.0.max_pairs_per_speaker=2")
        drawn.append(sorted((p["reference_segment_id"], p["target_segment_id"]) for p in rows(tmp_path / out)))
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_dataset_without_speakers_is_told(shards: Path, tmp_path: Path, capsys: Any) -> None:
    run("dataset", shards, tmp_path / "dataset", "columns=[text,codes]")
    arguments = ["--config-name", "pairs", "executor=local", f"output_dir={tmp_path}/out"]
    assert main([*arguments, f"input_path={tmp_path}/dataset/data"]) == 2
    assert "has no column 'speaker_id', only text, codes; pairs need speaker_id, segment_id" in capsys.readouterr().err
