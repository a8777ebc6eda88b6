"""What every worker of a run is told, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from curator_audio.ledger import LedgerEntry, LedgerPaths, StageMetrics
from curator_audio.stages.base import QuarantinedRecord, WorkerInfo
from curator_audio.tasks import Partition, Task


@dataclass(frozen=True)
class RunContext:
    """What is the same for all workers of a run.

    Args:
        worker: what stages are told.
        on_error: ``quarantine`` or ``raise``.
        scratch_budget_gb: how much of the local disk the engine may use in GB (10**9 bytes); None for no limit.
        fingerprint: that of the configuration, which ledger entries carry.
        root: that of the source, which the places of inputs are below.
    """

    worker: WorkerInfo
    on_error: str = "quarantine"
    scratch_budget_gb: float | None = None
    fingerprint: str = ""
    root: str = ""

    @property
    def paths(self) -> LedgerPaths:
        return LedgerPaths(self.worker.output_dir)


@dataclass
class WorkItem:
    """A partition on its way through the groups of a plan.

    Args:
        partition: what it is.
        tasks: what the last group made of it.
        metrics: what each stage so far did, by stage name.
        quarantined: the records set aside so far.
        inputs: what the source has noted of what it has read, by place.
    """

    partition: Partition
    tasks: list[Task]
    metrics: dict[str, StageMetrics] = field(default_factory=dict)
    quarantined: list[QuarantinedRecord] = field(default_factory=list)
    inputs: dict[str, tuple[str | None, str]] = field(default_factory=dict)

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes on its way to another worker."""
        return sum(task.memory_bytes for task in self.tasks)

    @classmethod
    def start(cls, partition: Partition) -> WorkItem:
        return cls(partition, [partition])

    def fresh(self) -> WorkItem:
        """The same item for one attempt at it, which may fail half-way and be repeated."""
        return replace(
            self,
            tasks=list(self.tasks),
            metrics=dict(self.metrics),
            quarantined=list(self.quarantined),
            inputs=dict(self.inputs),
        )


@dataclass(frozen=True)
class Failure:
    """A partition that could not be processed, although it was tried again."""

    partition: str
    message: str


Outcome = LedgerEntry | Failure
"""What becomes of a partition."""
