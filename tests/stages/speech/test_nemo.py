"""Manifests of NeMo, which have a segment a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from curator_audio.cli import main
from curator_audio.stages.speech.nemo import as_entry, with_segments
from tests.segments import RATE


@pytest.mark.parametrize(
    ("line", "segment", "others"),
    [
        ({"text": "a", "offset": 1.5}, {"start": 1.5, "end": 4.0, "text": "a", "speaker": "speaker"}, {}),
        ({"text": "a", "speaker": 7}, {"start": 0.0, "end": 2.5, "text": "a", "speaker": 7}, {"speaker_id": 7}),
        (
            {"text": "a", "speaker": "speaker_1", "lang": "de", "pred_text": "b"},
            {"start": 0.0, "end": 2.5, "text": "a", "speaker": "speaker_1"},
            {"speaker_id": None, "language": "de"},
        ),
    ],
)
def test_a_line_is_an_entry_with_its_segment(line: dict[str, Any], segment: Any, others: Any) -> None:
    line = {"audio_filepath": "a.wav", "duration": 2.5, **line}
    assert with_segments(line) == {**line, **others, "segments": [segment]}


@pytest.mark.parametrize(
    "entry",
    [
        {"audio_filepath": "a.wav", "duration": 2.5, "text": "a", "segments": []},
        {"audio_filepath": "a.wav", "duration": 2.5, "filtered_windows": []},
        {"audio_filepath": "a.wav", "duration": "long", "text": "a"},
        {"duration": 2.5, "text": "a"},
    ],
)
def test_other_entries_stay_as_they_are(entry: dict[str, Any]) -> None:
    assert with_segments(entry) is entry


def test_segments_of_such_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for name, offset in (("a", 0.0), ("b", 1.0)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(3 * RATE, 0.25, np.float32), RATE)
        lines.append({"audio_filepath": f"{name}.wav", "offset": offset, "duration": 1.5, "text": f"so {name}"})
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = [
        "--config-name",
        "segment",
        "executor=local",
        f"manifest_path={manifest}",
        f"output_dir={tmp_path}/out",
    ]
    assert main(arguments) == 0
    columns = ["segment_id", "speaker_id", "text", "start", "end"]
    name = tmp_path.name
    assert sorted(pq.read_table(f"{tmp_path}/out/data", columns=columns).to_pylist(), key=str) == [
        dict(zip(columns, (f"{name}/a_seg_0", f"{name}/a/speaker", "so a", 0.0, 1.5))),
        dict(zip(columns, (f"{name}/b_seg_0", f"{name}/b/speaker", "so b", 1.0, 2.5))),
    ]

    manifest.write_text("".join(json.dumps(line | {"audio_filepath": "a.wav"}) + "\n" for line in lines))
    assert main([*arguments, "overwrite=true"]) == 2
    assert (
        "a.wav stands in two lines of the manifest; put its segments into one ('segments': [" in capsys.readouterr().err
    )


def test_what_the_segment_says_does_not_stand_beside_it() -> None:
    line = {
        "audio_filepath": "a.wav",
        "duration": 2.5,
        "text": "so",
        "offset": 1,
        "speaker": 7,
        "lang": "de",
        "snr": 9.5,
    }
    entry = as_entry(line)
    assert list(entry) == ["audio_filepath", "duration", "text", "snr", "speaker_id", "language", "segments"]
    assert as_entry({"audio_filepath": "a.wav", "lang": "de", "segments": []})["lang"] == "de"
