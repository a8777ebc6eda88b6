"""A field that a stage of one's own adds: from its stage into every container, and from there into all readers."""

from __future__ import annotations

import json
import runpy
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from my_stages import LoudnessStage

from curator_audio import ConfigurationError, LocalExecutor, Pipeline, Record
from curator_audio.cli import main
from curator_audio.stages.io.parquet_shards import ParquetShardWriterStage
from curator_audio.stages.speech import (
    NpzReaderStage,
    RecordingReaderStage,
    SegmenterStage,
    SegmentParquetReaderStage,
    SoundFileReaderStage,
    WebDatasetReaderStage,
)
from curator_audio.stages.speech.schema import segment_schema
from curator_audio.testing import run_stages, tone
from tests.extras import needs
from tests.pipelines.test_alm_shards import read

TUTORIAL = Path(__file__).parent.parent.parent / "tutorials" / "custom_stage"
READERS: dict[str, Any] = {
    "parquet": SegmentParquetReaderStage,
    "npz": NpzReaderStage,
    "webdataset": WebDatasetReaderStage,
    "mp3": SoundFileReaderStage,
}
"""The readers of the containers, which ``output=`` calls by these names."""
LOUDNESS = {
    "news/jingle_seg_0": -12.0,
    "news/jingle_seg_1": -12.0,
    "news/street_seg_0": -26.04,
    "news/street_seg_1": -25.99,
}


def run(name: str, *overrides: object) -> int:
    return main(["--config-name", name, "executor=local", *map(str, overrides)])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    runpy.run_path(str(TUTORIAL / "make_recordings.py"))["main"](str(folder))
    return folder


@pytest.fixture(scope="module")
def outputs(recordings: Path) -> Path:
    """What the tutorial's pipeline makes of the recordings, in every container."""
    for container in READERS:
        values = [f"manifest_path={recordings}/manifest.jsonl", f"output_dir={recordings}/{container}"]
        assert run("pipeline", "--config-path", TUTORIAL, *values, f"output={container}") == 0
    return recordings


def loudness(records: list[Record]) -> dict[str, float]:
    return {record["segment_id"]: record["loudness_db"] for record in records}


def rows(folder: Path) -> list[Record]:
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


# In every container -------------------------------------------------------------------------------------------


def test_parquet(outputs: Path) -> None:
    shards = sorted((outputs / "parquet" / "data").iterdir())
    assert loudness(rows(outputs / "parquet")) == LOUDNESS
    assert {str(pq.read_schema(shard).field("loudness_db").type) for shard in shards} == {"double"}


def test_npz(outputs: Path) -> None:
    with np.load(outputs / "npz" / "data" / "news" / "jingle_seg_0.npz", allow_pickle=False) as arrays:
        assert json.loads(str(arrays["metadata"][()]))["loudness_db"] == -12.0


def test_webdataset(outputs: Path) -> None:
    found = {}
    for path in (outputs / "webdataset" / "data").iterdir():
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".json"):
                    file = archive.extractfile(member)
                    assert file is not None
                    described = json.load(file)
                    found[described["segment_id"]] = described["loudness_db"]
    assert found == LOUDNESS


def test_mp3_and_json(outputs: Path) -> None:
    files = list((outputs / "mp3" / "data").rglob("*.*"))
    assert loudness([json.loads(path.read_bytes()) for path in files if path.suffix == ".json"]) == LOUDNESS
    assert sum(path.suffix == ".mp3" for path in files) == len(LOUDNESS)


def test_mp3_and_json_are_read_again(outputs: Path, tmp_path: Path) -> None:
    assert run("dataset", "input=sound_files", f"input_path={outputs}/mp3", f"output_dir={tmp_path}/out") == 0
    assert loudness(rows(tmp_path / "out")) == LOUDNESS


class CoreFieldsWriter(ParquetShardWriterStage):
    """Columns of its own, among which somebody has forgotten the field."""

    name = "core_fields_writer"

    def schema(self) -> pa.Schema:
        return segment_schema()


def test_a_writer_that_does_not_keep_it(recordings: Path, tmp_path: Path) -> None:
    stages = [RecordingReaderStage(f"{recordings}/manifest.jsonl"), SegmenterStage(), LoudnessStage()]
    pipeline = Pipeline("segments", [*stages, CoreFieldsWriter(f"{tmp_path}/out/data")])
    with pytest.raises(ConfigurationError) as caught:
        pipeline.run(LocalExecutor(), output_dir=f"{tmp_path}/out")
    assert str(caught.value) == (
        "'core_fields_writer' would lose the field 'loudness_db', which 'loudness' adds; "
        "give it a place in the writer, or leave it out with DropFieldsStage(['loudness_db'])"
    )
    assert not (tmp_path / "out").exists()


