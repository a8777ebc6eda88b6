"""Two channels with recordings and people of the same names: nothing of one is taken for the other's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from curator_audio.cli import main
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.speech import (
    NpzReaderStage,
    NpzWriterStage,
    PairReaderStage,
    RecordingReaderStage,
    SegmenterStage,
    SegmentParquetReaderStage,
    SegmentParquetWriterStage,
    WebDatasetReaderStage,
    WebDatasetWriterStage,
)
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.segments import RATE, FakeCodecStage, segment

CONTAINERS: dict[str, tuple[Callable[[str], Any], Callable[[str], Any]]] = {
    "parquet": (SegmentParquetReaderStage, SegmentParquetWriterStage),
    "npz": (NpzReaderStage, NpzWriterStage),
    "webdataset": (WebDatasetReaderStage, WebDatasetWriterStage),
}
NUMBERS = {"news": 3, "talks": 4}
NUM_PAIRS = 3 * 2 + 4 * 3
OLD = [
    segment(
        f"ep1_seg_{number}",
        duration_sec=1.0,
        text=f"{channel} {number}",
        channel=channel,
        audio_id="ep1",
        speaker_id="ep1/SPEAKER_00",
        start=1.5 * number,
        end=1.5 * number + 1,
        codes=[number, 7],
    )
    for channel, count in NUMBERS.items()
    for number in range(count)
]
"""Segments of both channels with ids as earlier releases gave them, which do not tell the channel."""


def run(name: str, source: Path | str, out: Path, *overrides: str) -> int:
    return main(["--config-name", name, "executor=local", f"input_path={source}", f"output_dir={out}", *overrides])


def rows(folder: Path) -> list[Record]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def drawn(folder: Path | str) -> list[Record]:
    reader = PairReaderStage(str(folder))
    return [pair for partition in reader.partitions() for batch in reader.process(partition) for pair in batch.records]


def mixed(pairs: list[Record]) -> list[Record]:
    """Pairs of segments of two channels, as their texts tell."""
    return [pair for pair in pairs if pair["reference_text"].split()[0] != pair["target_text"].split()[0]]


def write_old(folder: Path, container: str) -> None:
    writer = CONTAINERS[container][1](str(folder))
    suffix = {"parquet": "parquet", "webdataset": "tar"}.get(container, "")
    writer.write(Storage(), f"{folder}/0.{suffix}", [AudioBatch(OLD)])
    assert not writer.observed.quarantined


@pytest.mark.parametrize("container", CONTAINERS)
def test_from_recordings_to_pairs(container: str, tmp_path: Path) -> None:
    entries = []
    for channel, count in NUMBERS.items():
        (tmp_path / channel).mkdir()
        sound = np.random.default_rng(count).uniform(-0.5, 0.5, 7 * RATE).astype(np.float32)
        soundfile.write(tmp_path / channel / "ep1.wav", sound, RATE)
        said = [
            {"start": 1.5 * k, "end": 1.5 * k + 1, "speaker": "SPEAKER_00", "text": f"{channel} {k}"}
            for k in range(count)
        ]
        entries.append({"audio_filepath": f"{channel}/ep1.wav", "segments": said})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    reader, writer = CONTAINERS[container]
    log = str(tmp_path / "log")

    made = Pipeline(
        "codes",
        [
            RecordingReaderStage(f"{tmp_path}/m.jsonl"),
            SegmenterStage(),
            FakeCodecStage(log),
            writer(f"{tmp_path}/codes/data"),
        ],
    ).run(LocalExecutor(), output_dir=f"{tmp_path}/codes")
    assert (made.num_output_records, made.quarantined) == (7, {})
    dataset = [reader(f"{tmp_path}/codes/data"), SegmentParquetWriterStage(f"{tmp_path}/dataset/data")]
    Pipeline("dataset", dataset).run(LocalExecutor(), output_dir=f"{tmp_path}/dataset")

    found = rows(tmp_path / "dataset" / "data")
    ids = [f"{channel}/ep1_seg_{k}" for channel, count in NUMBERS.items() for k in range(count)]
    assert sorted(row["segment_id"] for row in found) == ids
    assert {row["speaker_id"] for row in found} == {"news/ep1/SPEAKER_00", "talks/ep1/SPEAKER_00"}
    assert {row["audio_id"] for row in found} == {"ep1"}
    pairs = drawn(tmp_path / "dataset" / "data")
    assert len(pairs) == NUM_PAIRS and mixed(pairs) == []


@pytest.mark.parametrize("container", CONTAINERS)
def test_ids_of_an_earlier_release(container: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_old(tmp_path / "in", container)
    assert run("dataset", tmp_path / "in", tmp_path / "dataset", f"input={container}") == 0
    assert len(rows(tmp_path / "dataset" / "data")) == 7
    capsys.readouterr()

    assert run("pairs", tmp_path / "dataset" / "data", tmp_path / "pairs") == 0
    told = capsys.readouterr()
    pairs = rows(tmp_path / "pairs" / "data")
    assert len(pairs) == NUM_PAIRS and mixed(pairs) == []
    assert "segments_of_the_same_id" not in told.out
    assert "1 speaker_id(s) such as 'ep1/SPEAKER_00' are in several channels; pairs stay within a channel" in told.err

    if container != "npz":  # which do not tell when a segment starts
        overrides = [f"input={container}", "stages.3.speaker_field=null"]
        assert run("interleave_segments", tmp_path / "in", tmp_path / "documents", *overrides) == 0
        documents = rows(tmp_path / "documents" / "data")
        assert [(row["original_path"], row["book_id"], row["num_segments"]) for row in documents] == [
            ("ep1", "news", 3),
            ("ep1", "talks", 4),
        ]
        assert all(documents[0]["text_first"].count(f"news {k}<") == 1 for k in range(3))
        assert "talks" not in documents[0]["text_first"]


def test_channels_that_are_mapped_to_one(tmp_path: Path) -> None:
    """People that were told apart by their recording still are; one who is named is one."""
    write_old(tmp_path / "in", "parquet")
    mapping = "channel_mapping={news: all, talks: all}"
    assert run("dataset", tmp_path / "in", tmp_path / "one", mapping) == 0
    found = rows(tmp_path / "one" / "data")
    assert {row["channel"] for row in found} == {"all"}
    assert len({row["segment_id"] for row in found}) == 7
    assert {(row["audio_id"], row["speaker_id"]) for row in found} == {
        ("news/ep1", "news/ep1/SPEAKER_00"),
        ("talks/ep1", "talks/ep1/SPEAKER_00"),
    }
    pairs = drawn(tmp_path / "one" / "data")
    assert len(pairs) == NUM_PAIRS and mixed(pairs) == []

    writer = SegmentParquetWriterStage(f"{tmp_path}/anna")
    anna = [{**record, "speaker_id": "anna"} for record in OLD]
    writer.write(Storage(), f"{tmp_path}/anna/0.parquet", [AudioBatch(anna)])
    assert len(drawn(tmp_path / "anna")) == NUM_PAIRS
    assert run("dataset", tmp_path / "anna", tmp_path / "hers", mapping) == 0
    pairs = drawn(tmp_path / "hers" / "data")
    assert len(pairs) == 7 * 6 and len(mixed(pairs)) == 2 * 3 * 4


def test_files_of_one_name_are_not_written_over_each_other_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here segments are numbered anew in every shard, and have no channel."""
    writer = SegmentParquetWriterStage(f"{tmp_path}/in")
    for shard in "ab":
        records = [segment(f"{k}", channel=None, text=shard, duration_sec=0.1 + (shard == "b") / 10) for k in range(2)]
        writer.write(Storage(), f"{tmp_path}/in/{shard}.parquet", [AudioBatch(records)])

    def copied(out: str) -> Any:
        stages = [SegmentParquetReaderStage(f"{tmp_path}/in"), NpzWriterStage(f"{tmp_path}/{out}")]
        return Pipeline("copy", stages).run(LocalExecutor(), output_dir=f"{tmp_path}/{out}_run")

    for _ in range(2):  # also when it is said once more
        result = copied("out")
        assert result.exit_status == 1
        assert list(result.failures.values()) == [
            f"{tmp_path}/out/0.npz is also what partition 000000-a has written: two records have one name; rename one"
        ]

    other = [segment(f"b{k}", channel=None) for k in range(2)]
    writer.write(Storage(), f"{tmp_path}/in/b.parquet", [AudioBatch(other)])
    assert copied("out").exit_status == 0 and len(list((tmp_path / "out").glob("*.npz"))) == 4
