"""The sample manifest in the tutorials is what its script makes, and shows what it is meant to show."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from curator_audio.stages.alm import ALMDataBuilderStage, ALMDataOverlapStage
from tests.benchmarking.scripts import script

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SAMPLE = REPOSITORY / "tutorials" / "alm_windows" / "sample.jsonl"


@pytest.fixture(scope="module")
def make_sample() -> ModuleType:
    return script("make_sample")


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    return [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]


def test_the_committed_sample_is_what_the_script_writes(make_sample: ModuleType, tmp_path: Path) -> None:
    output = tmp_path / "folder" / "sample.jsonl"
    make_sample.main(["--output", str(output)])
    assert output.read_bytes() == SAMPLE.read_bytes()
    assert output.stat().st_size < 60_000


def test_another_seed_gives_another_sample(make_sample: ModuleType) -> None:
    assert make_sample.make_sample(1) != make_sample.make_sample(2)
    assert make_sample.make_sample(1) == make_sample.make_sample(1)


def test_entries_are_of_the_stated_kind(entries: list[dict[str, Any]]) -> None:
    assert sorted(entry["audio_sample_rate"] for entry in entries) == [16000, 16000, 22050, 44100, 48000]
    for entry in entries:
        segments = entry["segments"]
        assert len(segments) >= 30
        assert 2 <= len({segment["speaker"] for segment in segments}) <= 4
        assert 1 <= sum(segment["metrics"]["bandwidth"] < 8000 for segment in segments) <= 3
        assert all(segment["start"] < segment["end"] <= entry["duration"] for segment in segments)
        starts = [segment["start"] for segment in segments]
        assert starts == sorted(starts)
        assert any(after["start"] < before["end"] for before, after in pairwise(segments))


def test_words_of_a_segment_are_its_text_in_its_time(entries: list[dict[str, Any]]) -> None:
    timed = [segment for entry in entries for segment in entry["segments"] if "words" in segment]
    assert len(timed) >= 20
    for segment in timed:
        words = segment["words"]
        assert " ".join(word["word"] for word in words) == segment["text"]
        assert (words[0]["start"], words[-1]["end"]) == (segment["start"], segment["end"])
        assert all(before["end"] == after["start"] for before, after in pairwise(words))


def test_the_pipeline_finds_windows_in_every_entry_and_thins_them_out(entries: list[dict[str, Any]]) -> None:
    builder, overlap = ALMDataBuilderStage(), ALMDataOverlapStage(overlap_percentage=50)
    results = [overlap.process_record(builder.process_record(entry)) for entry in entries]
    windows = [len(result["windows"]) for result in results]
    kept = [len(result["filtered_windows"]) for result in results]
    assert min(windows) >= 5 and min(kept) >= 1
    assert sum(kept) < sum(windows) / 4
    for loss in ("lost_bw", "lost_spk", "lost_win", "lost_next_seg_bm"):
        assert any(result["stats"][loss] for result in results), loss
    assert any(result["truncation_events"] for result in results)
