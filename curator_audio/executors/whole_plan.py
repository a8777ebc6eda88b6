"""A whole plan as a function: all that an engine needs which calls functions in processes of its own."""

from __future__ import annotations

import threading
import uuid
from typing import Any

from curator_audio.executors.base import WorkerError, attempt
from curator_audio.executors.blueprint import Blueprint
from curator_audio.executors.context import RunContext, WorkItem
from curator_audio.executors.worker import Worker
from curator_audio.ledger import LedgerEntry
from curator_audio.pipeline.plan import Plan
from curator_audio.tasks import Partition

_workers: dict[tuple[str, int], list[Worker]] = {}


class WholePlan:
    """Take a partition through all stages, in whatever process and thread this is called.

    It can be pickled. Where it is called first, the stages are set up; they stay so for later calls there, until
    ``close``. A partition that fails is tried again in place.

    Args:
        plan: what to run.
        context: what the run says.
    """

    def __init__(self, plan: Plan, context: RunContext) -> None:
        self._blueprints = [Blueprint.of(group, context) for group in plan.groups]
        self._key = uuid.uuid4().hex

    def __call__(self, partition: Partition) -> LedgerEntry | WorkerError:
        """Return what became of the partition, for ``outcome`` in the driver; nothing is raised."""
        try:
            workers = self._set_up()
        except Exception as error:
            return WorkerError.of(error, partition.name)
        result: Any = WorkItem.start(partition)
        for worker in workers:
            (result,) = attempt(worker, [result])
            if isinstance(result, WorkerError):
                break
        return result  # type: ignore[no-any-return]

    def _set_up(self) -> list[Worker]:
        """The workers of this thread: what a stage observes is of one partition at a time."""
        here = (self._key, threading.get_ident())
        if here not in _workers:
            _workers[here] = [blueprint.build() for blueprint in self._blueprints]
        return _workers[here]

    def close(self) -> None:
        """Let the stages of this process clean up."""
        for here in [here for here in _workers if here[0] == self._key]:
            for worker in _workers.pop(here):
                worker.teardown()
