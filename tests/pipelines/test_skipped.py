"""Which recordings lost segments, and to what: beside the output, over all runs of its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from curator_audio.cli import main
from curator_audio.stages.speech.sound import encode_flac

RATE = 8000


def entry(folder: Path, name: str, *segments: tuple[float, float, str]) -> dict[str, Any]:
    """Two seconds of sound, and segments of it."""
    samples = np.sin(np.arange(2 * RATE) / 5).astype(np.float32)
    (folder / name).write_bytes(encode_flac(samples, RATE))
    spoken = [{"start": start, "end": end, "speaker": "a", "text": text} for start, end, text in segments]
    return {"audio_filepath": name, "segments": spoken}


def run(folder: Path, *entries: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut the segments; returns the lines of ``skipped.jsonl``."""
    (folder / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in entries))
    words = [
        "--config-name",
        "segment",
        "executor=local",
        f"manifest_path={folder}/m.jsonl",
        f"output_dir={folder}/out",
    ]
    assert main(words) == 0
    file = folder / "out" / "skipped.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_recordings_that_lost_segments_are_told(tmp_path: Path, capsys: Any) -> None:
    whole = entry(tmp_path, "whole.flac", (0, 1, "x"))
    short = entry(tmp_path, "short.flac", (0, 1, "x"), (1, 1.1, "y"), (1, 2, ""), (1.5, 9, "z"), (0, 1.5, " "))
    told = run(tmp_path, whole, short)
    lost = {"too_short": 1, "no_text": 2, "beyond_end": 1}
    assert told == [{"recording": f"{tmp_path}/short.flac", "stage": "segmenter", "skipped": lost}]
    assert "  Recordings with segments or windows left out: 1, see skipped.jsonl" in capsys.readouterr().out

    assert run(tmp_path, whole, short) == told, "nothing was done, and nothing is forgotten"
    mended = entry(tmp_path, "short.flac", (0, 1, "x"))
    assert run(tmp_path, whole, mended) == [], "what is no longer so is no longer told"
