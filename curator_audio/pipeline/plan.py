"""What will run: checked, decomposed, fused into groups of stages that share a worker, and fitted to a cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.pipeline.types import task_types
from curator_audio.stages.base import CompositeStage, ProcessingStage, WorkerInfo
from curator_audio.stages.field_types import is_type
from curator_audio.stages.fields import Fields, typed
from curator_audio.stages.resources import Resources
from curator_audio.stages.source import SourceStage
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.storage import Storage

Stage = ProcessingStage[Any, Any]

OWN_PACKAGE = "curator_audio."
"""The stages of it say all that they add; others may not."""


@dataclass(frozen=True)
class Capacity:
    """What a machine or cluster has.

    Args:
        cpus: CPU cores.
        gpus: GPUs.
        gpu_memory_gb: memory of one GPU, 0 if not known.
        memory_gb: main memory that one worker can have.
        cpus_per_node: CPU cores that one worker can have; all of them if not given.
        oversubscribed: whether more workers than cores may be started where that is asked for.
    """

    cpus: float
    gpus: float = 0.0
    gpu_memory_gb: float = 0.0
    memory_gb: float = math.inf
    cpus_per_node: float = math.inf
    oversubscribed: bool = False


@dataclass(frozen=True)
class StageGroup:
    """Neighbouring stages that ask for the same kind of worker, and run in one as function calls."""

    stages: tuple[Stage, ...]
    resources: Resources
    wanted_workers: int | None = None
    num_workers: int = 1

    @property
    def name(self) -> str:
        return " → ".join(stage.name for stage in self.stages)

    @property
    def batch_size(self) -> int:
        """How many partitions a worker is given at once."""
        return max(stage.batch_size for stage in self.stages)


@dataclass(frozen=True)
class Plan:
    """A checked pipeline.

    Args:
        name: the pipeline's.
        groups: what each kind of worker does, in order.
        fields: the record fields after each stage.
        places: where stages stand in the pipeline's list, by their names: ``stages.1``.
    """

    name: str
    groups: tuple[StageGroup, ...]
    fields: tuple[Fields, ...] = field(default=(), repr=False)
    places: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def stages(self) -> list[Stage]:
        return [stage for group in self.groups for stage in group.stages]

    @property
    def source(self) -> SourceStage[Any]:
        source = self.stages[0]
        assert isinstance(source, SourceStage)  # checked by make_plan
        return source

    @property
    def writer(self) -> WriterStage[Any]:
        writer = self.stages[-1]
        assert isinstance(writer, WriterStage)  # checked by make_plan
        return writer

    @property
    def fields_before_writer(self) -> Fields:
        """The fields of the records that are written."""
        return self.fields[-2]

    def looked_into(self) -> Plan:
        """Return the plan with the fields that the start of the source has, in the types of their values."""
        return replace(self, fields=fields_along(self.stages, self.source.typed_fields()))

    def with_writer(self, writer: WriterStage[Any]) -> Plan:
        """Return the plan with another writer in place of its own."""
        *groups, last = self.groups
        return replace(self, groups=(*groups, replace(last, stages=(*last.stages[:-1], writer))))

    @property
    def num_cpus(self) -> float:
        """The CPUs that all workers together ask for."""
        return sum(group.num_workers * group.resources.cpus for group in self.groups)

    def fitted(self, capacity: Capacity, default_workers: int | None = None) -> Plan:
        """The plan with the number of workers of every group, for what a cluster has.

        Args:
            capacity: what the cluster has.
            default_workers: workers of each group that asks for no number.

        Raises:
            ConfigurationError: a stage asks for what the cluster cannot give.
        """
        groups = [replace(group, resources=_in_gpus(group, capacity)) for group in self.groups]
        for group in groups:
            _check_one_worker_fits(group, capacity, self.places.get(group.stages[0].name, ""))
        fixed = [group.wanted_workers or (None if group.resources.wants_gpu else default_workers) for group in groups]
        counts = _num_workers(groups, fixed, capacity)
        return replace(self, groups=tuple(replace(group, num_workers=n) for group, n in zip(groups, counts)))


def make_plan(name: str, stages: Sequence[Stage], storage: Storage | None = None) -> Plan:
    """Check and fuse the stages of a pipeline.

    Args:
        name: the pipeline's.
        stages: its stages, composites among them.
        storage: how the source is looked into.

    Raises:
        ConfigurationError: something in the list is not a stage, two neighbours do not fit together, a field is
            missing, or the list does not go from a source to a writer.
    """
    flat = _decomposed(name, stages)
    _check_ends(name, flat)
    _check_names(name, flat)
    _check_types(flat)
    flat[0].setup(WorkerInfo(storage=storage or Storage()))
    places = {stage.name: f"stages.{index}" for index, stage in enumerate(stages)}
    source, writer = flat[0], flat[-1]
    if isinstance(source, SourceStage) and isinstance(writer, WriterStage):
        flat[-1] = writer.reading_from(source)
    plan = Plan(name, _fused(flat), _checked_fields(flat), places)
    check_kept(plan)
    return plan


def check_kept(plan: Plan) -> None:
    """Check that the writer keeps all fields that are known.

    Raises:
        ConfigurationError: it would lose one.
    """
    for name in plan.writer.lost(plan.fields_before_writer):
        provider = next((stage for stage in reversed(plan.stages[:-1]) if name in stage.outputs()[1]), plan.source)
        verb = "reads" if provider is plan.source else "adds"
        raise ConfigurationError(
            f"'{plan.writer.name}' would lose the field '{name}', which '{provider.name}' {verb}; give it a place in "
            f"the writer, or leave it out with DropFieldsStage(['{name}'])"
        )


def _decomposed(pipeline: str, stages: Sequence[Any]) -> list[Stage]:
    flat: list[Stage] = []
    for index, stage in enumerate(stages):
        if not isinstance(stage, ProcessingStage):
            is_class = isinstance(stage, type)
            what = f"the class {stage.__name__}, not an instance of it" if is_class else f"a {type(stage).__name__}"
            raise ConfigurationError(
                f"stage {index} of pipeline '{pipeline}' is {what}; give an instance of a subclass of ProcessingStage"
            )
        flat += _decomposed(stage.name, stage.decompose()) if isinstance(stage, CompositeStage) else [stage]
    return flat


def _check_ends(pipeline: str, stages: list[Stage]) -> None:
    if not stages:
        raise ConfigurationError(f"pipeline '{pipeline}' has no stages; start with a reader and end with a writer")
    first, last = stages[0], stages[-1]
    if not isinstance(first, SourceStage):
        raise ConfigurationError(
            f"pipeline '{pipeline}' starts with '{first.name}', which reads no source; "
            "put a reader such as ManifestReaderStage first"
        )
    if not isinstance(last, WriterStage):
        raise ConfigurationError(
            f"pipeline '{pipeline}' ends with '{last.name}', which writes nothing; "
            "put a writer such as ManifestWriterStage last"
        )
    for stage in stages[1:-1]:
        if isinstance(stage, (SourceStage, WriterStage)):
            place = "first" if isinstance(stage, SourceStage) else "last"
            raise ConfigurationError(f"'{stage.name}' stands in the middle of pipeline '{pipeline}'; put it {place}")


def _check_names(pipeline: str, stages: list[Stage]) -> None:
    seen: set[str] = set()
    for index, stage in enumerate(stages):
        if not isinstance(stage.name, str) or not stage.name:
            raise ConfigurationError(f"stage {index} of pipeline '{pipeline}' is named {stage.name!r}; give it a name")
        if stage.name in seen:
            raise ConfigurationError(f"pipeline '{pipeline}' has two stages named '{stage.name}'; rename one")
        seen.add(stage.name)


def _check_types(stages: list[Stage]) -> None:
    for before, after in pairwise(stages):
        given, taken = task_types(type(before))[1], task_types(type(after))[0]
        if not (issubclass(given, taken) or issubclass(taken, given)):
            raise ConfigurationError(
                f"'{after.name}' takes {taken.__name__}, but '{before.name}' before it gives {given.__name__}; "
                "change their order, or put a stage between them that turns one into the other"
            )
        for attribute in after.inputs()[0]:
            if attribute not in given.__dataclass_fields__ and not hasattr(given, attribute):
                raise ConfigurationError(
                    f"'{after.name}' needs '{attribute}' of its task, which {given.__name__} from '{before.name}' lacks"
                )


def _checked_fields(stages: list[Stage]) -> tuple[Fields, ...]:
    """The fields after each stage, as far as the stages alone tell.

    Raises:
        ConfigurationError: a stage needs a field that is not there, or gives one a type that there is not.
    """
    for stage in stages:
        _check_kinds(stage)
    all_fields = fields_along(stages)
    seen: tuple[Fields, ...] | None = None
    for index, stage in enumerate(stages):
        fields = all_fields[index - 1] if index else Fields.any()
        for name in stage.inputs()[1]:
            removed_by = next((s.name for s, f in zip(stages, all_fields[:index]) if name not in f), None)
            if removed_by is not None and name not in fields:
                raise ConfigurationError(
                    f"'{stage.name}' needs the field '{name}', which '{removed_by}' has removed; change their order"
                )
            if name in fields.known or (fields.unknown and name in fields):
                continue
            provider = next((later.name for later in stages[index + 1 :] if name in later.outputs()[1]), None)
            source = stages[0]
            assert isinstance(source, SourceStage)
            if index and seen is None:
                sampled = source.sampled_fields()
                seen = fields_along(stages, sampled if sampled.kinds else None)
            if seen is not None and name in seen[index - 1]:
                continue
            if provider is not None:
                raise ConfigurationError(
                    f"'{stage.name}' needs the field '{name}', which '{provider}' adds only later; change their order"
                )
            raise ConfigurationError(
                f"'{stage.name}' needs the field '{name}', which no stage before it adds and no record at the start of "
                f"the source has; add a stage that makes it, or check the input"
            )
    return all_fields


def fields_along(stages: Sequence[Stage], sampled: Fields | None = None) -> tuple[Fields, ...]:
    """Return the fields after each stage.

    Args:
        stages: from the source on.
        sampled: what a look into the source tells, if there was one.
    """
    fields = stages[0].fields_after(Fields.any())
    if sampled is not None:
        fields = fields.seeing(sampled)
    all_fields = [fields]
    for stage in stages[1:]:
        fields = stage.fields_after(fields)
        if not type(stage).__module__.startswith(OWN_PACKAGE):
            fields = replace(fields, unsaid=True)
        all_fields.append(fields)
    return tuple(all_fields)


def _check_kinds(stage: Stage) -> None:
    """Check the types of the fields that a stage says it adds."""
    for name, kind in typed(stage.outputs()[1]).items():
        if not is_type(kind):
            raise ConfigurationError(
                f"outputs() of '{stage.name}' gives '{name}' the type {kind!r}; give string, bool, int, int32, float, "
                "float32, binary, audio, object or list<…> of one of them"
            )


def _fused(stages: list[Stage]) -> tuple[StageGroup, ...]:
    groups: list[StageGroup] = []
    for stage in stages:
        size = stage.batch_size
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ConfigurationError(f"batch_size of '{stage.name}' is {size!r}; give a whole number of at least 1")
        workers = stage.num_workers()
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise ConfigurationError(f"num_workers of '{stage.name}' is {workers!r}; give a whole number of at least 1")
        if groups and (groups[-1].resources, groups[-1].wanted_workers) == (stage.resources, workers):
            groups[-1] = replace(groups[-1], stages=(*groups[-1].stages, stage))
        else:
            groups.append(StageGroup((stage,), stage.resources, workers))
    return tuple(groups)


def _in_gpus(group: StageGroup, capacity: Capacity) -> Resources:
    """GPU memory as a share of a GPU."""
    asked = group.resources
    if not asked.gpu_memory_gb:
        return asked
    if capacity.gpus and not capacity.gpu_memory_gb:
        raise ConfigurationError(
            f"'{group.name}' asks for {asked.gpu_memory_gb:g} GB of GPU memory, and how much a GPU here has "
            "is not known; give resources.gpus instead"
        )
    share = asked.gpu_memory_gb / capacity.gpu_memory_gb if capacity.gpu_memory_gb else 1.0
    gpus = math.ceil(share) if share > 1 else math.ceil(share * 1000) / 1000
    return replace(asked, gpus=gpus, gpu_memory_gb=0.0)


def _check_one_worker_fits(group: StageGroup, capacity: Capacity, place: str) -> None:
    asked = group.resources
    setting = f"{place}.resources" if place else "resources"
    for what, wanted, there in (
        ("GPUs", asked.gpus, capacity.gpus),
        ("CPUs", asked.cpus, min(capacity.cpus, capacity.cpus_per_node)),
        ("GB of memory", asked.memory_gb, capacity.memory_gb),
    ):
        if wanted > there:
            remedy = f"give {setting}.gpus=0 to run it on CPUs" if what == "GPUs" and not there else f"lower {setting}"
            raise ConfigurationError(
                f"'{group.name}' asks for {wanted:g} {what} a worker, and there are {there:g}; "
                f"{remedy}, or run on a cluster that has them (ray_address)"
            )


def _num_workers(groups: list[StageGroup], fixed: list[int | None], capacity: Capacity) -> list[int]:
    """Fixed numbers as asked; GPU groups share the GPUs, the others what is left of the CPUs, at least one each."""
    counts = [n or 1 for n in fixed]
    open_groups = [i for i, n in enumerate(fixed) if n is None]

    def left(resource: str) -> float:
        there: float = getattr(capacity, resource)
        used: float = sum(n * getattr(g.resources, resource) for g, n in zip(groups, counts))
        return there - used

    lacks_cpus = left("cpus") < -1e-9 and not capacity.oversubscribed
    if lacks_cpus or left("gpus") < -1e-9:
        what = "CPUs" if lacks_cpus else "GPUs"
        there = capacity.cpus if what == "CPUs" else capacity.gpus
        each = [g.resources.cpus if lacks_cpus else g.resources.gpus for g in groups]
        asked = ", ".join(f"'{g.name}' {n} × {share:g}" for g, n, share in zip(groups, counts, each))
        raise ConfigurationError(
            f"all stages run at once, and together they ask for more {what} than the {there:g} there are ({asked}); "
            "lower num_workers or resources"
        )
    # One more worker for the group with the fewest, as long as any still fits; GPUs must not idle, so theirs first.
    for wants_gpu in (True, False):
        growing = [i for i in open_groups if groups[i].resources.wants_gpu is wants_gpu]
        while growing := [i for i in growing if _fits(groups[i].resources, left("cpus"), left("gpus"))]:
            counts[min(growing, key=lambda i: counts[i])] += 1
    return counts


def _fits(resources: Resources, cpus: float, gpus: float) -> bool:
    if not resources.cpus and not resources.gpus:
        return False  # it takes nothing, so nothing bounds how many there could be: one is enough
    return resources.cpus <= cpus + 1e-9 and resources.gpus <= gpus + 1e-9