def test_a_writer_of_sound_alone(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = [f"manifest_path={recordings}/manifest.jsonl", f"output_dir={tmp_path}/out"]
    assert run("pipeline", "--config-path", TUTORIAL, *values, "output=wav") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'wav_writer' would lose the field 'loudness_db', which 'loudness' adds" in line
    assert not (tmp_path / "out").exists()


# In all that reads them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", READERS)
def test_readers(container: str, outputs: Path) -> None:
    assert loudness(run_stages([READERS[container](f"{outputs}/{container}")]).records) == LOUDNESS


@pytest.mark.parametrize("container", READERS)
def test_dataset(container: str, outputs: Path, tmp_path: Path) -> None:
    reader = "sound_files" if container == "mp3" else container
    assert run("dataset", f"input={reader}", f"input_path={outputs}/{container}", f"output_dir={tmp_path}") == 0
    assert loudness(rows(tmp_path)) == LOUDNESS
    for shard in tmp_path.rglob("*.parquet"):
        assert str(pq.read_schema(shard).field("loudness_db").type) == "double"


def test_load_dataset(outputs: Path, tmp_path: Path) -> None:
    datasets = needs("datasets")
    files = f"{outputs}/parquet/data/*.parquet"
    dataset = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert dataset.features["loudness_db"] == datasets.Value("float64")
    assert dict(zip(dataset["segment_id"], dataset["loudness_db"])) == LOUDNESS


@pytest.mark.parametrize("container", ["parquet", "webdataset"])
def test_shard_dataset(container: str, outputs: Path) -> None:
    needs("torch")
    from curator_audio.training import ShardDataset

    assert loudness(list(ShardDataset(f"{outputs}/{container}/data"))) == LOUDNESS


def test_encode(outputs: Path, tmp_path: Path) -> None:
    needs("neucodec")
    tiny = ("stages.1.model=random-tiny", "stages.1.resources={cpus: 1, gpus: 0}")
    assert run("encode", f"input_path={outputs}/parquet", f"output_dir={tmp_path}", *tiny) == 0
    encoded = rows(tmp_path)
    assert loudness(encoded) == LOUDNESS and all(row["codes"] for row in encoded)


def test_pairs(outputs: Path, tmp_path: Path) -> None:
    """A pair has the field of its target, as ``loudness_db`` or with the side in its name."""
    table = pq.read_table(outputs / "parquet" / "data")
    field = table.schema.field("codes")
    codes = pa.array([[1, 2]] * table.num_rows, field.type)
    with_codes = table.set_column(table.schema.get_field_index("codes"), field, codes)
    (tmp_path / "in").mkdir()
    pq.write_table(with_codes, tmp_path / "in" / "a.parquet")
    assert run("pairs", f"input_path={tmp_path}/in", f"output_dir={tmp_path}/out") == 0
    pairs = rows(tmp_path / "out")
    assert len(pairs) == 4
    for pair in pairs:
        found = pair.get("target_loudness_db", pair.get("loudness_db"))
        assert found == LOUDNESS[pair["target_segment_id"]]


@pytest.mark.parametrize("container", ["windows_parquet", "windows_webdataset"])
def test_alm_shards(container: str, tmp_path: Path) -> None:
    """A field of the manifest goes along with the windows of its recording."""
    (tmp_path / "news").mkdir()
    (tmp_path / "news" / "show.flac").write_bytes(tone(4.0))
    spoken = [{"start": 0.0, "end": 2.0, "speaker": "a", "text": "a"}, {"start": 2.0, "end": 4.0, "speaker": "b"}]
    entry = {"audio_filepath": "news/show.flac", "loudness_db": -20.5, "filtered_windows": [{"segments": spoken}]}
    (tmp_path / "alm.jsonl").write_text(json.dumps(entry) + "\n")
    values = [f"manifest_path={tmp_path}/alm.jsonl", f"output_dir={tmp_path}/out", f"output={container}"]
    assert run("alm_shards", *values) == 0
    (shard,) = (tmp_path / "out" / "data").iterdir()
    if container == "windows_parquet":
        (window,) = read(shard.read_bytes())
    else:
        with tarfile.open(shard) as archive:
            (member,) = (member for member in archive if member.name.endswith(".json"))
            file = archive.extractfile(member)
            assert file is not None
            window = json.load(file)
    assert window["loudness_db"] == -20.5
