"""What all executors have in common."""

from __future__ import annotations

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar

from curator_audio.errors import (
    AccessError,
    BadRecordError,
    ConfigurationError,
    CuratorError,
    LockLostError,
    SetupError,
    StorageFullError,
    describe,
)
from curator_audio.executors.context import Failure, Outcome, RunContext, WorkItem
from curator_audio.executors.worker import Worker
from curator_audio.ledger import LedgerEntry
from curator_audio.pipeline.plan import Capacity, Plan
from curator_audio.tasks import Partition

RETRY_PAUSES_SEC = (0.2, 1.0)
MAX_ATTEMPTS = len(RETRY_PAUSES_SEC) + 1
DEATH = "it ran out of memory (lower num_workers, or give resources.memory_gb), or crashed in native code"


class Executor(ABC):
    """Where a plan runs. All executors give the same bytes.

    A subclass gives ``name``, ``capacity`` and ``execute``; its parameters are those of its signature. The work itself
    is done by a ``WholePlan``, where an engine calls functions, or by a ``Worker`` for each of the plan's groups, where
    it has pools of workers. An executor is used as a context manager: entering connects (or prepares to), leaving frees
    what was started.

    Example:
        >>> class InTurn(Executor):
        ...     name = "in_turn"
        ...
        ...     def capacity(self):
        ...         return machine_capacity()
        ...
        ...     def execute(self, plan, partitions, context):
        ...         run = WholePlan(plan, context)
        ...         for partition in partitions:
        ...             yield outcome(run(partition))
    """

    name: ClassVar[str]
    """What ``metrics.json`` and messages call it."""
    in_process: ClassVar[bool] = False
    """Whether stages run in the process of the driver, and see what lies in its memory."""
    num_workers: int | None = None
    """Workers of each group that asks for no number; None for as many as fit."""

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    @abstractmethod
    def capacity(self) -> Capacity:
        """What there is to run on, known without starting anything if that can be."""

    @abstractmethod
    def execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        """Run the partitions through the plan, and yield the outcome of each as soon as it is known, in any order.

        Args:
            plan: what is run, fitted to the capacity.
            partitions: lazy, and maybe many; take those that the workers have room for.
            context: what the run says; it can be pickled.

        Raises:
            CuratorError: an error that would meet every partition, as ``outcome`` raises it.
        """


def is_fatal(error: BaseException) -> bool:
    """Whether an error would meet every other partition too, so that going on is pointless."""
    ends_the_run = (StorageFullError, AccessError, ConfigurationError, LockLostError, BadRecordError, SetupError)
    return isinstance(error, ends_the_run)


@dataclass
class WorkerError:
    """An error on its way from a worker to the driver, in a form every engine can carry."""

    partition: str
    message: str
    fatal: CuratorError | None = None

    @classmethod
    def of(cls, error: BaseException, partition: str) -> WorkerError:
        fatal = error if isinstance(error, CuratorError) and is_fatal(error) else None
        return cls(partition, describe(error), fatal)


def attempt(worker: Worker, items: list[WorkItem]) -> list[Any]:
    """Run items in this process; a failing one is tried again by itself, and in the end gives a ``WorkerError``."""
    if len(items) > 1:
        try:
            return list(worker.run([item.fresh() for item in items]))
        except (Exception, SystemExit) as error:
            if is_fatal(error):
                return [WorkerError.of(error, item.partition.name) for item in items]
    return [_attempt_one(worker, item) for item in items]


def _attempt_one(worker: Worker, item: WorkItem) -> Any:
    for pause_sec in (*RETRY_PAUSES_SEC, None):
        try:
            return worker.run([item.fresh()])[0]
        except (Exception, SystemExit) as error:
            if pause_sec is None or is_fatal(error):
                return WorkerError.of(error, item.partition.name)
            time.sleep(pause_sec)
    raise AssertionError("the last attempt returns")


def outcome(result: LedgerEntry | WorkerError) -> Outcome:
    """A worker's result as the driver tells it.

    Raises:
        CuratorError: an error that would meet every partition.
    """
    if isinstance(result, WorkerError):
        if result.fatal is not None:
            raise result.fatal
        return Failure(result.partition, result.message)
    return result


def worker_died(partition: str) -> Failure:
    """Return what becomes of a partition of which every attempt took its worker's process along."""
    return Failure(partition, f"its worker died {MAX_ATTEMPTS} times: {DEATH}")


def machine_capacity(num_gpus: float | None = None) -> Capacity:
    """What this machine has, without starting anything."""
    gpus, gpu_memory_gb = _gpus() if num_gpus is None else (num_gpus, 0.0)
    # What Ray gives to workers: the rest is for its object store and for itself.
    memory_gb = 0.6 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cpus = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu.max") as file:
        quota, period = file.read().split()
        cpus = max(1.0, min(cpus, float(quota) // float(period)))  # "max" is no number: there is no quota
    return Capacity(cpus, gpus, gpu_memory_gb, memory_gb, oversubscribed=True)


def _gpus() -> tuple[float, float]:
    """Number of GPUs and the memory in GB of the smallest."""
    import shutil
    import subprocess

    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not shutil.which("nvidia-smi"):
        return 0.0, 0.0
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return 0.0, 0.0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    num = len(visible.split(",")) if visible else len(lines)
    return float(num), min(map(float, lines)) * 2**20 / 1e9 if lines else 0.0


def batched(items: Iterable[WorkItem], size: int) -> Iterator[list[WorkItem]]:
    """Items in lists of ``size``, the last one shorter."""
    batch: list[WorkItem] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
