"""Stages of NeMo Curator's kind that do what such stages may do, and what nobody would think of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from nemo_curator.stages.base import CompositeStage, ProcessingStage
from nemo_curator.stages.resources import Resources
from nemo_curator.tasks import AudioTask, DocumentBatch, FailedTask, NoneTask


@dataclass
class OfTheUsualKind(ProcessingStage[AudioTask, AudioTask]):
    """Does with a task what ``does`` says, one at a time."""

    does: str = "nothing"
    name: str = "usual"

    def process(self, task: AudioTask) -> Any:
        data = task.data
        if self.does == "mutates":
            data["segments"][0]["text"] = data["text"] = "changed"
            data.language = "en"  # which is a field, too
            return task
        if self.does == "numbers":
            data |= {
                "wer": np.float32(0.25),
                "count": np.int64(7),
                "good": np.bool_(True),
                "word": np.str_("so"),
                "mean": torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True),
                "scores": torch.ones(3),
                "mel": torch.zeros(80, 3),
                "model": object(),
                "pair": (np.float64(1.5), {"deep": np.zeros(2), "kept": {2}}),
                "exact": np.longdouble(2),
                "nan": np.float32("nan"),
            }
            return task
        if self.does == "keeps the path":
            return AudioTask(
                data={**data, "original": data["audio_filepath"], "again": [f"see {data['audio_filepath']}"]}
            )
        if self.does == "renames":
            return AudioTask(data={"sentence" if name == "text" else name: value for name, value in data.items()})
        if self.does == "splits":
            return [AudioTask(data=data | {"part": part}) for part in range(data["n"])]
        if self.does == "quieter":
            data["waveform"] *= 0.5
            return task
        if self.does == "resamples":
            data |= {"waveform": data["waveform"][:, ::2], "sample_rate": data["sample_rate"] // 2}
            return task
        if self.does == "only sound":
            return AudioTask(data={"waveform": data["waveform"][:, :100], "sample_rate": data["sample_rate"]})
        if self.does == "notes":
            task._metadata["mapping"] = (np.int64(1), 2)
            return task
        if self.does == "reads notes":
            data["noted"] = task._metadata["mapping"]
            return task
        if self.does == "raises":
            raise ValueError("no such word")
        if self.does == "gathers":
            self.gathered = [*getattr(self, "gathered", []), task]
            return self.gathered if len(self.gathered) > 1 else None
        if self.does == "fills the GPU":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        if self.does == "meters":
            self._log_metrics({"seconds": 1.5})
            return task
        given = {
            "nothing": task,
            "none": None,
            "empty": [],
            "none task": NoneTask(),
            "failed": FailedTask(),
            "text": "a",
        }
        return given[self.does]


@dataclass
class InBatches(ProcessingStage[AudioTask, AudioTask]):
    """Works on several tasks at once; ``sizes`` notes how many."""

    does: str = "keeps even"
    name: str = "in_batches"
    batch_size: int = 3
    sizes: ClassVar[list[int]] = []

    def process(self, task: AudioTask) -> AudioTask:
        raise NotImplementedError

    def process_batch(self, tasks: list[AudioTask]) -> Any:
        self.sizes.append(len(tasks))
        if any(task.data["n"] == "bad" for task in tasks):
            raise ValueError("cannot work on bad")
        if self.does == "keeps even":
            return [task for task in tasks if task.data["n"] % 2 == 0]
        if self.does == "doubles":
            return [AudioTask(data=dict(t.data), _metadata=t._metadata) for t in reversed(tasks) for _ in range(2)]
        if self.does == "in order":
            return [AudioTask(data={"n": task.data["n"] * 10}) for task in tasks]
        return [AudioTask(data={"n": 0})] * (len(tasks) + 1)


@dataclass
class SetUp(ProcessingStage[AudioTask, AudioTask]):
    """Notes how it is set up."""

    log_path: str = ""
    name: str = "set_up"
    resources: Resources = field(default_factory=lambda: Resources(cpus=2.0, gpus=0.5))

    def setup_on_node(self, node_info: Any = None, worker_metadata: Any = None) -> None:
        self._note(f"node {type(node_info).__name__} {type(worker_metadata).__name__}")

    def setup(self, worker_metadata: Any = None) -> None:
        self._note(
            f"worker {type(worker_metadata).__name__} on {self._resources.cpus:g} CPUs, {self._resources.gpus:g} GPUs"
        )

    def teardown(self) -> None:
        self._note("end")

    def process(self, task: AudioTask) -> AudioTask:
        return task

    def num_workers(self) -> int | None:
        return 1

    def _note(self, line: str) -> None:
        with Path(self.log_path).open("a") as log:
            log.write(line + "\n")


class ToText(ProcessingStage[AudioTask, DocumentBatch]):
    """Gives another kind of task."""

    name = "to_text"

    def process(self, task: AudioTask) -> DocumentBatch:
        raise NotImplementedError


class Composite(CompositeStage[AudioTask, AudioTask]):
    """Stands for others."""

    name = "composite"

    def decompose(self) -> list[Any]:
        return []
