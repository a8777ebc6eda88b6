"""Windows in Parquet and WebDataset shards: what is written, and what others read of it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import soundfile

from curator_audio.errors import ConfigurationError
from curator_audio.stages.speech import WindowExtractionStage, WindowParquetWriterStage, WindowWebDatasetWriterStage
from curator_audio.stages.speech.windows import WINDOW_FIELDS
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.extras import needs
from tests.stages.speech.windows import RATE, places, recording, samples_of, window


@pytest.fixture
def records() -> list[Record]:
    """Two windows with texts and speakers, and one of a recording of which nothing is known, in another channel."""
    nameless = {"segments": [{"start": 0.5, "end": 2.0}]}
    entries = [
        {"audio_filepath": "memory://writers/news/v1.2.wav", "filtered_windows": [window((0, 1), (0.5, 2)), nameless]},
        {"audio_filepath": "memory://writers/talks/b.wav", "filtered_windows": [window((1, 2.5))], "language": "en"},
    ]
    for entry in entries:
        Storage().write(entry["audio_filepath"], recording(3))
    return [record for batch in WindowExtractionStage().process(AudioBatch(entries)) for record in batch.records]


def write(writer: Any, *records: Record) -> Path:
    path = f"{writer.output_path}/a{writer.suffix}"
    writer.write(Storage(), path, [AudioBatch(list(records), "somewhere")])
    return Path(path)


def load(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    datasets = needs("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    cache = str(path.parent / "cache")
    return datasets, datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=cache)


def without_sound(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "audio"}


# Parquet ------------------------------------------------------------------------------------------------------


def test_parquet_holds_the_records(records: list[Record], tmp_path: Path) -> None:
    table = pq.read_table(write(WindowParquetWriterStage(str(tmp_path)), *records))
    assert tuple(table.column_names) == WINDOW_FIELDS
    assert table.to_pylist() == records


@pytest.mark.parametrize(
    "chosen", [slice(1, 2), slice(0, 3)]
)  # the one of which nothing is known, alone and in between
def test_datasets_knows_what_the_columns_are(
    chosen: slice, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(WindowParquetWriterStage(str(tmp_path)), *records[chosen])
    datasets, loaded = load("parquet", path, monkeypatch)
    text, number = datasets.Value("string"), datasets.Value("float64")
    assert loaded.features == {
        **dict.fromkeys(("window_id", "audio_id", "channel", "text", "language"), text),
        **dict.fromkeys(("start", "end", "duration_sec"), number),
        **dict.fromkeys(("sample_rate", "num_speakers"), datasets.Value("int32")),
        "speakers": datasets.List(text),
        "segments": datasets.List({"start": number, "end": number, "speaker": text, "text": text}),
        "audio": datasets.Audio(),
        "codes": datasets.List(datasets.Value("int32")),
    }
    raw = loaded.cast_column("audio", datasets.Audio(decode=False))
    assert list(raw) == records[chosen]


def test_datasets_decodes_the_sound(records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("torch")
    needs("torchcodec.decoders")
    _, loaded = load("parquet", write(WindowParquetWriterStage(str(tmp_path)), *records), monkeypatch)
    decoded = loaded[1]["audio"].get_all_samples()
    assert decoded.sample_rate == RATE
    assert (decoded.data.numpy()[0] * 32768).round().tolist() == places(8000, 32000).tolist()


def test_chosen_columns(records: list[Record], tmp_path: Path) -> None:
    writer = WindowParquetWriterStage(str(tmp_path), columns=["segments", "window_id"])
    rows = pq.read_table(write(writer, *records)).to_pylist()
    assert rows == [{"segments": record["segments"], "window_id": record["window_id"]} for record in records]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["text", "text"], "columns has 'text' twice"),
        ([], r"columns is \[\]; give a list"),
    ],
)
def test_bad_columns(columns: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        WindowParquetWriterStage("folder", columns=columns)


def test_a_window_that_does_not_fit_is_set_aside_alone(records: list[Record], tmp_path: Path) -> None:
    bad = {**records[1], "segments": [{"start": "early"}]}
    writer = WindowParquetWriterStage(str(tmp_path))
    rows = pq.read_table(write(writer, records[0], bad, records[2])).to_pylist()
    assert rows == [records[0], records[2]]
    assert [aside.record for aside in writer.observed.quarantined] == [bad]


# WebDataset ---------------------------------------------------------------------------------------------------


def test_any_tool_reads_the_tar(records: list[Record], tmp_path: Path) -> None:
    with tarfile.open(write(WindowWebDatasetWriterStage(str(tmp_path)), *records)) as archive:
        members = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    keys = ["news/v1_2_win_0", "news/v1_2_win_1", "talks/b_win_0"]  # to WebDataset a key ends at the first dot
    assert list(members) == [f"{key}.{kind}" for key in keys for kind in ("flac", "json")]
    for key, record in zip(keys, records):
        assert members[f"{key}.flac"] == record["audio"]["bytes"]
        assert json.loads(members[f"{key}.json"]) == without_sound(record)


def test_datasets_reads_the_tar(records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("torch")  # which datasets wants for tars with sound, even where it does not decode it
    path = write(WindowWebDatasetWriterStage(str(tmp_path)), *records)
    datasets, loaded = load("webdataset", path, monkeypatch)
    raw = loaded.cast_column("flac", datasets.Audio(decode=False))
    assert [row["json"] for row in raw] == [without_sound(record) for record in records]
    for row, record in zip(raw, records):
        samples, rate = soundfile.read(io.BytesIO(row["flac"]["bytes"]), dtype="int16")
        assert (rate, samples.tolist()) == (RATE, samples_of(record).tolist())


def test_a_window_without_a_name_is_set_aside(records: list[Record], tmp_path: Path) -> None:
    writer = WindowWebDatasetWriterStage(str(tmp_path))
    with tarfile.open(write(writer, {**records[0], "window_id": None}, records[2])) as archive:
        assert archive.getnames() == ["talks/b_win_0.flac", "talks/b_win_0.json"]
    (aside,) = writer.observed.quarantined
    assert aside.message == "the record has no 'window_id', after which its file is named"
