"""Running on Ray actors: a pool of actors a group of stages, results streaming from pool to pool.

The driver only moves references and small notes; what a stage made goes from the worker that made it to the worker
that wants it. Queues between pools are bounded, so a fast group waits for a slow one. An actor that dies is replaced,
and what it was working on is done again elsewhere.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from loguru import logger

from curator_audio.errors import SetupError, describe
from curator_audio.executors.base import MAX_ATTEMPTS, WorkerError, outcome, worker_died
from curator_audio.executors.blueprint import Blueprint
from curator_audio.executors.context import Failure, Outcome, RunContext, WorkItem
from curator_audio.executors.ray_cluster import cause_of
from curator_audio.executors.ray_executor import RayExecutor
from curator_audio.pipeline.plan import Plan, StageGroup
from curator_audio.tasks import Partition

CALLS_PER_ACTOR = 2
MAX_SETUP_FAILURES = 3
PATIENCE_SEC = 60.0


class RayActorsExecutor(RayExecutor):
    """Runs a plan on pools of Ray actors."""

    name = "ray_actors"
    takes_ray_client = True

    def execute(self, plan: Plan, partitions: Iterator[Partition], context: RunContext) -> Iterator[Outcome]:
        self._cluster.start(plan.num_cpus, context.scratch_budget_gb)
        room = self._cluster.object_store_bytes(context.scratch_budget_gb)
        pools = [_Pool(group, context) for group in plan.groups]
        try:
            yield from _drive(pools, partitions, _Room(room))
        finally:
            for pool in pools:
                pool.stop()


@dataclass
class _Job:
    """A partition on its way: where it is, as a reference, and how often it was tried."""

    partition: Partition
    item: Any  # a reference to a WorkItem, or the WorkItem
    attempts: int = 0
    num_bytes: int = 0


class _Room:
    """How much is on its way between workers: what exceeds Ray's memory would be written to the disk.

    Args:
        num_bytes: how much may be on its way.
    """

    def __init__(self, num_bytes: float) -> None:
        self._limit = num_bytes
        self._largest = 0

    def for_another(self, pools: list[_Pool]) -> bool:
        """Whether one more partition may be started; those not yet read are taken to be as large as the largest."""
        jobs = [job for pool in pools for job in pool.jobs]
        known = [job.num_bytes for job in jobs if job.num_bytes]
        self._largest = max([self._largest, *known])
        expected = sum(known) + self._largest * (len(jobs) - len(known) + 1)
        return not jobs or expected <= self._limit


@dataclass
class _Call:
    """Jobs given to an actor together, and the references that will hold what came of them."""

    jobs: list[_Job]
    actor: _Actor
    items: list[Any]


@dataclass(eq=False)
class _Actor:
    handle: Any
    calls: set[Any] = field(default_factory=set)
    is_reserved: bool = False

    def has_room(self, alone: bool) -> bool:
        """Whether another call may be given to it, or one that must be the only one."""
        return not self.calls or (len(self.calls) < CALLS_PER_ACTOR and not alone and not self.is_reserved)


class _ActorBody:
    """What runs in an actor: one worker, set up once."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint

    def set_up(self) -> str | None:
        """Make the worker; what stands in the way is returned: Ray would print what is raised."""
        try:
            self._worker = self._blueprint.build()
        except Exception as error:
            return describe(error)
        return None

    def run(self, num: int, *items: WorkItem) -> Any:
        """A note (what became of each item), then the items themselves: the driver fetches the note only.

        Of an item that is passed on the note is its size.
        """
        try:
            results: Any = self._worker.run([item.fresh() for item in items])
        except (Exception, SystemExit) as error:
            results = [WorkerError.of(error, item.partition.name) for item in items]
        notes = [result.memory_bytes if isinstance(result, WorkItem) else result for result in results]
        passed = [result if isinstance(result, WorkItem) else None for result in results]
        return (notes, *passed) if num else notes

    def teardown(self) -> None:
        self._worker.teardown()


