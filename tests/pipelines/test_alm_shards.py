"""From a diarized manifest to shards of windows as a user makes them: the ALM pipeline, then ``alm_shards``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from curator_audio.cli import main
from curator_audio.stages.speech import cutting
from curator_audio.stages.speech.cutting import sample_index
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Record
from tests.extras import needs
from tests.stages.speech.windows import RATE, places, recording, samples_of

ALM = ("stages.1.target_window_duration=8", "stages.2.target_duration=8")
TINY = ("stages.2.model=random-tiny", "stages.2.resources={cpus: 1, gpus: 0}")


class Corpus:
    """Recordings of two channels with two speakers taking turns, and their manifest, on a disk or a store."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.entries: dict[str, Record] = {}
        for name, duration in (
            ("news/evening", 30.0),
            ("news/morning", 21.0),
            ("talks/evening", 12.0),
            ("talks/x", 4.0),
        ):
            self.add(name, duration)

    def add(self, name: str, duration: float) -> None:
        Storage().write(f"{self.root}/recordings/{name}.wav", recording(duration))
        segments = []
        for k, start in enumerate(np.arange(0.25, duration - 1.6, 1.25).tolist()):
            bandwidth = {"metrics": {"bandwidth": 8000}}
            segments.append({"start": start, "end": start + 1.5, "speaker": f"spk{k % 2}", "text": f"{k}", **bandwidth})
        self.entries[name] = {"audio_filepath": f"{name}.wav", "audio_sample_rate": RATE, "segments": segments}

    def run(self, name: str = "alm_shards", *overrides: str, executor: str = "local") -> int:
        """The ALM pipeline, and the one that makes shards of its output, in ``out``."""
        lines = [json.dumps(self.entries[key]) for key in sorted(self.entries)]
        Storage().write(f"{self.root}/manifest.jsonl", "\n".join(lines).encode())
        alm = [f"manifest_path={self.root}/manifest.jsonl", f"output_dir={self.root}/alm", "overwrite=true"]
        assert main(["--config-name", "pipeline", "executor=local", *alm, *ALM]) == 0
        arguments = [f"manifest_path={self.root}/alm/alm_output.jsonl", f"audio_dir={self.root}/recordings"]
        arguments += [f"executor={executor}", f"output_dir={self.root}/out"]
        return main(["--config-name", name, *arguments, *overrides])

    @property
    def alm_output(self) -> list[Record]:
        return [json.loads(line) for line in Storage().read(f"{self.root}/alm/alm_output.jsonl").splitlines()]

    def shards(self) -> dict[str, bytes]:
        files = Storage().list_files(f"{self.root}/out/data", max_depth=1)
        return {file.path.rpartition("/")[2]: Storage().read(file.path) for file in files}

    def rows(self) -> dict[str, Record]:
        """All windows by id; none may be there twice."""
        rows = [row for data in self.shards().values() for row in read(data)]
        found = {row["window_id"]: row for row in rows}
        assert len(found) == len(rows)
        return found

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Storage().read(f"{self.root}/out/metrics.json"))
        return found


def read(data: bytes) -> list[Record]:
    rows: list[Record] = pyarrow.parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
    return rows


@pytest.fixture
def local(tmp_path: Path) -> Corpus:
    return Corpus(str(tmp_path))


