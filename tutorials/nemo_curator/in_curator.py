"""Our stages in a pipeline of NeMo Curator's.

    python tutorials/nemo_curator/in_curator.py tutorials/alm_windows/sample.jsonl windows.jsonl

Needs the extra nemo.
"""

from __future__ import annotations

import sys

from nemo_curator.backends.ray_actor_pool import RayActorPoolExecutor
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.audio.common import ManifestReader, ManifestWriterStage

from curator_audio.interop.nemo_curator import for_curator
from curator_audio.stages.alm import ALMDataBuilderStage, ALMDataOverlapStage
from curator_audio.stages.general import SelectFieldsStage


def windows(manifest_path: str, output_path: str) -> Pipeline:
    """Training windows of a manifest: their reader, our stages, their writer."""
    return Pipeline(
        "windows",
        stages=[
            ManifestReader(manifest_path),
            for_curator(ALMDataBuilderStage()).with_(batch_size=16),
            for_curator(ALMDataOverlapStage(overlap_percentage=50)),
            for_curator(SelectFieldsStage(["audio_filepath", "filtered_dur", "filtered_windows"])),
            ManifestWriterStage(output_path),
        ],
    )


if __name__ == "__main__":
    done = [task.data for task in windows(*sys.argv[1:]).run(RayActorPoolExecutor()) or []]
    for data in sorted(done, key=lambda data: data["audio_filepath"]):
        print(data["audio_filepath"], len(data["filtered_windows"]), f"{data['filtered_dur']:.1f} s")
