"""A plan as one function, in threads that stand for the processes of an engine."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from curator_audio.errors import SetupError
from curator_audio.executors import base
from curator_audio.executors.base import Executor, machine_capacity, outcome
from curator_audio.executors.context import Outcome, RunContext
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.whole_plan import WholePlan
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.pipeline.plan import Capacity, Plan
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.resources import Resources
from curator_audio.tasks import AudioBatch, Partition, Record


class Threads(Executor):
    """An executor as short as one can be."""

    name = "threads"
    in_process = True

    def capacity(self) -> Capacity:
        return machine_capacity(num_gpus=0)

    def execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        run = pickle.loads(pickle.dumps(WholePlan(plan, context)))
        with ThreadPoolExecutor(2) as pool:
            yield from map(outcome, pool.map(run, partitions))
        run.close()


@dataclass
class Watched(RecordStage):
    """Notes in which thread it is set up and cleaned up, and fails as it is told."""

    fails: str = ""

    set_up: ClassVar[list[int]] = []
    torn_down: ClassVar[list[int]] = []

    def setup(self, worker: WorkerInfo) -> None:
        self.set_up.append(threading.get_ident())
        if self.fails == "setup":
            raise OSError("no weights")

    def teardown(self) -> None:
        self.torn_down.append(1)

    def process(self, task: AudioBatch) -> AudioBatch | list[AudioBatch]:
        if self.fails and any(record["audio_filepath"].endswith(self.fails) for record in task.records):
            raise RuntimeError("out of memory")
        return super().process(task)

    def process_record(self, record: Record) -> Record:
        return {**record, "seen": True}


@pytest.fixture(autouse=True)
def forgotten() -> None:
    Watched.set_up.clear()
    Watched.torn_down.clear()


def pipeline(manifest: Path, out: Path, fails: str = "") -> Pipeline:
    reader = ManifestReaderStage(str(manifest), partition_size_mb=0.02)
    watched = Watched(fails).with_(resources=Resources(cpus=0.5))  # a group of its own
    return Pipeline("test", [reader, watched, ManifestWriterStage(f"{out}/out.jsonl")])


def test_the_same_bytes_and_stages_that_are_set_up_once_a_thread(manifest: Path, tmp_path: Path) -> None:
    pipeline(manifest, tmp_path / "local").run(LocalExecutor())
    forgotten_in_local = len(Watched.set_up)
    result = pipeline(manifest, tmp_path / "threads").run(Threads())
    assert len(result.entries) > 5
    assert (tmp_path / "threads" / "out.jsonl").read_bytes() == (tmp_path / "local" / "out.jsonl").read_bytes()
    threads = Watched.set_up[forgotten_in_local:]
    assert 1 <= len(threads) == len(set(threads)) <= 2
    assert len(Watched.torn_down) == len(Watched.set_up)


def test_a_partition_that_fails_is_tried_again_and_told(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "RETRY_PAUSES_SEC", (0.0, 0.0))
    name = "0007.wav"
    assert sum(name in line for line in manifest.read_text(encoding="utf-8").splitlines()) == 1
    result = pipeline(manifest, tmp_path / "out", fails=name).run(Threads())
    (message,) = result.failures.values()
    assert "RuntimeError: out of memory" in message
    assert len(result.entries) > 5


def test_a_stage_that_cannot_be_set_up_ends_the_run(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"stage 'Watched' could not be set up: OSError: no weights"):
        pipeline(manifest, tmp_path / "out", fails="setup").run(Threads())