@pytest.fixture(params=["local", "s3"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus:
    return Corpus(str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket"))


def test_every_window_is_there_to_the_sample(corpus: Corpus) -> None:
    assert corpus.run() == 0
    rows = corpus.rows()
    expected = {}
    for entry in corpus.alm_output:
        name = entry["audio_filepath"].removesuffix(".wav")
        for k, window in enumerate(entry["filtered_windows"]):
            expected[f"{name}_win_{k}"] = window["segments"]
    assert len(expected) >= 5
    assert {name: len(row["segments"]) for name, row in rows.items()} == {name: len(s) for name, s in expected.items()}
    for name, row in rows.items():
        start, end = expected[name][0]["start"], expected[name][-1]["end"]
        first, stop = sample_index(start, RATE), sample_index(end, RATE)
        assert np.array_equal(samples_of(row), places(first, stop))
        recording = name.rpartition("_win_")[0]
        assert (row["start"], row["end"]) == (start, end)
        assert row["speakers"] == [f"{recording}/{segment['speaker']}" for segment in expected[name][:2]]
        assert row["text"] == " ".join(segment["text"] for segment in expected[name] if segment["text"])
    channels = {row["channel"] for row in rows.values() if row["audio_id"] == "evening"}
    assert channels == {"news", "talks"}, "recordings of one name in two folders"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings that were opened; those of a run are taken out by ``taken``."""
    paths: list[str] = []
    open_recording = cutting.open_recording

    def noted(storage: Storage, path: str, *options: Any) -> Any:
        paths.append(path.split("/recordings/")[1])
        return open_recording(storage, path, *options)

    monkeypatch.setattr(cutting, "open_recording", noted)
    return paths


def taken(paths: list[str]) -> list[str]:
    found = sorted(paths)
    paths.clear()
    return found


def test_only_what_is_new_is_done(corpus: Corpus, opened: list[str]) -> None:
    assert corpus.run() == 0
    assert taken(opened) == ["news/evening.wav", "news/morning.wav", "talks/evening.wav"], (
        "each once; one has no window"
    )
    first = corpus.shards()
    assert len(first) == 3, "a shard a recording"

    assert corpus.run() == 0
    assert taken(opened) == []
    assert corpus.shards() == first

    corpus.add("early/first", 12.0)
    assert corpus.run() == 0
    assert taken(opened) == ["early/first.wav"], "it sorts before the others"
    assert {name: data for name, data in corpus.shards().items() if name in first} == first

    before = corpus.rows()
    corpus.entries["news/morning"]["segments"][3]["text"] = "corrected"
    assert corpus.run() == 0
    assert taken(opened) == ["news/morning.wav"], "its line changed"
    changed = {name for name, row in corpus.rows().items() if row != before[name]}
    assert changed and all(name.startswith("news/morning") for name in changed)

    Storage().write(f"{corpus.root}/recordings/talks/evening.wav", recording(11.0))
    assert corpus.run() == 0
    assert taken(opened) == ["talks/evening.wav"], "its sound changed"


def test_another_executor_writes_the_same(local: Corpus, ray_session: None) -> None:
    assert local.run() == 0
    first = local.shards()
    assert local.run("alm_shards", "overwrite=true", "executor.num_workers=2", executor="ray_actors") == 0
    assert local.shards() == first


def test_windows_before_the_overlap_filter_in_tars(local: Corpus) -> None:
    assert local.run("alm_shards", "output=windows_webdataset", "stages.1.windows_field=windows") == 0
    assert {name.rpartition(".")[2] for name in local.shards()} == {"tar"}
    num_windows = sum(len(entry["windows"]) for entry in local.alm_output)
    assert local.metrics()["num_output_records"] == num_windows > len(local.alm_output)


def test_chosen_columns(local: Corpus) -> None:
    assert local.run("alm_shards", "output.columns=[audio,segments]") == 0
    assert {tuple(row) for data in local.shards().values() for row in read(data)} == {("audio", "segments")}


# Bad input ----------------------------------------------------------------------------------------------------


def test_recordings_that_cannot_be_read_are_set_aside(local: Corpus, capsys: Any) -> None:
    folder = Path(local.root) / "recordings"
    (folder / "news" / "evening.wav").unlink()
    (folder / "news" / "morning.wav").write_text("Dear reader, this is no recording.")
    data = (folder / "talks" / "evening.wav").read_bytes()
    (folder / "talks" / "evening.wav").write_bytes(data[: 44 + 2 * RATE * 5])

    assert local.run() == 0

    assert "Quarantined records: 2 (unreadable_file 1, not_audio 1)" in capsys.readouterr().out
    assert local.rows() == {}
    metrics = local.metrics()["stages"]["window_extraction"]
    assert (metrics["recordings_broken_off"], metrics["recordings_without_windows"]) == (1, 1)
    lines = [json.loads(line) for file in Path(local.root, "out", "quarantine").iterdir() for line in file.open()]
    assert {line["message"].split(":")[0] for line in lines} >= {f"{folder}/news/morning.wav"}


def test_the_input_of_the_alm_pipeline_is_no_output_of_it(local: Corpus, capsys: Any) -> None:
    arguments = [f"manifest_path={local.root}/manifest.jsonl", f"audio_dir={local.root}/recordings"]
    assert local.run() == 0
    capsys.readouterr()
    status = main(["--config-name", "alm_shards", "executor=local", *arguments, f"output_dir={local.root}/wrong"])
    assert status == 2
    error = capsys.readouterr().err
    assert (
        "has no 'filtered_windows'; they are made by the ALM pipeline (python main.py --config-name pipeline" in error
    )
    assert "Traceback" not in error
    assert not Path(local.root, "wrong", "data").exists()


def test_on_ray_too(local: Corpus, ray_session: None, capsys: Any) -> None:
    assert local.run() == 0
    capsys.readouterr()
    arguments = [f"manifest_path={local.root}/manifest.jsonl", f"audio_dir={local.root}/recordings"]
    status = main(
        [
            "--config-name",
            "alm_shards",
            "executor=ray_actors",
            *arguments,
            "executor.num_workers=2",
            f"output_dir={local.root}/wrong",
        ]
    )
    assert status == 2
    assert "they are made by the ALM pipeline" in capsys.readouterr().err


# Codes --------------------------------------------------------------------------------------------------------


def test_with_codes(local: Corpus) -> None:
    needs("neucodec")
    assert local.run() == 0
    without = local.rows()
    assert local.run("alm_shards_codes", *TINY, "overwrite=true") == 0
    rows = local.rows()
    assert {name: {**row, "codes": []} for name, row in rows.items()} == without
    assert [len(row["codes"]) for row in rows.values()] == [len(samples_of(row)) // 320 for row in rows.values()]
    assert len({code for row in rows.values() for code in row["codes"]}) > 50
