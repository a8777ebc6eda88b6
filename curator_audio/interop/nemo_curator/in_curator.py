"""The class that NeMo Curator sees: a stage of its own that runs one of ours. Importing it imports NeMo Curator."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from loguru import logger
from nemo_curator.stages.base import ProcessingStage as TheirStage
from nemo_curator.stages.resources import Resources as TheirResources
from nemo_curator.tasks import AudioTask, FailedTask

from curator_audio.errors import RecordError
from curator_audio.interop.nemo_curator.sound import given_back, name_of
from curator_audio.interop.nemo_curator.their_stage import resources_of
from curator_audio.stages.base import ProcessingStage, QuarantinedRecord, WorkerInfo, as_tasks
from curator_audio.tasks import AudioBatch, Record


class StageInCurator(TheirStage[AudioTask, AudioTask]):  # type: ignore[misc]
    """Runs a stage of ours; made by ``for_curator``.

    Args:
        stage: from ``AudioBatch`` to ``AudioBatch``.
    """

    def __init__(self, stage: ProcessingStage[Any, Any]) -> None:
        asked = stage.resources
        share = {"gpu_memory_gb": asked.gpu_memory_gb} if asked.gpu_memory_gb else {"gpus": asked.gpus}
        self.stage = stage
        self.name = stage.name
        self.resources = TheirResources(cpus=asked.cpus, **share)

    def num_workers(self) -> int | None:
        return self.stage.num_workers()

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], [name for name in self.stage.inputs()[1] if name != "audio"]

    def outputs(self) -> tuple[list[str], list[str]]:
        return [], list(self.stage.outputs()[1])

    def setup_on_node(self, node_info: Any = None, worker_metadata: Any = None) -> None:
        self.stage.setup_on_node(WorkerInfo())

    def setup(self, worker_metadata: Any = None) -> None:
        has = resources_of(self)
        if has != self.stage.resources:  # others were asked of Curator; a stage chooses its device by them
            self.stage = self.stage.with_(resources=has)
        self.stage.setup(WorkerInfo())

    def teardown(self) -> None:
        self.stage.teardown()

    def process(self, task: AudioTask) -> AudioTask | list[AudioTask]:
        done = self.process_batch([task])
        return done[0] if len(done) == 1 else done

    def process_batch(self, tasks: list[AudioTask]) -> list[AudioTask | None]:
        """One result a task, None for one that was dropped; more where the stage makes several of one."""
        made: list[list[Any]] = [[] for _ in tasks]
        batch = AudioBatch([], offsets=[])
        for index, task in enumerate(tasks):
            try:
                batch.records.append(self._record_of(task))
                batch.offsets.append(index)
            except RecordError as error:
                self.stage.set_aside("", error, offset=index)
        for result in as_tasks(self.stage.process(batch)):
            for record, index in zip(result.records, result.offsets):
                made[index].append(self._task_of(tasks[index], record))
        observed = self.stage.take_observations()
        for bad in observed.quarantined:
            made[bad.offset].append(self._failed(tasks[bad.offset], bad))
        reasons = Counter(f"quarantined_{bad.reason}" for bad in observed.quarantined)
        self._log_metrics(observed.metrics | reasons)
        if all(len(results) < 2 for results in made):
            return [results[0] if results else None for results in made]
        flat = [result for results in made for result in results]
        return [*flat, None] if len(flat) == len(tasks) else flat  # None: or they would be taken for one a task

    def _record_of(self, task: AudioTask) -> Record:
        record = dict(task.data)
        if "audio" in self.stage.inputs()[1] and "audio" not in record:
            audio = _audio_of(record)
            return record if audio is None else record | {"audio": audio}
        return record

    def _task_of(self, task: AudioTask, record: Record) -> AudioTask:
        if "audio" not in task.data and "audio" not in self.stage.outputs()[1]:
            record = {name: value for name, value in record.items() if name != "audio"}
        return AudioTask(
            data=record,
            dataset_name=task.dataset_name,
            filepath_key=task.filepath_key,
            _metadata=dict(task._metadata),
            _stage_perf=list(task._stage_perf),
        )

    def _failed(self, task: AudioTask, bad: QuarantinedRecord) -> FailedTask:
        if self.is_source_stage:  # where FailedTask is not supported
            raise RecordError(bad.reason, bad.message)
        logger.warning(f"'{self.name}' cannot process task {task.task_id}: {bad.reason}: {bad.message}")
        return FailedTask()


def _audio_of(record: Record) -> dict[str, Any] | None:
    """The ``audio`` of a record that has its sound as Curator's have it; None where it has none."""
    from curator_audio.stages.speech.sound import audio_field, decode_sound

    path = record.get("audio_filepath")
    if record.get("waveform") is not None:
        samples, rate = given_back(record["waveform"], record.get("sample_rate"))
    elif isinstance(path, str) and os.path.isfile(path):
        with open(path, "rb") as file:
            samples, rate = decode_sound(file.read())
    else:
        return None
    return audio_field(samples, rate, name_of(record))
