"""Stages in order, and how they are run."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loguru import logger

from curator_audio.errors import ConfigurationError
from curator_audio.ledger import relative_to
from curator_audio.pipeline.after import AfterStep
from curator_audio.pipeline.plan import Plan, Stage, make_plan
from curator_audio.stages.source import SourceStage
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.storage import Storage, absolute

if TYPE_CHECKING:
    from curator_audio.executors.base import Executor
    from curator_audio.report.result import RunResult


@dataclass
class Pipeline:
    """Stages in order, from a source to a writer, and steps after all parts are there.

    Args:
        name: what messages and reports call it.
        stages: a source, any number of stages, a writer.
        after: steps that need all parts, such as ``SaveToDisk``; parts of a single file are joined without being told.

    Example:
        >>> import tempfile
        >>> from curator_audio.executors.local import LocalExecutor
        >>> from curator_audio.stages.general import PreserveByValueStage
        >>> from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
        >>> folder = tempfile.mkdtemp()
        >>> Storage().write(f"{folder}/in.jsonl", b'{"duration": 3.5}\\n{"duration": 0.2}\\n')
        >>> pipeline = Pipeline(
        ...     "long_enough",
        ...     [
        ...         ManifestReaderStage(f"{folder}/in.jsonl"),
        ...         PreserveByValueStage("duration", 1.0, "ge"),
        ...         ManifestWriterStage(f"{folder}/out/long.jsonl"),
        ...     ],
        ... )
        >>> pipeline.run(LocalExecutor()).num_output_records
        1
        >>> Storage().read(f"{folder}/out/long.jsonl")
        b'{"duration":3.5}\\n'
    """

    name: str
    stages: Sequence[Stage]
    after: Sequence[AfterStep] = field(default_factory=list)

    def plan(self, storage: Storage | None = None) -> Plan:
        """Check the pipeline and work out which stages share a worker.

        Raises:
            ConfigurationError: the stages do not fit together.
        """
        plan = make_plan(self.name, self.stages, storage or Storage())
        for step in self.after:
            step.check(plan)
        for index, stage in enumerate(plan.stages):
            for doubt in stage.doubts(plan.stages[:index]):
                logger.warning(f"'{stage.name}': {doubt}")
        return plan

    def output_places(self, plan: Plan) -> list[str]:
        """Where its writer and its steps put what they make, wherever ledger and quarantine are."""
        return [*plan.writer.output_places, *(place for step in self.after for place in step.output_places(plan))]

    def run(
        self,
        executor: Executor | None = None,
        *,
        output_dir: str | None = None,
        on_error: str = "quarantine",
        overwrite: bool = False,
        storage_options: dict[str, Any] | None = None,
        progress: bool = False,
        scratch_budget_gb: float | None = None,
    ) -> RunResult:
        """Run what is not done yet.

        Args:
            executor: where; Ray actors if not given.
            output_dir: the folder for ledger, metrics and quarantine; that of the writer's output if not given.
            on_error: ``quarantine`` sets bad records aside, ``raise`` stops at the first.
            overwrite: whether output of another configuration is deleted first.
            storage_options: how to reach the storage, see ``s3_arguments``.
            progress: whether to show how far it is.
            scratch_budget_gb: how much of the local disk may be used on the way in GB (10**9 bytes); None for no limit.

        Raises:
            CuratorError: it could not be run; the message says why.
        """
        from curator_audio.pipeline.run import RunOptions, run

        options = RunOptions(
            output_dir=output_dir or self.default_output_dir(),
            on_error=on_error,
            overwrite=overwrite,
            storage_options=storage_options or {},
            progress=progress,
            scratch_budget_gb=scratch_budget_gb,
        )
        if executor is None:
            from curator_audio.executors.ray_actors import RayActorsExecutor

            executor = RayActorsExecutor()
        return run(self, executor, options)

    def default_output_dir(self) -> str:
        """The folder of the writer's output."""
        writer = self.stages[-1] if self.stages else None
        if not isinstance(writer, WriterStage):
            return "."
        return writer.output_path.rsplit("/", 1)[0] if writer.is_single_file else writer.output_path.rstrip("/")


def configuration(plan: Plan, output_dir: str) -> dict[str, Any]:
    """Everything that decides about a plan's output, by stage: parameters and version, nothing else."""
    return {
        stage.name: {
            "stage": f"{type(stage).__module__}.{type(stage).__qualname__}",
            "version": stage.version,
            **{
                name: _located(stage, value, output_dir)
                for name, value in parameters(stage).items()
                if name not in stage.free_parameters and not _selects(plan.source, stage, name)
            },
        }
        for stage in plan.stages
    }


def selection(plan: Plan) -> dict[str, Any]:
    """What chooses the partitions of a plan, by stage: a later run into the same folder may choose others."""
    source = plan.source
    given = parameters(source)
    return {source.name: {name: given[name] for name in source.selecting if name in given}}


def _selects(source: SourceStage[Any], stage: Stage, name: str) -> bool:
    """Whether a parameter chooses partitions, or is the same place as one that does, such as a folder of audio."""
    if stage is source:
        return name in source.selecting
    there = getattr(source, name) if name in source.locating else None
    here = getattr(stage, name)
    return isinstance(there, str) and isinstance(here, str) and absolute(here) == there


def parameters(stage: Stage) -> dict[str, Any]:
    """A stage's parameters and their values, in a form JSON can hold."""
    if dataclasses.is_dataclass(stage):
        names = [f.name for f in dataclasses.fields(stage) if f.init and not f.name.startswith("_")]
    else:
        names = [name for name in inspect.signature(type(stage)).parameters if name not in ("args", "kwargs")]
        for name in names:
            if not hasattr(stage, name):
                raise ConfigurationError(
                    f"stage '{stage.name}' does not keep its parameter '{name}', by which a rerun tells what has "
                    f"changed; keep it as self.{name}, or make the stage a dataclass"
                )
    return {name: _plain(getattr(stage, name)) for name in names}


def _located(stage: Stage, value: Any, output_dir: str) -> Any:
    """A writer's paths as seen from the output folder, which may be moved."""
    if not isinstance(stage, WriterStage) or not isinstance(value, str):
        return value
    return "." if value.rstrip("/") == output_dir else relative_to(output_dir, value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value if isinstance(value, (str, int, float, bool)) or value is None else repr(value)
