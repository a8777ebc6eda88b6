"""From recordings to codes as a user runs it, once and again: what is new is done, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

from curator_audio.cli import main
from curator_audio.storage.storage import Storage
from tests.extras import needs

needs("neucodec")

RATE = 16000
TINY = ("model=random-tiny", "resources={cpus: 1, gpus: 0}")


class Corpus:
    """Recordings of some channels and their manifest, on a disk or a store."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.entries: dict[str, dict[str, Any]] = {}

    def add(self, name: str, num_segments: int = 2) -> None:
        """A recording such as ``news/show``, with a segment every 0.7 s."""
        rng = np.random.default_rng(len(name) + 31 * len(self.entries))
        chirp = np.sin(np.cumsum(rng.uniform(0.05, 0.6, size=(num_segments * 7, 1)).repeat(RATE // 10, 1).ravel()))
        sound = (0.4 * chirp + 0.05 * rng.standard_normal(len(chirp))).astype(np.float32)
        path = f"{self.root}/recordings/{name}.wav"
        with Storage().create(path) as file:
            file.write(wav(sound))
        segments = [
            {"start": 0.7 * k, "end": 0.7 * (k + 1), "speaker": "a", "text": f"{name} {k}"} for k in range(num_segments)
        ]
        self.entries[name] = {"audio_filepath": path, "segments": segments}

    @property
    def manifest(self) -> str:
        """The manifest of all recordings, in order of their names."""
        lines = [json.dumps(self.entries[name]) for name in sorted(self.entries)]
        Storage().write(f"{self.root}/manifest.jsonl", "\n".join(lines).encode())
        return f"{self.root}/manifest.jsonl"


def wav(sound: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="WAV")
    return file.getvalue()


@pytest.fixture(params=["local", "s3"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus:
    corpus = Corpus(str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket"))
    for name in ("news/evening", "news/morning", "talks/bees"):
        corpus.add(name)
    return corpus


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The numbers of clips that the codec was given, a call each; those of a run are taken out by ``taken``."""
    from curator_audio.stages.codec.neucodec import NeuCodec

    counts: list[int] = []
    encode = NeuCodec.encode

    def counted(self: NeuCodec, clips: Any) -> Any:
        counts.append(len(clips))
        return encode(self, clips)

    monkeypatch.setattr(NeuCodec, "encode", counted)
    yield counts


def taken(counts: list[int]) -> int:
    total = sum(counts)
    counts.clear()
    return total


def run(name: str, output_dir: str, *overrides: str) -> None:
    assert main(["--config-name", name, "executor=local", f"output_dir={output_dir}", *overrides]) == 0


def speech_codes(corpus: Corpus) -> None:
    overrides = [f"stages.2.{option}" for option in TINY]
    run("speech_codes", f"{corpus.root}/out", f"manifest_path={corpus.manifest}", *overrides)


def segment_and_encode(corpus: Corpus) -> None:
    run("segment", f"{corpus.root}/segments", f"manifest_path={corpus.manifest}")
    overrides = [f"stages.1.{option}" for option in TINY]
    run("encode", f"{corpus.root}/out", f"input_path={corpus.root}/segments", *overrides)


def rows(output_dir: str) -> dict[str, dict[str, Any]]:
    """All segments by id; none may be there twice."""
    found: dict[str, dict[str, Any]] = {}
    for info in Storage().list_files(f"{output_dir}/data"):
        with Storage().open(info.path) as file:
            for row in pyarrow.parquet.read_table(file).to_pylist():
                name = row["segment_id"]
                assert name not in found
                found[name] = row
    return found


@pytest.mark.parametrize("work", [speech_codes, segment_and_encode])
def test_only_what_is_new_is_encoded(work: Any, corpus: Corpus, encoded: list[int]) -> None:
    out = f"{corpus.root}/out"
    work(corpus)
    assert taken(encoded) == 6
    first = rows(out)
    assert len(first) == 6
    assert {len(row["codes"]) for row in first.values()} == {35}  # 0.7 s at 50 a second
    assert len({code for row in first.values() for code in row["codes"]}) > 50

    work(corpus)
    assert taken(encoded) == 0  # nothing is new

    corpus.add("early/first", 3)
    work(corpus)
    assert taken(encoded) == 3  # a channel that sorts before the others

    corpus.add("news/noon", 1)
    work(corpus)
    assert taken(encoded) == 1  # a recording of a channel that was there

    corpus.entries["news/morning"]["segments"][1]["text"] = "corrected"
    work(corpus)
    assert taken(encoded) == 2  # its recording, and no other

    last = rows(out)
    assert len(last) == 10
    assert last["news/morning_seg_1"]["text"] == "corrected"
    assert {name: last[name]["codes"] for name in first} == {name: row["codes"] for name, row in first.items()}


def test_one_command_gives_the_codes_of_two(corpus: Corpus) -> None:
    speech_codes(corpus)
    together = rows(f"{corpus.root}/out")
    Storage().delete([info.path for info in Storage().list_files(f"{corpus.root}/out")])
    segment_and_encode(corpus)
    assert rows(f"{corpus.root}/out") == together


def test_decoding_gives_sound_of_the_same_length(corpus: Corpus) -> None:
    speech_codes(corpus)
    overrides = [f"stages.1.{option}" for option in TINY]
    run("decode", f"{corpus.root}/decoded", f"input_path={corpus.root}/out", *overrides)
    files = [info for info in Storage().list_files(f"{corpus.root}/decoded/data") if info.path.endswith(".wav")]
    assert len(files) == 6
    with Storage().open(files[0].path) as file:
        assert soundfile.info(file).duration == pytest.approx(35 / 50)
