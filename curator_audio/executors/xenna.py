"""Running on cosmos-xenna, for those whose clusters run it already; needs the extra ``xenna``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from loguru import logger

from curator_audio.errors import ConfigurationError
from curator_audio.executors.base import Executor, outcome
from curator_audio.executors.blueprint import Blueprint
from curator_audio.executors.carried import CarriedGroup, arrived, carried, windows
from curator_audio.executors.context import Outcome, RunContext
from curator_audio.executors.ray_cluster import engine_errors
from curator_audio.executors.ray_executor import RayExecutor
from curator_audio.pipeline.plan import Plan, StageGroup
from curator_audio.report.log import logging_kept
from curator_audio.tasks import Partition

XENNA_ENVIRONMENT = {
    "RAY_MAX_LIMIT_FROM_API_SERVER": "40000",
    "RAY_MAX_LIMIT_FROM_DATA_SOURCE": "40000",
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
}
"""What xenna's monitoring and GPU allocation expect of the Ray they run on."""


class XennaExecutor(RayExecutor):
    """Runs a plan as a streaming xenna pipeline; its monitoring starts Ray's dashboard by itself."""

    name = "xenna"
    dashboard = True

    def __enter__(self) -> Executor:
        try:
            with logging_kept():
                import cosmos_xenna.pipelines.v1  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "executor=xenna needs cosmos-xenna, which is not installed; pip install 'curator-audio[xenna]'"
            ) from None
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        workers = _own_workers() if self._cluster.is_own else []
        super().__exit__(kind, error, at)
        for worker in workers:
            with contextlib.suppress(Exception):  # most have ended by themselves
                worker.kill()

    def execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        logger.disable("cosmos_xenna")  # its tables every minute; our own progress is shown
        with _environment():
            self._cluster.start(plan.num_cpus)
            with self._cluster.announced(), engine_errors(self.name):
                yield from self._execute(plan, partitions, context)

    def _execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        from cosmos_xenna.pipelines import v1 as xenna

        config = xenna.PipelineConfig(
            execution_mode=xenna.ExecutionMode.STREAMING,
            return_last_stage_outputs=True,
            cpu_allocation_percentage=1.0,  # the plan has counted what there is
            enable_work_stealing=True,
        )
        for window in windows(partitions):
            stages = [xenna.StageSpec(_body(group, context), num_workers=group.num_workers) for group in plan.groups]
            data = [carried(partition) for partition in window]
            results: Any = xenna.run_pipeline(xenna.PipelineSpec(input_data=data, stages=stages, config=config))
            for result in results or []:
                yield outcome(arrived(result))


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Xenna's environment, and no longer: with it, another executor's workers would all be on the first GPU."""
    added = {name: value for name, value in XENNA_ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _own_workers() -> list[Any]:
    """The Ray workers below this process: those of xenna 0.2 and 0.3 outlive Ray's shutdown."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "".join(process.cmdline()[:1]).startswith("ray::"):
                found.append(process)
    return found


def _body(group: StageGroup, context: RunContext) -> Any:
    """A group as a xenna stage; the class is made here because its base comes from the extra."""
    blueprint = Blueprint.of(group, context)
    batch_size, resources = group.batch_size, group.resources
    from cosmos_xenna.pipelines import v1 as xenna

    class Group(xenna.Stage):  # type: ignore[misc]
        @property
        def stage_batch_size(self) -> int:
            return batch_size

        @property
        def required_resources(self) -> Any:
            return xenna.Resources(cpus=resources.cpus, gpus=resources.gpus)

        def setup(self, worker_metadata: Any) -> None:
            self._run = CarriedGroup(blueprint)

        def process_data(self, in_data: list[bytes]) -> list[bytes]:
            return self._run(in_data)

    return Group()
