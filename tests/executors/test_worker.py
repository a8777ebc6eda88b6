"""What a worker does with stages of every shape."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.executors.base import Executor
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.executors.ray_data import RayDataExecutor
from curator_audio.finalizers import JoinParts, SaveToDisk
from curator_audio.pipeline.after import AfterStep
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.result import RunResult
from curator_audio.stages.base import ProcessingStage, WorkerInfo
from curator_audio.stages.general import CallFunctionStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.tasks import AudioBatch, Record

EXECUTORS = [LocalExecutor(), RayActorsExecutor(num_workers=1), RayDataExecutor(num_workers=1)]


def run(manifest: Path, out: Path, *stages: Any, executor: Executor | None = None, **options: Any) -> RunResult:
    reader = ManifestReaderStage(str(manifest), partition_size_mb=0.02)
    pipeline = Pipeline("test", [reader, *stages, ManifestWriterStage(f"{out}/out.jsonl")], after=[JoinParts()])
    return pipeline.run(executor or LocalExecutor(), **options)


def output(out: Path) -> list[Record]:
    return [json.loads(line) for line in (out / "out.jsonl").read_text(encoding="utf-8").splitlines()]


@dataclass
class Numbered(RecordStage):
    """One record to two, to none, or an error, by its number."""

    def process_record(self, record: Record) -> Any:
        number = int(record["audio_filepath"][6:10])
        if number % 4 == 0:
            raise KeyError("odd record")
        return {1: record, 2: None, 3: [record, record]}[number % 4]


def test_records_may_become_more_or_fewer_and_bad_ones_are_set_aside(manifest: Path, tmp_path: Path) -> None:
    result = run(manifest, tmp_path / "out", Numbered())
    assert result.num_output_records == 10 + 2 * 10
    assert result.quarantined == {"KeyError": 10}
    lines = [json.loads(line) for path in (tmp_path / "out" / "quarantine").iterdir() for line in path.open()]
    assert len(lines) == 10
    assert all(line["stage"] == "Numbered" and "test_worker.py" in line["message"] for line in lines)
    data = manifest.read_bytes()
    for line in lines:
        at_offset = json.loads(data[line["offset"] :].split(b"\n", 1)[0])
        assert line["source"] == str(manifest) and line["record"] == at_offset


@dataclass
class ReturnsANumber(RecordStage):
    """A mistake of its author, not of the data."""

    def process_record(self, record: Record) -> Any:
        return 3


def test_a_stage_that_returns_no_record_stops_the_run(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'ReturnsANumber' returned a int for a record"):
        run(manifest, tmp_path / "out", ReturnsANumber())


def test_a_fast_pool_waits_for_a_slow_one(manifest: Path, tmp_path: Path, ray_session: None) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    log.touch()
    # The manifest ten times: 90 partitions, far more than all queues hold.
    many = tmp_path / "many.jsonl"
    many.write_bytes(manifest.read_bytes() * 10)
    read_when_held: list[int] = []

    def open_gate() -> None:
        """Open the gate when no more is read: half a second in which nothing changed."""
        while not read_when_held or len(log.read_text().split()) != read_when_held[-1]:
            read_when_held.append(len(log.read_text().split()))
            threading.Event().wait(0.5 if read_when_held[-1] else 0.05)
        gate.touch()

    opener = threading.Thread(target=open_gate)
    opener.start()
    fast = CallFunctionStage("tests.functions.noted", {"log_path": str(log)}).with_(name="fast")
    slow = CallFunctionStage("tests.functions.held", {"gate_path": str(gate)}).with_(name="slow", num_workers=1)
    result = run(many, tmp_path / "out", fast, slow, executor=RayActorsExecutor(num_workers=1))
    opener.join()
    assert result.num_output_records == 400
    assert read_when_held[-1] < 100, "the queue before the slow stage must be bounded"


@dataclass
class WithGaps(ProcessingStage[AudioBatch, AudioBatch]):
    """Gives None beside tasks, as a stage that drops some may."""

    def process(self, task: AudioBatch) -> list[AudioBatch | None]:
        return [None, task, None, AudioBatch(task.records, task.source_path, task.offsets)]


def test_none_among_tasks_is_passed_over(manifest: Path, tmp_path: Path) -> None:
    assert run(manifest, tmp_path / "out", WithGaps()).num_output_records == 80


@dataclass
class TooFewResults(ProcessingStage[AudioBatch, AudioBatch]):
    """Forgets the results of all tasks but the first."""

    batch_size = 2

    def process(self, task: AudioBatch) -> AudioBatch:
        return task

    def process_batch(self, tasks: Sequence[AudioBatch]) -> list[AudioBatch]:
        return list(tasks[:1])


def test_a_batch_must_give_a_result_a_task(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="process_batch of 'TooFewResults' gave 1 results for 2 tasks"):
        run(manifest, tmp_path / "out", TooFewResults())


class NotADataclass(RecordStage):
    """Keeps its parameter under another name, where no rerun would look for it."""

    def __init__(self, threshold: int) -> None:
        self._limit = threshold

    def process_record(self, record: Record) -> Record:
        return record


def test_a_parameter_that_is_not_kept_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'NotADataclass' does not keep its parameter 'threshold'"):
        run(manifest, tmp_path / "out", NotADataclass(3))


@pytest.mark.parametrize("after", [[], [JoinParts()], [SaveToDisk(None)]])
def test_a_single_file_is_joined_without_being_told(after: list[AfterStep], manifest: Path, tmp_path: Path) -> None:
    stages = [ManifestReaderStage(str(manifest), 0.02), ManifestWriterStage(f"{tmp_path}/out/out.jsonl")]
    result = Pipeline("test", stages, after).run(LocalExecutor())
    assert len(result.entries) > 5
    records = [json.loads(line) for line in (tmp_path / "out" / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert records == [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    assert not list((tmp_path / "out" / "_ledger").glob("parts/*"))


@dataclass
class ReadsAFile(RecordStage):
    """Opens the file a record names, which may not be there."""

    def setup(self, worker: WorkerInfo) -> None:
        self._storage = worker.storage

    def process_record(self, record: Record) -> Record:
        if record["audio_filepath"] == "audio/0003.wav":
            self._storage.read("/nowhere/0003.wav")
        return record


def test_a_missing_file_is_the_records_fault_alone(manifest: Path, tmp_path: Path) -> None:
    result = run(manifest, tmp_path / "out", ReadsAFile())
    assert result.quarantined == {"unreadable_file": 1} and result.num_output_records == 39


@dataclass
class SplitBatches(ProcessingStage[AudioBatch, AudioBatch]):
    """Yields a task a record: one task to many."""

    def process(self, task: AudioBatch) -> Iterator[AudioBatch]:
        for record, offset in zip(task.records, task.offsets):
            self.log_metric("split", 1)
            yield AudioBatch([record], task.source_path, [offset])


@dataclass
class Pooled(ProcessingStage[AudioBatch, AudioBatch]):
    """Sees several partitions at once, and tells each record how many records it was pooled with."""

    batch_size = 3

    def process(self, task: AudioBatch) -> AudioBatch:
        raise AssertionError("process_batch is what is called")

    def process_batch(self, tasks: Sequence[AudioBatch]) -> list[AudioBatch]:
        num_pooled = sum(task.num_items for task in tasks)
        self.log_metric("batches", 1)
        return [
            AudioBatch(
                [{**record, "num_pooled": num_pooled} for record in task.records], task.source_path, task.offsets
            )
            for task in tasks
        ]


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda e: e.name)
def test_batches_pool_partitions_and_give_each_its_own_back(
    executor: Executor, manifest: Path, tmp_path: Path, entries: list[Record], ray_session: None
) -> None:
    own_pool = Pooled().with_(num_workers=1)
    result = run(manifest, tmp_path / "out", SplitBatches(), own_pool, executor=executor)
    assert [r["audio_filepath"] for r in output(tmp_path / "out")] == [e["audio_filepath"] for e in entries]
    assert max(r["num_pooled"] for r in output(tmp_path / "out")) > max(e.num_records for e in result.entries)
    assert result.metrics["Pooled"].custom["batches"] < len(result.entries)
    assert result.metrics["SplitBatches"].custom["split"] == 40


@dataclass
class Hooks(RecordStage):
    """Leaves a line for every hook that is called."""

    log_path: str

    def _log(self, text: str) -> None:
        with open(self.log_path, "a") as log:
            log.write(text + "\n")

    def setup_on_node(self, worker: WorkerInfo) -> None:
        self._log("node")

    def setup(self, worker: WorkerInfo) -> None:
        self._log("worker")

    def teardown(self) -> None:
        self._log("teardown")

    def process_record(self, record: Record) -> Record:
        return record


def test_setup_once_a_node_and_once_a_worker(manifest: Path, tmp_path: Path, ray_session: None) -> None:
    log = tmp_path / "log"
    run(manifest, tmp_path / "out", Hooks(str(log)), executor=RayActorsExecutor(num_workers=3))
    calls = log.read_text().split()
    assert calls[0] == "node" and calls.count("node") == 1
    assert 1 <= calls.count("worker") <= 3
    assert 1 <= calls.count("teardown") <= calls.count("worker")  # one that was still starting is just ended


@dataclass
class BrokenSetup(RecordStage):
    """A model that is not there."""

    def setup(self, worker: WorkerInfo) -> None:
        raise FileNotFoundError("weights.safetensors")

    def process_record(self, record: Record) -> Record:
        return record


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda e: e.name)
def test_a_stage_that_cannot_be_set_up_ends_the_run_with_its_reason(
    executor: Executor, manifest: Path, tmp_path: Path, ray_session: None
) -> None:
    from curator_audio.errors import CuratorError

    with pytest.raises(CuratorError, match=r"BrokenSetup.*weights\.safetensors"):
        run(manifest, tmp_path / "out", BrokenSetup(), executor=executor)


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda e: e.name)
def test_on_error_raise_names_file_line_and_reason(
    executor: Executor, manifest: Path, tmp_path: Path, ray_session: None
) -> None:
    from curator_audio.errors import BadRecordError

    lines = manifest.read_text(encoding="utf-8").splitlines()
    lines[2] = '{"broken": '
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(BadRecordError, match=r"manifest\.jsonl:3: \[manifest_reader\] invalid_json"):
        run(manifest, tmp_path / "out", executor=executor, on_error="raise")
    assert not (tmp_path / "out" / "out.jsonl").exists()
