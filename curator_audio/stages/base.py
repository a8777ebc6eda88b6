"""The base class of every stage, and of composites."""

from __future__ import annotations

import copy
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from curator_audio.errors import CuratorError, RecordError
from curator_audio.stages.fields import Fields, FieldTypes
from curator_audio.stages.resources import Resources
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record, Task

if TYPE_CHECKING:
    from curator_audio.ledger import StageMetrics

In = TypeVar("In", bound=Task, contravariant=True)
Out = TypeVar("Out", bound=Task, covariant=True)

NAMED_BY_WARNINGS = 20
"""Number of recordings that a worker names in warnings of one kind: a corpus may have one fault in all of them."""


@dataclass
class QuarantinedRecord:
    """A record that could not be processed: where it came from, which stage refused it, and why."""

    source_path: str
    offset: int
    stage: str
    reason: str
    message: str
    record: Record | bytes | None
    num_bytes: int = 0


@dataclass
class Observations:
    """Metrics, quarantined records and the like, which the engine takes from a stage after every task."""

    metrics: dict[str, float] = field(default_factory=dict)
    quarantined: list[QuarantinedRecord] = field(default_factory=list)
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)
    inputs: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    """Of places that a source has read, the fingerprint where it was not known before, and the hash of the content."""


@dataclass(frozen=True)
class WorkerInfo:
    """The worker that a stage is set up in.

    Args:
        run_id: the same on all workers of a run, new for every run.
        output_dir: the folder of the run.
        storage: the files of the run, with its options and credentials.
    """

    run_id: str = ""
    output_dir: str = ""
    storage: Storage = field(default_factory=Storage)


