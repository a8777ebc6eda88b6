"""Workers and nodes that die in the middle of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curator_audio.executors.base import Executor
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.executors.ray_data import RayDataExecutor
from curator_audio.executors.ray_executor import RayExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.general import CallFunctionStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.resources import Resources


def pipeline(manifest: Path, output_dir: Path, function: str, own_pool: bool = False, **arguments: Any) -> Pipeline:
    stage = CallFunctionStage(f"tests.functions.{function}", {key: str(value) for key, value in arguments.items()})
    if own_pool:
        stage = stage.with_(resources=Resources(cpus=0.5))
    reader = ManifestReaderStage(str(manifest), partition_size_mb=0.02)
    return Pipeline("test", [reader, stage, ManifestWriterStage(f"{output_dir}/out.jsonl")], after=[JoinParts()])


@pytest.fixture
def expected(manifest: Path, tmp_path: Path) -> bytes:
    pipeline(manifest, tmp_path / "expected", "noted", log_path=tmp_path / "expected.log").run(LocalExecutor())
    return (tmp_path / "expected" / "out.jsonl").read_bytes()


@pytest.mark.parametrize("own_pool", [False, True], ids=["fused", "own pool"])
@pytest.mark.parametrize("kind", [RayActorsExecutor, RayDataExecutor], ids=lambda e: e.name)
def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    kind: type[RayExecutor], own_pool: bool, manifest: Path, tmp_path: Path, expected: bytes, ray_session: None
) -> None:
    marker = tmp_path / "killed"
    result = pipeline(
        manifest,
        tmp_path / "out",
        "killed_once",
        own_pool,
        log_path=tmp_path / "log",
        victim="audio/0020.wav",
        marker_path=marker,
    ).run(kind(num_workers=1 if own_pool else 2))
    assert marker.exists(), "no worker was killed"
    assert result.exit_status == 0
    assert (tmp_path / "out" / "out.jsonl").read_bytes() == expected


def test_a_partition_that_kills_every_worker_fails_alone_and_is_tried_again_by_the_next_run(
    manifest: Path, tmp_path: Path, ray_session: None
) -> None:
    poisoned = pipeline(manifest, tmp_path / "out", "killed_always", victim="audio/0020.wav")
    result = poisoned.run(RayActorsExecutor(num_workers=2))
    assert result.exit_status == 1
    [(name, message)] = result.failures.items()
    assert "worker died 3 times" in message
    assert not (tmp_path / "out" / "out.jsonl").exists(), "an incomplete output must not look like a complete one"
    done = {path.stem for path in (tmp_path / "out" / "_ledger" / "parts").iterdir()}
    assert done == {entry.partition for entry in result.entries if entry.parts}
    assert name not in done and len(done) > 5

    again = poisoned.run(RayActorsExecutor(num_workers=2))
    assert again.num_done_before == len(result.entries)
    assert list(again.failures) == [name]


def test_it_fails_alone_in_a_pool_of_its_own_too(manifest: Path, tmp_path: Path, ray_session: None) -> None:
    poisoned = pipeline(manifest, tmp_path / "out", "killed_always", own_pool=True, victim="audio/0020.wav")
    result = poisoned.run(RayActorsExecutor(num_workers=1))
    assert len(result.failures) == 1
    assert sum(entry.num_records for entry in result.entries) > 30, "the others finish"


@pytest.mark.parametrize("executor", [LocalExecutor(), RayActorsExecutor(num_workers=1)], ids=lambda e: e.name)
def test_a_stage_that_fails_as_a_whole_is_tried_again_then_reported(
    executor: Executor, manifest: Path, tmp_path: Path, ray_session: None
) -> None:
    result = pipeline(manifest, tmp_path / "out", "failing", victim="audio/0003.wav").run(executor)
    [message] = result.failures.values()
    assert message.startswith("MemoryError: no room for the model (")
    assert result.exit_status == 1 and not result.quarantined


@pytest.fixture
def second_node(ray_cluster: Any) -> Iterator[Any]:
    """A node more in the cluster, with two CPUs."""
    node = ray_cluster.add_node(num_cpus=2, num_gpus=0)
    yield node
    if node in ray_cluster.worker_nodes:  # the test has failed before it was removed
        ray_cluster.remove_node(node, allow_graceful=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RayActorsExecutor, RayDataExecutor], ids=lambda e: e.name)
def test_a_node_removed_in_mid_run(
    kind: type[RayExecutor],
    manifest: Path,
    tmp_path: Path,
    expected: bytes,
    ray_session: None,
    ray_cluster: Any,
    second_node: Any,
) -> None:
    import threading

    log, gate = tmp_path / "log", tmp_path / "gate"
    log.touch()

    def remove_node() -> None:
        while len(log.read_text().splitlines()) < 12:
            time.sleep(0.01)  # and not the processor of those who are waited for
        ray_cluster.remove_node(second_node, allow_graceful=False)
        gate.touch()

    remover = threading.Thread(target=remove_node)
    remover.start()
    stage = CallFunctionStage(
        "tests.functions.waiting_for", {"log_path": str(log), "gate_path": str(gate), "open_for": 12}
    )
    run = Pipeline(
        "test",
        [
            ManifestReaderStage(str(manifest), partition_size_mb=0.02),
            stage,
            ManifestWriterStage(f"{tmp_path}/out/out.jsonl"),
        ],
        after=[JoinParts()],
    )
    result = run.run(kind(num_workers=5))  # one more than the first node has room for
    remover.join()
    assert result.exit_status == 0
    assert (tmp_path / "out" / "out.jsonl").read_bytes() == expected
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["partitions"]["failed"] == 0
