"""Running on cosmos-xenna, for those whose clusters run it already; needs the extra ``xenna``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.executors.base import Executor, outcome
from curator_audio.executors.carried import CarriedGroup, arrived, carried, windows
from curator_audio.executors.context import Outcome, RunContext
from curator_audio.executors.ray_executor import RayExecutor
from curator_audio.pipeline.plan import Plan, StageGroup
from curator_audio.tasks import Partition


class XennaExecutor(RayExecutor):
    """Runs a plan as a streaming xenna pipeline; its monitoring starts Ray's dashboard by itself."""

    name = "xenna"
    dashboard = True

    def __enter__(self) -> Executor:
        try:
            import cosmos_xenna.pipelines.v1  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "executor=xenna needs cosmos-xenna, which is not installed; pip install 'curator-audio[xenna]'"
            ) from None
        return super().__enter__()

    def execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        self._cluster.start(plan.num_cpus)
        with self._cluster.announced():
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
            stages = [
                xenna.StageSpec(_body(group, context), num_workers=group.num_workers) for group in plan.groups
            ]
            data = [carried(partition) for partition in window]
            results: Any = xenna.run_pipeline(xenna.PipelineSpec(input_data=data, stages=stages, config=config))
            for result in results or []:
                yield outcome(arrived(result))


def _body(group: StageGroup, context: RunContext) -> Any:
    """A group as a xenna stage; the class is made here because its base comes from the extra."""
    from cosmos_xenna.pipelines import v1 as xenna

    class Group(xenna.Stage):  # type: ignore[misc, name-defined]
        @property
        def stage_batch_size(self) -> int:
            return group.batch_size

        @property
        def required_resources(self) -> Any:
            return xenna.Resources(cpus=group.resources.cpus, gpus=group.resources.gpus)

        def setup(self, worker_metadata: Any) -> None:
            self._run = CarriedGroup(group, context)

        def process_data(self, in_data: list[bytes]) -> list[bytes]:
            return self._run(in_data)

    return Group()
