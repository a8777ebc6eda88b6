"""What a dry run tells of the steps after the map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.after import AfterContext, AfterStep
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.dry_run import dry_run
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.tasks import Partition


class Telling(AfterStep):
    """Tells what it was given."""

    name = "telling"

    def run(self, context: AfterContext) -> None:
        pass

    def preview(self, context: AfterContext, pending: Sequence[Partition]) -> str:
        return f"{len(context.entries)} done, {len(pending)} to do"


class Silent(AfterStep):
    name = "silent"

    def run(self, context: AfterContext) -> None:
        pass


def test_steps_tell_what_they_would_do(manifest: Path, tmp_path: Path) -> None:
    stages = [ManifestReaderStage(str(manifest)), ManifestWriterStage(f"{tmp_path}/out")]
    pipeline = Pipeline("copy", stages, [Telling(), Silent()])
    told = dry_run(pipeline, LocalExecutor(), f"{tmp_path}/out", {})
    assert "\nthen: telling, 0 done, 1 to do\nthen: silent\npartitions: 1 to do, 0 done before\n" in told
    pipeline.run(LocalExecutor(), output_dir=f"{tmp_path}/out")
    told = dry_run(pipeline, LocalExecutor(), f"{tmp_path}/out", {})
    assert "\nthen: telling, 1 done, 0 to do\nthen: silent\npartitions: 0 to do, 1 done before\n" in told
    told = dry_run(pipeline, LocalExecutor(), f"{tmp_path}/out", {}, overwrite=True)
    assert "\nthen: telling, 0 done, 1 to do\n" in told
