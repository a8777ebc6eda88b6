"""The pipeline of pipeline.yaml in plain Python.

    python tutorials/custom_stage/run.py manifest.jsonl speaking_rate

It runs in this process; without LocalExecutor() it would run on Ray, on all cores.
"""

from __future__ import annotations

import sys

from my_stages import WordsPerMinuteStage

from curator_audio import Pipeline
from curator_audio.errors import CuratorError
from curator_audio.executors.local import LocalExecutor
from curator_audio.report.summary import summary
from curator_audio.stages.general import CallFunctionStage, SelectFieldsStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage


def speaking_rate(manifest_path: str, output_dir: str) -> Pipeline:
    """How fast each speaker of each recording talks."""
    split = CallFunctionStage("my_stages.one_record_per_speaker", {"min_turns": 3})
    return Pipeline(
        "speaking_rate",
        [
            ManifestReaderStage(manifest_path),
            split.with_(name="one_record_per_speaker"),
            WordsPerMinuteStage(min_speech_sec=10.0),
            SelectFieldsStage(["audio_filepath", "speaker", "num_turns", "speech_sec", "words_per_minute"]),
            ManifestWriterStage(f"{output_dir}/speaking_rate.jsonl"),
        ],
    )


def main(manifest_path: str, output_dir: str) -> int:
    """Run it; returns the exit status."""
    try:
        result = speaking_rate(manifest_path, output_dir).run(LocalExecutor())
    except CuratorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(summary(result))
    return result.exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
