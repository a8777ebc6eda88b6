"""Running in this process: small inputs, debuggers, tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from curator_audio.executors.base import Executor, WorkerError, attempt, batched, machine_capacity, outcome
from curator_audio.executors.context import Outcome, RunContext, WorkItem
from curator_audio.executors.worker import Worker
from curator_audio.pipeline.plan import Capacity, Plan
from curator_audio.tasks import Partition


class LocalExecutor(Executor):
    """Runs partitions one after the other in this process.

    Example:
        >>> LocalExecutor().capacity().cpus >= 1
        True
    """

    name = "local"
    in_process = True
    num_workers = 1

    def capacity(self) -> Capacity:
        return machine_capacity()

    def execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        with ExitStack() as stack:
            workers = []
            for group in plan.groups:
                worker = Worker(group, context)
                worker.setup()
                stack.callback(worker.teardown)
                workers.append((worker, group.batch_size))
            results: Iterator[Any] = map(WorkItem.start, partitions)
            for worker, batch_size in workers:
                results = _through(worker, batch_size, results)
            for result in results:
                yield outcome(result)


def _through(worker: Worker, batch_size: int, items: Iterator[Any]) -> Iterator[Any]:
    errors: list[WorkerError] = []

    def good() -> Iterator[WorkItem]:
        for item in items:
            if isinstance(item, WorkerError):
                errors.append(item)
            else:
                yield item

    for batch in batched(good(), batch_size):
        yield from attempt(worker, batch)
    yield from errors
