"""Running on dask.distributed: ``executor=dask``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from curator_audio.errors import ConfigurationError, describe
from curator_audio.executors.base import MAX_ATTEMPTS, Executor, machine_capacity, outcome, worker_died
from curator_audio.executors.context import Failure, Outcome, RunContext
from curator_audio.executors.whole_plan import WholePlan
from curator_audio.pipeline.plan import Capacity, Plan
from curator_audio.tasks import Partition


@dataclass
class DaskExecutor(Executor):
    """Runs each partition as a task of a Dask cluster, through all stages.

    Args:
        num_workers: worker processes of a cluster started here; None for one a core.
        scheduler: the address of a running cluster, such as ``tcp://host:8786``; None starts one here.

    Raises:
        ConfigurationError: fewer than one worker.
    """

    num_workers: int | None = None
    scheduler: str | None = None

    name = "dask"

    def __post_init__(self) -> None:
        if self.num_workers is not None and self.num_workers < 1:
            raise ConfigurationError(f"num_workers is {self.num_workers}; give a whole number of at least 1")

    def capacity(self) -> Capacity:
        """Return what the cluster has: of one that runs it is asked, of one to be started it is known."""
        here = machine_capacity(num_gpus=0)  # Dask would not tell its workers which GPU is theirs
        if self.scheduler is None:
            return here
        with self._client(num_workers=0) as client:
            return replace(here, cpus=float(sum(client.nthreads().values())))

    def execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        from distributed import as_completed

        num_workers = self.num_workers or max(group.num_workers for group in plan.groups)
        run = WholePlan(plan, context)
        started: dict[str, Partition] = {}
        lost: list[Partition] = []
        with self._client(num_workers) as client:
            running = as_completed()

            def start(number: int) -> None:
                for partition in islice(partitions, number):
                    future = client.submit(run, partition, pure=False)
                    started[future.key] = partition
                    running.add(future)

            start(2 * sum(client.nthreads().values()))  # so that no worker waits for the driver
            for future in running:
                partition = started.pop(future.key)
                done = _outcome(future, partition)
                if done is None:
                    lost.append(partition)
                else:
                    yield done
                start(1)
            for partition in lost:
                yield _alone(client, run, partition)
            client.run(run.close)

    @contextmanager
    def _client(self, num_workers: int) -> Iterator[Any]:
        """A client of the cluster that runs, or of one for as long as the client is in use."""
        import dask
        from distributed import Client, LocalCluster

        if self.scheduler is not None:
            try:
                client = Client(self.scheduler)
            except OSError as error:
                raise ConfigurationError(f"executor.scheduler is {self.scheduler!r}: {error}; check it") from None
            with client:
                yield client
            return
        at_once = {"distributed.scheduler.allowed-failures": 0}  # what a worker took along is told, not tried again
        options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.CRITICAL}
        with (
            dask.config.set(at_once),
            LocalCluster(n_workers=num_workers, **options) as cluster,
            Client(cluster) as client,
        ):
            yield client


def _outcome(future: Any, partition: Partition) -> Outcome | None:
    """What became of a partition; None where its worker's process died, of it or of another partition it had."""
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        return outcome(future.result())
    return None if isinstance(error, KilledWorker) else Failure(partition.name, describe(error))


def _alone(client: Any, run: WholePlan, partition: Partition) -> Outcome:
    """Try a partition again while no other runs, so that none is lost with it."""
    for _ in range(MAX_ATTEMPTS - 1):
        if (done := _outcome(client.submit(run, partition, pure=False), partition)) is not None:
            return done
    return worker_died(partition.name)