class _Pool:
    """The actors of one group, and the jobs that wait for them."""

    def __init__(self, group: StageGroup, context: RunContext) -> None:
        import ray

        self.group = group
        self._blueprint = ray.put(Blueprint.of(group, context))
        self.waiting: deque[_Job] = deque()
        self.actors: list[_Actor] = []
        self.starting: dict[Any, _Actor] = {}
        self.calls: dict[Any, _Call] = {}
        self._setup_failures = 0
        for _ in range(group.num_workers):
            self._add_actor()

    @property
    def capacity(self) -> int:
        """How many jobs may wait here before the group that feeds it pauses."""
        return CALLS_PER_ACTOR * self.group.num_workers * self.group.batch_size

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < self.capacity

    @property
    def jobs(self) -> list[_Job]:
        """All that wait here or are being worked on."""
        return [*self.waiting, *(job for call in self.calls.values() for job in call.jobs)]

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.calls

    def _add_actor(self) -> None:
        import ray

        asked = self.group.resources
        options: dict[str, Any] = {
            "num_cpus": asked.cpus,
            "num_gpus": asked.gpus,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        if asked.memory_gb:
            options["memory"] = int(asked.memory_gb * 1e9)
        handle = ray.remote(_ActorBody).options(**options).remote(self._blueprint)
        self.starting[handle.set_up.remote()] = _Actor(handle)

    def started(self, reference: Any) -> None:
        """An actor is ready, or could not be set up, or died on the way.

        Raises:
            SetupError: that has happened too often.
        """
        import ray

        actor = self.starting.pop(reference)
        try:
            problem = ray.get(reference)
        except _deadly_errors() as error:
            problem = cause_of(error)
        if problem is None:
            self.actors.append(actor)
            return
        ray.kill(actor.handle)
        self._setup_failures += 1
        if self._setup_failures >= MAX_SETUP_FAILURES * self.group.num_workers:
            raise SetupError(problem)
        self._add_actor()

    def dispatch(self, upstream_done: bool) -> None:
        """Give waiting jobs to the actors with the fewest, whole batches unless no more will come."""
        size = self.group.batch_size
        while self.waiting and (len(self.waiting) >= size or upstream_done):
            # A job that failed before is tried alone: if it kills the actor, it takes no other along.
            alone = self.waiting[0].attempts > 0
            free = [actor for actor in self.actors if actor.has_room(alone)]
            if not free:
                return
            actor = min(free, key=lambda actor: len(actor.calls))
            actor.is_reserved = alone
            num = 1 if alone else min(size, len(self.waiting))
            self._call(actor, [self.waiting.popleft() for _ in range(num)])

    def _call(self, actor: _Actor, jobs: list[_Job]) -> None:
        passes_on = not self.ends_here
        num = len(jobs) if passes_on else 0
        arguments = [job.item for job in jobs]
        references = actor.handle.run.options(num_returns=1 + num).remote(num, *arguments)
        note, items = (references[0], references[1:]) if num else (references, [None] * len(jobs))
        self.calls[note] = _Call(jobs, actor, items)
        actor.calls.add(note)

    @property
    def ends_here(self) -> bool:
        from curator_audio.stages.writer import WriterStage

        return isinstance(self.group.stages[-1], WriterStage)

    def finished(self, note: Any) -> list[tuple[_Job, Any, Any]]:
        """What came of a call: (job, its note, its item) each; the note of a lost one is an exception."""
        import ray

        call = self.calls.pop(note)
        call.actor.calls.discard(note)
        try:
            notes = ray.get(note)
        except _deadly_errors() as error:
            self._replace(call.actor)
            return [(job, error, None) for job in call.jobs]
        except ray.exceptions.RayError as error:  # an argument was lost with the node that held it
            return [(job, error, None) for job in call.jobs]
        return list(zip(call.jobs, notes, call.items))

    def _replace(self, actor: _Actor) -> None:
        if actor in self.actors:
            self.actors.remove(actor)
            logger.warning(f"a worker of '{self.group.name}' died; its work is done again by another")
            self._add_actor()

    def stop(self) -> None:
        import ray

        references = [actor.handle.teardown.remote() for actor in self.actors]
        with contextlib.suppress(ray.exceptions.RayError):
            ray.wait(references, num_returns=len(references), timeout=10) if references else None
        for actor in [*self.actors, *self.starting.values()]:
            with contextlib.suppress(Exception):
                ray.kill(actor.handle)


def _deadly_errors() -> tuple[type[Exception], ...]:
    """What Ray raises when an actor is gone."""
    import ray

    return ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError


def _drive(pools: list[_Pool], partitions: Iterator[Partition], room: _Room) -> Iterator[Outcome]:
    import ray

    source_done = False
    patience = time.monotonic() + PATIENCE_SEC
    while True:
        while not source_done and pools[0].has_room and room.for_another(pools):
            partition = next(partitions, None)
            if partition is None:
                source_done = True
            else:
                pools[0].waiting.append(_Job(partition, WorkItem.start(partition)))
        # Later pools first: what is nearly finished makes room for what is not.
        for index in reversed(range(len(pools))):
            upstream_done = source_done and all(pool.is_idle for pool in pools[:index])
            if index + 1 == len(pools) or pools[index + 1].has_room:
                pools[index].dispatch(upstream_done)
        if source_done and all(pool.is_idle for pool in pools):
            return
        waited_for = [reference for pool in pools for reference in (*pool.calls, *pool.starting)]
        done, _ = ray.wait(waited_for, num_returns=1, timeout=1.0)
        if done:
            patience = time.monotonic() + PATIENCE_SEC
        elif time.monotonic() > patience:
            patience += PATIENCE_SEC
            for pool in pools:
                if pool.waiting and not pool.actors:
                    logger.warning(f"no worker of '{pool.group.name}' has started: is there room in the cluster?")
        for reference in done:
            index = next(i for i, pool in enumerate(pools) if reference in pool.calls or reference in pool.starting)
            if reference in pools[index].starting:
                pools[index].started(reference)
                continue
            for job, note, item in pools[index].finished(reference):
                result = _settled(pools, index, job, note, item)
                if result is not None:
                    yield result


def _settled(pools: list[_Pool], index: int, job: _Job, note: Any, item: Any) -> Outcome | None:
    """Pass a job on, try it again, or give its outcome."""
    if isinstance(note, int):
        pools[index + 1].waiting.append(_Job(job.partition, item, job.attempts, note))
        return None
    if isinstance(note, Exception) or (isinstance(note, WorkerError) and note.fatal is None):
        job.attempts += 1
        if job.attempts < MAX_ATTEMPTS:
            if isinstance(note, Exception):  # its input may be lost with the worker: from the start
                index, job.item, job.num_bytes = 0, WorkItem.start(job.partition), 0
            pools[index].waiting.append(job)
            return None
        if isinstance(note, WorkerError):
            return Failure(job.partition.name, note.message)
        return worker_died(job.partition.name)
    return outcome(note)
