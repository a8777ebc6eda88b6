"""The tutorial on a stage of one's own: from YAML, from Python, from wherever one stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TUTORIAL = REPOSITORY / "tutorials" / "custom_stage"
SAMPLE = REPOSITORY / "tutorials" / "alm_windows" / "sample.jsonl"


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the package importable whether or not it is installed."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


def run_yaml(folder: Path, config_path: str, output_dir: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    options = ["--config-path", config_path, "--config-name", "pipeline"]
    values = [f"manifest_path={SAMPLE}", f"output_dir={output_dir}", *overrides]
    return run(folder, "-m", "curator_audio", *options, *values)


def expected() -> list[dict[str, Any]]:
    """Speaking rates worked out another way: words and seconds summed over (recording, speaker)."""
    rates = []
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        for speaker in dict.fromkeys(segment["speaker"] for segment in entry["segments"]):
            own = [segment for segment in entry["segments"] if segment["speaker"] == speaker]
            speech_sec = sum(segment["end"] - segment["start"] for segment in own)
            num_words = sum(segment["text"].count(" ") + 1 for segment in own)
            if len(own) >= 3 and speech_sec >= 10:
                rates.append(
                    {
                        "audio_filepath": entry["audio_filepath"],
                        "speaker": speaker,
                        "num_turns": len(own),
                        "speech_sec": pytest.approx(speech_sec, abs=0.005),
                        "words_per_minute": pytest.approx(num_words / speech_sec * 60, abs=0.05),
                    }
                )
    return rates


def rates(output_dir: Path) -> list[dict[str, Any]]:
    text = (output_dir / "speaking_rate.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_from_yaml_in_the_repository(tmp_path: Path) -> None:
    done = run_yaml(REPOSITORY, "tutorials/custom_stage", tmp_path / "out", "executor=local")
    assert done.returncode == 0, done.stderr
    assert rates(tmp_path / "out") == expected()
    assert len(expected()) == 12
    assert "words: 3012" in done.stdout


def test_from_yaml_in_the_tutorials_folder(tmp_path: Path) -> None:
    done = run_yaml(TUTORIAL, ".", tmp_path / "out", "executor=local")
    assert done.returncode == 0, done.stderr
    assert rates(tmp_path / "out") == expected()


def test_python_and_yaml_are_the_same_pipeline(tmp_path: Path) -> None:
    from_python = run(REPOSITORY, TUTORIAL / "run.py", SAMPLE, tmp_path / "out")
    assert from_python.returncode == 0, from_python.stderr
    assert rates(tmp_path / "out") == expected()
    from_yaml = run_yaml(TUTORIAL, ".", tmp_path / "out", "executor=local")
    assert from_yaml.returncode == 0, from_yaml.stderr
    assert "1 of them by an earlier run" in from_yaml.stdout


def test_workers_find_the_stage_too(tmp_path: Path, ray_session: None, ray_cluster: Any) -> None:
    on_ray = ("executor=ray_actors", "executor.num_workers=1", f"executor.ray_address={ray_cluster.address}")
    done = run_yaml(REPOSITORY, "tutorials/custom_stage", tmp_path / "out", *on_ray)
    assert done.returncode == 0, done.stderr
    assert rates(tmp_path / "out") == expected()


def test_parameters_are_overridden_and_checked(tmp_path: Path) -> None:
    fewer = run_yaml(TUTORIAL, ".", tmp_path / "out", "executor=local", "stages.1.arguments.min_turns=16")
    assert fewer.returncode == 0, fewer.stderr
    assert [rate["num_turns"] for rate in rates(tmp_path / "out")] == [20, 20, 38, 17, 16, 16]
    wrong = run_yaml(TUTORIAL, ".", tmp_path / "wrong", "executor=local", "stages.2.min_speech_sec=0")
    assert wrong.returncode == 2
    assert wrong.stderr == "error: stages.2: min_speech_sec is 0; give a number of seconds above 0\n"


def test_a_segment_without_text_is_quarantined(tmp_path: Path) -> None:
    manifest = tmp_path / "in.jsonl"
    good = {"speaker": "ann", "start": 0.0, "end": 20.0, "text": "one two three"}
    bad = {"speaker": "bob", "start": 0.0, "end": 20.0}
    manifest.write_text(json.dumps({"audio_filepath": "a.wav", "segments": [good, bad]}) + "\n")
    done = run_yaml(
        TUTORIAL, ".", tmp_path / "out", "executor=local", f"manifest_path={manifest}", "stages.1.arguments.min_turns=1"
    )
    assert done.returncode == 0, done.stderr
    assert [rate["words_per_minute"] for rate in rates(tmp_path / "out")] == [9.0]
    (quarantine,) = (tmp_path / "out" / "quarantine").iterdir()
    line = json.loads(quarantine.read_text())
    assert (line["stage"], line["reason"]) == ("words_per_minute", "missing_field")
    assert line["message"] == "segments[0] has no 'text'"
