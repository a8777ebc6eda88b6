"""Running on Ray Data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from curator_audio.executors.base import MAX_ATTEMPTS, outcome, worker_died
from curator_audio.executors.blueprint import Blueprint
from curator_audio.executors.carried import CarriedGroup, arrived, carried, windows
from curator_audio.executors.context import Outcome, RunContext
from curator_audio.executors.ray_cluster import engine_errors
from curator_audio.executors.ray_executor import RayExecutor
from curator_audio.pipeline.plan import Plan, StageGroup
from curator_audio.tasks import Partition


class RayDataExecutor(RayExecutor):
    """Runs a plan as a Ray Data dataset of partitions, a pool of actors a group of stages."""

    name = "ray_data"

    def execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        self._cluster.start(plan.num_cpus)
        import ray.data

        settings = ray.data.DataContext.get_current()
        settings.enable_progress_bars = False
        settings.max_errored_blocks = -1  # a partition that kills its workers is told, and does not stop the others
        settings.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        for window in windows(partitions):
            missing = {partition.name: partition for partition in window}
            for together in (True, True, False):  # the last time each alone, so that none can take another along
                rounds = [list(missing.values())] if together else [[partition] for partition in missing.values()]
                for tried in filter(None, rounds):
                    for result in self._run(plan, tried, context):
                        missing.pop(result.partition, None)
                        yield result
            for name in missing:
                yield worker_died(name)

    def _run(self, plan: Plan, partitions: list[Partition], context: RunContext) -> Iterator[Outcome]:
        """What comes of the partitions; nothing of one whose worker died each time."""
        import ray.data

        rows = [{"item": carried(partition)} for partition in partitions]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        for group in plan.groups:
            dataset = dataset.map_batches(_Body, **_arguments(group, context, len(rows)))
        with engine_errors(self.name):
            for row in dataset.iter_rows():
                yield outcome(arrived(row["item"]))


class _Body:
    """What Ray Data's actors call."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._run = CarriedGroup(blueprint)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import pyarrow as pa

        return {"item": pa.array(self._run([bytes(data) for data in batch["item"]]), pa.large_binary())}


def _arguments(group: StageGroup, context: RunContext, num_partitions: int) -> dict[str, Any]:
    import ray.data

    arguments: dict[str, Any] = {
        "fn_constructor_args": (Blueprint.of(group, context),),
        "batch_size": group.batch_size,
        "compute": ray.data.ActorPoolStrategy(size=min(group.num_workers, num_partitions)),
        "num_cpus": group.resources.cpus,
        "max_restarts": -1,
        "max_task_retries": MAX_ATTEMPTS - 1,
    }
    if group.resources.gpus:
        arguments["num_gpus"] = group.resources.gpus
    if group.resources.memory_gb:
        arguments["memory"] = group.resources.memory_gb * 1e9
    return arguments
