"""Datasets for ``load_from_disk``: the rows of the shards, written again only where those are new or changed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from curator_audio.errors import ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts, SaveToDisk
from curator_audio.finalizers import save_to_disk as module
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.io import ManifestWriterStage
from curator_audio.stages.speech import SegmentParquetReaderStage, SegmentParquetWriterStage
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, segment_record
from curator_audio.stages.speech.sound import audio_field
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.extras import needs

COLUMNS = ["segment_id", "text", "codes", "duration_sec"]


def segment(name: str, number: int, **more: Any) -> Record:
    return segment_record(
        **{"segment_id": f"{name}_seg_{number}", "text": f"text {number}", "codes": [number, 7], "duration_sec": 2.0}
        | more
    )


def write_shard(folder: Path | str, name: str, segments: list[Record]) -> None:
    SegmentParquetWriterStage(str(folder)).write(Storage(), f"{folder}/{name}.parquet", [AudioBatch(segments)])


def saving(source: Path | str, out: Path | str, path: str | None, columns: list[str] | None = None) -> Pipeline:
    writer = SegmentParquetWriterStage(f"{out}/data", columns or COLUMNS)
    return Pipeline("dataset", [SegmentParquetReaderStage(str(source)), writer], after=[SaveToDisk(path)])


def save(source: Path | str, out: Path | str, path: str | None, overwrite: bool = False) -> None:
    saving(source, out, path).run(LocalExecutor(), output_dir=str(out), overwrite=overwrite)


def loaded(path: Path | str, **options: Any) -> list[Record]:
    datasets = needs("datasets")
    rows: list[Record] = datasets.load_from_disk(str(path), **options).to_list()
    return rows


def files(path: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in path.iterdir()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two shards of three segments."""
    for name in ("a", "b"):
        write_shard(tmp_path / "in", name, [segment(name, number) for number in range(3)])
    return tmp_path / "in"


EXPECTED = [
    {"segment_id": f"{name}_seg_{number}", "text": f"text {number}", "codes": [number, 7], "duration_sec": 2.0}
    for name in "ab"
    for number in range(3)
]


def test_the_rows_are_those_of_the_shards(source: Path, tmp_path: Path) -> None:
    save(source, tmp_path / "out", f"{tmp_path}/saved")
    assert loaded(tmp_path / "saved") == EXPECTED


def test_it_is_what_datasets_itself_would_have_written(source: Path, tmp_path: Path) -> None:
    datasets = needs("datasets")
    out = tmp_path / "out"
    saving(source, out, f"{tmp_path}/saved", list(SEGMENT_FIELDS)).run(LocalExecutor(), output_dir=str(out))
    shards = datasets.load_dataset(
        "parquet", data_files=f"{out}/data/*.parquet", split="train", cache_dir=str(tmp_path / "cache")
    )
    shards.save_to_disk(f"{tmp_path}/theirs")
    ours = datasets.load_from_disk(f"{tmp_path}/saved")
    assert ours.features == shards.features == datasets.load_from_disk(f"{tmp_path}/theirs").features
    assert ours.features["codes"] == datasets.List(datasets.Value("int32"))
    assert isinstance(ours.features["audio"], datasets.Audio)
    state, their_state = (json.loads((tmp_path / who / "state.json").read_text()) for who in ("saved", "theirs"))
    assert state.keys() == their_state.keys()
    differing = {key for key in state if state[key] != their_state[key]}
    assert differing == {"_data_files", "_fingerprint", "_split"}
    features = [json.loads((tmp_path / w / "dataset_info.json").read_text())["features"] for w in ("saved", "theirs")]
    assert features[0] == features[1]


def test_sound_comes_along(tmp_path: Path) -> None:
    datasets = needs("datasets")
    samples = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)
    write_shard(tmp_path / "in", "a", [segment("a", 0, audio=audio_field(samples, 16000, "a_seg_0"))])
    out = tmp_path / "out"
    saving(tmp_path / "in", out, f"{tmp_path}/saved", ["audio"]).run(LocalExecutor(), output_dir=str(out))
    dataset = datasets.load_from_disk(f"{tmp_path}/saved").cast_column("audio", datasets.Audio(decode=False))
    sound = dataset[0]["audio"]
    assert sound["path"] == "a_seg_0.flac"
    assert np.abs(soundfile.read(io.BytesIO(sound["bytes"]))[0] - samples).max() <= 2**-15