class ProcessingStage(ABC, Generic[In, Out]):
    """The base of all stages: ``ProcessingStage[In, Out]`` takes an ``In`` and gives an ``Out``.

    Stages that look at one record at a time are a ``RecordStage``, and those that need a whole batch are a
    ``ProcessingStage[AudioBatch, AudioBatch]``.

    A stage is a dataclass whose fields are its parameters, in Python and in YAML. ``__post_init__`` checks them and
    raises a ``ConfigurationError``, so that a bad value is an error before anything runs. ``setup`` loads models and
    the like, in every worker. Records are never changed, but replaced: they may share parts.

    Example:
        >>> from dataclasses import dataclass
        >>> from curator_audio.tasks import AudioBatch
        >>> @dataclass
        ... class FirstRecords(ProcessingStage[AudioBatch, AudioBatch]):
        ...     '''Keep the first records of every batch.'''
        ...     count: int = 1
        ...     name = "first_records"
        ...     def process(self, task: AudioBatch) -> AudioBatch:
        ...         return AudioBatch(task.records[: self.count], task.source_path, task.offsets[: self.count])
        >>> FirstRecords(count=2).process(AudioBatch([{"a": 1}, {"a": 2}, {"a": 3}])).num_items
        2
    """

    name: str = ""
    """The name in messages, metrics and the summary; that of the class where not set."""
    resources: Resources = Resources()
    """The resources that one worker of this stage needs."""
    batch_size: int = 1
    """The number of tasks that ``process_batch`` is given at once."""
    version: ClassVar[int] = 1
    """Add 1 whenever the stage gives other output for the same parameters, so that old parts are not mixed in."""
    free_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters that choose how much a run does, and do not change its output: a later run may have others."""

    _num_workers: int | None = None
    _observed: Observations | None = None
    _num_warnings: dict[str, int] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    @abstractmethod
    def process(self, task: In) -> Any:
        """Process one task: return a task, a list or iterator of tasks, or None to drop it."""

    def process_partition(self, tasks: Iterator[In]) -> Iterator[Any]:
        """Process all tasks of a partition, in order; override where records of several tasks belong together.

        Args:
            tasks: the tasks, each made when it is asked for: take all of them, and hold no more than must be.
        """
        for task in tasks:
            yield from as_tasks(self.process(task))

    def process_batch(self, tasks: Sequence[In]) -> list[Any]:
        """Process ``batch_size`` tasks at once; return one result (as of ``process``) a task, in order."""
        return [self.process(task) for task in tasks]

    def inputs(self) -> tuple[list[str], list[str]]:
        """Return what the stage needs: (attributes of the task, fields of its records)."""
        return [], []

    def outputs(self) -> tuple[list[str], Sequence[str] | FieldTypes]:
        """Return what the stage adds: (attributes of the task, fields of its records).

        Give fields with their types, as in ``{"loudness_db": "float"}``: ``string``, ``bool``, ``int`` (64 bits),
        ``int32``, ``float`` (64 bits), ``float32``, ``binary``, ``audio``, ``object``, or ``list<…>`` of one of them.
        These are the types of their columns in every output. The type of a field given by name alone is taken from the
        records.
        """
        return [], []

    def fields_after(self, fields: Fields) -> Fields:
        """Return the record fields after this stage, given those before; override where fields are removed."""
        return fields.plus(self.outputs()[1])

    def num_workers(self) -> int | None:
        """Return the number of workers to run, or None to let the planner decide."""
        return self._num_workers

    def check_source(self, source: Any) -> None:
        """Look at the source of the pipeline, in the driver, before anything runs.

        Raises:
            ConfigurationError: the run would be in vain.
        """

    def setup_on_node(self, worker: WorkerInfo) -> None:
        """Run once on every node before any worker there is set up (downloads, caches)."""

    def setup(self, worker: WorkerInfo) -> None:
        """Run once in every worker before its first task (models, connections)."""

    def teardown(self) -> None:
        """Run once in every worker after its last task."""

    def with_(
        self,
        *,
        name: str | None = None,
        resources: Resources | None = None,
        num_workers: int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Return a copy of the stage with another name, other resources, workers or batch size.

        Example:
            >>> from curator_audio.stages.general import DropFieldsStage
            >>> DropFieldsStage(["words"]).with_(name="slim", num_workers=4).num_workers()
            4
        """
        stage = copy.copy(self)
        if name is not None:
            stage.name = name
        if resources is not None:
            stage.resources = resources
        if num_workers is not None:
            stage._num_workers = num_workers
        if batch_size is not None:
            stage.batch_size = batch_size
        return stage

    @property
    def observed(self) -> Observations:
        if self._observed is None:
            self._observed = Observations()
        return self._observed

    def take_observations(self) -> Observations:
        """Return what was logged and quarantined since the last call; called by the engine."""
        observed, self._observed = self.observed, None
        return observed

    def quarantine(self, task: AudioBatch, index: int, error: CuratorError) -> None:
        """Quarantine a record of a task, with the file and offset it came from."""
        self.set_aside(task.path_of(index), error, task.records[index], task.offsets[index])

    def set_aside(self, path: str, error: CuratorError, record: Record | bytes | None = None, offset: int = -1) -> None:
        """Quarantine a file, or the record at a byte of it.

        Args:
            path: the file.
            error: the reason.
            record: the record; None stands for the file, by its name.
            offset: the byte; -1 for the file as a whole.
        """
        reason, message = (
            (error.reason, error.message) if isinstance(error, RecordError) else ("unreadable_file", str(error))
        )
        found = {"file": os.path.basename(path)} if record is None else record
        num_bytes = len(found) if isinstance(found, bytes) else 0
        bad = QuarantinedRecord(path, offset, self.name, reason, message, found, num_bytes)
        self.observed.quarantined.append(bad)

    def log_metric(self, name: str, value: float) -> None:
        """Add ``value`` to the stage's metric ``name``; the summary shows the total. NaN and infinity are left out."""
        metrics = self.observed.metrics
        total = metrics.get(name, 0) + float(value)
        if math.isfinite(total):
            metrics[name] = total

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """Add to several metrics at once."""
        for name, value in metrics.items():
            self.log_metric(name, value)

    def warn_and_count(self, metric: str, message: str, value: float = 1) -> None:
        """Add ``value`` to a metric, and warn; after 20 warnings of a metric, a worker only counts.

        Args:
            metric: the metric; the last warning names it.
            message: a line that names the recording or file, what was found in it, and what was done.
            value: the number to add.
        """
        from loguru import logger  # which a machine that only encodes need not have

        self.log_metric(metric, value)
        if self._num_warnings is None:
            self._num_warnings = {}
        number = self._num_warnings[metric] = self._num_warnings.get(metric, 0) + 1
        if number <= NAMED_BY_WARNINGS:
            logger.warning(message)
        elif number == NAMED_BY_WARNINGS + 1:
            logger.warning(
                f"'{self.name}' has warned of {NAMED_BY_WARNINGS} such cases, and this worker names no more of them; "
                f"all are counted as {metric} in the summary and in metrics.json"
            )

    def forget_warnings(self) -> None:
        """Count warnings from 0 again; called by the engine when a run begins."""
        self._num_warnings = None

    def log_skipped(self, recording: str, reason: str) -> None:
        """Count a piece of a recording that is left out, in the metric ``skipped_REASON`` and in ``skipped.jsonl``."""
        self.log_metric(f"skipped_{reason}", 1)
        reasons = self.observed.skipped.setdefault(recording, {})
        reasons[reason] = reasons.get(reason, 0) + 1

    def derived_metrics(self, totals: Mapping[str, float]) -> dict[str, float]:
        """Return figures computed from the totals of the stage's metrics over a run, such as a share or a rate."""
        return {}

    def doubts(self, before: Sequence[ProcessingStage[Any, Any]]) -> list[str]:
        """Return warnings about parameters that do not suit the stages before; told before anything runs."""
        return []

    def remarks_after(self, metrics: StageMetrics) -> list[str]:
        """Return warnings about the metrics of a run, such as why its output is empty."""
        return []

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds spent in the ``with`` block to the metric ``name``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.log_metric(name, time.perf_counter() - started)


class CompositeStage(ProcessingStage[In, Out]):
    """A stage made of stages: a name for a chain that is always used together."""

    @abstractmethod
    def decompose(self) -> list[ProcessingStage[Any, Any]]:
        """Return the stages it stands for, in order; composites among them are decomposed in turn."""

    def process(self, task: In) -> Any:
        raise TypeError(f"composite stage '{self.name}' is decomposed by the planner and processes nothing itself")


def as_tasks(result: Any) -> Any:
    """Return the result of ``process`` as something to iterate over."""
    if result is None:
        return ()
    return (result,) if isinstance(result, Task) else result
