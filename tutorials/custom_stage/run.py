"""The pipeline of pipeline.yaml in plain Python.

    python tutorials/custom_stage/run.py recordings/manifest.jsonl loudness

It runs in this process; without LocalExecutor() it would run on Ray, on all cores.
"""

from __future__ import annotations

import sys

from my_stages import LoudnessStage

from curator_audio import CuratorError, LocalExecutor, Pipeline
from curator_audio.report.summary import summary
from curator_audio.stages.speech import RecordingReaderStage, SegmenterStage, SegmentParquetWriterStage


def loudness(manifest_path: str, output_dir: str) -> Pipeline:
    """Segments with their loudness."""
    return Pipeline(
        "loudness",
        [
            RecordingReaderStage(manifest_path),
            SegmenterStage(),
            LoudnessStage(min_db=-45.0),
            SegmentParquetWriterStage(f"{output_dir}/data"),
        ],
    )


def main(manifest_path: str, output_dir: str) -> int:
    """Run it; returns the exit status."""
    try:
        result = loudness(manifest_path, output_dir).run(LocalExecutor(), output_dir=output_dir)
    except CuratorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(summary(result))
    return result.exit_status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