def test_row_groups_become_record_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_audio.stages.io.parquet_shards.MAX_ROW_GROUP_RECORDS", 2)
    write_shard(tmp_path / "in", "a", [segment("a", number) for number in range(5)])
    save(tmp_path / "in", tmp_path / "out", f"{tmp_path}/saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    with arrow.open("rb") as file:
        assert [len(batch) for batch in pa.ipc.open_stream(file)] == [2, 2, 1]


# Again --------------------------------------------------------------------------------------------------------


def test_nothing_new_writes_nothing(source: Path, tmp_path: Path) -> None:
    save(source, tmp_path / "out", f"{tmp_path}/saved")
    before = files(tmp_path / "saved")
    save(source, tmp_path / "out", f"{tmp_path}/saved")
    assert files(tmp_path / "saved") == before


def test_only_new_and_changed_shards_are_written_again(source: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    save(source, tmp_path / "out", str(saved))
    before = files(saved)

    write_shard(source, "c", [segment("c", 0)])
    save(source, tmp_path / "out", str(saved))
    grown = files(saved)
    assert {name for name in before if before[name] != grown[name]} == {"state.json", "dataset_info.json"}
    assert (len(grown), len(loaded(saved))) == (5, 7)

    write_shard(source, "a", [segment("a", 9)])
    save(source, tmp_path / "out", str(saved))
    assert sorted(row["segment_id"] for row in loaded(saved)) == [
        "a_seg_9", "b_seg_0", "b_seg_1", "b_seg_2", "c_seg_0"
    ]  # fmt: skip
    assert len(files(saved)) == 5, "the file of the old shard is gone"


def test_a_lost_file_is_written_again(source: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    save(source, tmp_path / "out", str(saved))
    before = files(saved)
    sorted(saved.glob("*.arrow"))[0].unlink()
    save(source, tmp_path / "out", str(saved))
    assert files(saved).keys() == before.keys()
    assert loaded(saved) == EXPECTED


def test_killed_half_way_the_old_dataset_is_whole_and_the_new_one_is_finished_later(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "saved"
    save(source, tmp_path / "out", str(saved))
    write_shard(source, "c", [segment("c", 0)])
    write_shard(source, "d", [segment("d", 0)])
    write = module._write_arrow

    def killed_at_the_second(context: Any, part: Any, path: str) -> int:
        if "-d-" in path:
            (saved / ".d.arrow.0123456789ab.tmp").write_bytes(b"half of it")
            raise KeyboardInterrupt
        return write(context, part, path)

    monkeypatch.setattr(module, "_write_arrow", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        save(source, tmp_path / "out", str(saved))
    assert loaded(saved) == EXPECTED
    monkeypatch.undo()
    half = files(saved)

    save(source, tmp_path / "out", str(saved))
    assert [row["segment_id"] for row in loaded(saved)[6:]] == ["c_seg_0", "d_seg_0"]
    whole = files(saved)
    assert len(whole) == 6, "four shards and two JSON files"
    assert all(whole[name] == half[name] for name in whole if name.endswith(".arrow") and "-d-" not in name)


def test_killed_the_first_time_nothing_stays_of_an_overwritten_run(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, out = tmp_path / "saved", tmp_path / "out"
    monkeypatch.setattr(module, "_state", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(source, out, str(saved))
    assert len(list(saved.glob("*.arrow"))) == 2
    monkeypatch.undo()
    write_shard(source, "a", [segment("a", 9)])
    save(source, out, str(saved), overwrite=True)
    assert (len(list(saved.glob("*.arrow"))), len(loaded(saved))) == (2, 4)


def test_on_s3(source: Path, tmp_path: Path, s3_bucket: str) -> None:
    for shard in source.iterdir():
        Storage().write(f"{s3_bucket}/in/{shard.name}", shard.read_bytes())
    save(f"{s3_bucket}/in", f"{s3_bucket}/out", f"{s3_bucket}/saved")
    (tmp_path / "copy").mkdir()
    for file in Storage().list_files(f"{s3_bucket}/saved"):
        (tmp_path / "copy" / file.path.rpartition("/")[2]).write_bytes(Storage().read(file.path))
    assert loaded(tmp_path / "copy") == EXPECTED


# Mistakes -----------------------------------------------------------------------------------------------------


def test_a_dataset_of_somebody_else_is_not_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "state.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"/mine holds a dataset already, and not from here; move it"):
        save(source, tmp_path / "out", f"{tmp_path}/mine")
    assert files(tmp_path / "mine").keys() == {"state.json"}
    save(source, tmp_path / "out", f"{tmp_path}/other")
    assert loaded(tmp_path / "other") == EXPECTED


def test_null_writes_nothing(source: Path, tmp_path: Path) -> None:
    save(source, tmp_path / "out", None)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def test_what_it_cannot_follow_is_said_before_the_run(source: Path, tmp_path: Path) -> None:
    stages = [SegmentParquetReaderStage(str(source)), ManifestWriterStage(f"{tmp_path}/out.jsonl")]
    with pytest.raises(ConfigurationError, match=r"save_to_disk takes Parquet shards, and '.*' writes \*.jsonl"):
        Pipeline("dataset", stages, after=[JoinParts(), SaveToDisk(f"{tmp_path}/saved")]).plan()
    Pipeline("dataset", stages, after=[JoinParts(), SaveToDisk(None)]).plan()
    with pytest.raises(ConfigurationError, match=r"save_to_disk writes to .*/out/data, where the shards are"):
        saving(source, tmp_path / "out", f"{tmp_path}/out/data/").plan()
    with pytest.raises(ConfigurationError, match="path is ''; give a folder or prefix, or null"):
        SaveToDisk("")


def test_training_reads_text_and_codes(source: Path, tmp_path: Path) -> None:
    """As fine-tuning of a codec language model does: text, then the codes as tokens of their own."""
    datasets = needs("datasets")
    save(source, tmp_path / "out", f"{tmp_path}/saved")
    dataset = datasets.load_from_disk(f"{tmp_path}/saved").select_columns(["text", "codes"])

    def tokenizable(sample: dict[str, Any]) -> dict[str, str]:
        codes = "".join(f"<|speech_{code}|>" for code in sample["codes"])
        return {"prompt": f"user: say {sample['text']}\nassistant:<|SPEECH_START|>{codes}<|SPEECH_END|>"}

    prompts = dataset.map(tokenizable, remove_columns=["text", "codes"])
    assert prompts[1]["prompt"] == (
        "user: say text 1\nassistant:<|SPEECH_START|><|speech_1|><|speech_7|><|SPEECH_END|>"
    )
    assert len(prompts) == 6
