"""All executors give the same bytes, with any number of workers, on local disk and on S3.

A worker is a process that takes a second or two to be up: a run tells as much as it can with as few as that takes.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from curator_audio.executors.base import Executor
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.executors.ray_data import RayDataExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.alm import ALMDataBuilderStage, ALMDataOverlapStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.resources import Resources
from curator_audio.storage.storage import Storage
from tests.extras import needs

RAY_EXECUTORS = (RayActorsExecutor, RayDataExecutor)


def alm(manifest: Path | str, output_path: str, other_workers: bool = False) -> Pipeline:
    """The ALM pipeline on pieces of 20 kB; ``other_workers`` puts the middle stages into pools of their own."""
    builder, overlap = ALMDataBuilderStage(), ALMDataOverlapStage()
    if other_workers:
        builder = builder.with_(resources=Resources(cpus=0.5), num_workers=2)
        overlap = overlap.with_(resources=Resources(cpus=0.25))
    reader = ManifestReaderStage(str(manifest), partition_size_mb=0.02)
    return Pipeline("alm", [reader, builder, overlap, ManifestWriterStage(output_path)], after=[JoinParts()])


@pytest.fixture
def expected(manifest: Path, tmp_path: Path) -> bytes:
    result = alm(manifest, f"{tmp_path}/expected/out.jsonl").run(LocalExecutor())
    assert len(result.entries) > 5, "the manifest must be cut into several partitions"
    return Path(result.output_path).read_bytes()


@pytest.mark.parametrize(
    "executor", [LocalExecutor(), *(kind(num_workers=1) for kind in RAY_EXECUTORS)], ids=lambda e: e.name
)
def test_a_compressed_file_on_local_disk_by_one_worker(
    executor: Executor, manifest: Path, tmp_path: Path, expected: bytes, ray_session: None
) -> None:
    compressed = tmp_path / "manifest.jsonl.gz"
    compressed.write_bytes(gzip.compress(manifest.read_bytes()))
    result = alm(compressed, f"{tmp_path}/out/out.jsonl").run(executor)
    assert result.exit_status == 0
    assert Path(result.output_path).read_bytes() == expected
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    windows = sum(len(json.loads(line)["windows"]) for line in expected.splitlines())
    assert metrics["num_output_records"] == 40
    assert metrics["stages"]["alm_data_builder"]["windows_created"] == windows > 0


@pytest.mark.parametrize("executor", [kind(num_workers=3) for kind in RAY_EXECUTORS], ids=lambda e: e.name)
def test_one_file_on_s3_by_several(
    executor: Executor, manifest: Path, s3_bucket: str, expected: bytes, ray_session: None
) -> None:
    storage = Storage()
    storage.write(f"{s3_bucket}/in/manifest.jsonl", manifest.read_bytes())
    alm(f"{s3_bucket}/in/manifest.jsonl", f"{s3_bucket}/out/out.jsonl").run(executor)
    assert storage.read(f"{s3_bucket}/out/out.jsonl") == expected


@pytest.mark.parametrize(
    "executor", [LocalExecutor(), *(kind(num_workers=1) for kind in RAY_EXECUTORS)], ids=lambda e: e.name
)
def test_pools_of_several_kinds_of_workers(
    executor: Executor, manifest: Path, tmp_path: Path, expected: bytes, ray_session: None
) -> None:
    result = alm(manifest, f"{tmp_path}/out/out.jsonl", other_workers=True).run(executor)
    assert Path(result.output_path).read_bytes() == expected
    assert result.metrics["alm_data_builder"].items_processed == 40


def test_shards_have_the_same_names_and_bytes(
    manifest: Path, tmp_path: Path, expected: bytes, ray_session: None
) -> None:
    def shards(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}

    alm(manifest, f"{tmp_path}/a/").run(LocalExecutor())
    alm(manifest, f"{tmp_path}/b/").run(RayActorsExecutor(num_workers=2))
    assert shards(tmp_path / "a") == shards(tmp_path / "b")
    assert b"".join(data for _, data in sorted(shards(tmp_path / "a").items())) == expected


@pytest.mark.ray
@pytest.mark.slow
def test_xenna(manifest: Path, s3_bucket: str, expected: bytes, run_cli: Any) -> None:
    needs("cosmos_xenna")
    out = f"{s3_bucket}/out"
    done = run_cli(
        "executor=xenna",
        "executor.num_workers=2",
        f"manifest_path={manifest}",
        f"output_dir={out}",
        "stages.0.partition_size_mb=0.02",
    )
    assert done.returncode == 0, done.stderr
    assert Storage().read(f"{out}/alm_output.jsonl") == expected
