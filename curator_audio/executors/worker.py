"""A group of stages at work in one process; the same for every executor."""

from __future__ import annotations

import gc
import hashlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from loguru import logger

from curator_audio.errors import BadRecordError, ConfigurationError, SetupError, describe
from curator_audio.executors.context import RunContext, WorkItem
from curator_audio.executors.quarantine import one_line, quarantine_lines
from curator_audio.ledger import LedgerEntry, StageMetrics, relative_to, sha256_of
from curator_audio.pipeline.plan import StageGroup
from curator_audio.stages.base import ProcessingStage, QuarantinedRecord, as_tasks
from curator_audio.stages.pace import Pace
from curator_audio.stages.source import place_below
from curator_audio.stages.writer import WriterStage
from curator_audio.tasks import Input, Inputs, Part, Partition, Task

Stage = ProcessingStage[Any, Any]
END = object()


class Worker:
    """Sets up the stages of a group and drives partitions through them.

    Inside the group a partition streams as a chain of generators: a batch passes all stages before the next one is
    read, so a worker holds a few batches, not a partition.

    Args:
        group: the stages.
        context: what the run says.
    """

    def __init__(self, group: StageGroup, context: RunContext) -> None:
        self._group = group
        self._context = context
        last = group.stages[-1]
        self._writer = last if isinstance(last, WriterStage) else None
        self._stages: Sequence[Stage] = group.stages[:-1] if self._writer else group.stages

    def setup(self) -> None:
        """Set up the stages.

        Raises:
            SetupError: one of them could not be set up.
        """
        for stage in self._group.stages:
            try:
                if type(stage).setup_on_node is not ProcessingStage.setup_on_node:
                    self._once_on_this_node(stage)
                stage.forget_warnings()
                stage.setup(self._context.worker)
            except Exception as error:
                raise SetupError(f"stage '{stage.name}' could not be set up: {describe(error)}") from error

    def teardown(self) -> None:
        """Let the stages clean up; what goes wrong there changes nothing about what is done."""
        for stage in self._group.stages:
            try:
                stage.teardown()
            except Exception as error:
                logger.warning(f"teardown of '{stage.name}' failed: {describe(error)}")

    def run(self, items: Sequence[WorkItem]) -> list[WorkItem] | list[LedgerEntry]:
        """Drive partitions through the group; the last group commits them and gives their ledger entries."""
        for stage in self._group.stages:
            stage.take_observations()  # whatever a failed attempt left
        with _rare_garbage_collection():
            if self._group.batch_size > 1:
                return self._run_together(items)
            if self._writer is not None:
                return [self._commit(item, self._stream(item)) for item in items]
            for item in items:
                item.tasks = list(self._stream(item))
            return list(items)

    # One partition after the other ----------------------------------------------------------------------------

    def _stream(self, item: WorkItem) -> Iterator[Task]:
        tasks = iter(item.tasks)
        item.tasks = []
        for stage in self._stages:
            tasks = self._through(stage, tasks, item)
        return tasks

    def _through(self, stage: Stage, tasks: Iterator[Task], item: WorkItem) -> Iterator[Task]:
        metrics = item.metrics.setdefault(stage.name, StageMetrics())
        metrics.num_tasks = 1
        waiting_time = 0.0  # for the stages before

        def given() -> Iterator[Task]:
            nonlocal waiting_time
            while True:
                started = time.perf_counter()
                task: Any = next(tasks, END)
                waiting_time += time.perf_counter() - started
                if task is END:
                    return
                metrics.items_in += 0 if task is item.partition else task.num_items
                yield task

        results = iter(stage.process_partition(given()))
        pace = Pace(f"partition {item.partition.name}")
        while True:
            started, waiting_time = time.perf_counter(), 0.0
            result: Any = next(results, END)
            metrics.process_time += time.perf_counter() - started - waiting_time
            self._observe(stage, item, metrics)
            if result is END:
                return
            if result is not None:
                self._check_task(stage, result)
                metrics.items_out += result.num_items
                if stage is self._stages[-1]:
                    pace.at(f"{metrics.items_out} records of '{stage.name}'")
                yield result

    # Several partitions at once -------------------------------------------------------------------------------

    def _run_together(self, items: Sequence[WorkItem]) -> list[WorkItem] | list[LedgerEntry]:
        for stage in self._stages:
            for begin in range(0, len(items), stage.batch_size):
                self._batch_through(stage, items[begin : begin + stage.batch_size])
        if self._writer is not None:
            return [self._commit(item, iter(item.tasks)) for item in items]
        return list(items)

    def _batch_through(self, stage: Stage, items: Sequence[WorkItem]) -> None:
        if type(stage).process_batch is ProcessingStage.process_batch:  # nothing is pooled: each keeps its own
            for item in items:
                item.tasks = list(self._through(stage, iter(item.tasks), item))
            return
        tasks = [task for item in items for task in item.tasks]
        owners = {known: item for item in items for task in item.tasks for known in _identities(task)}
        started = time.perf_counter()
        given = list(stage.process_batch(tasks)) if tasks else []
        if len(given) != len(tasks):
            raise ConfigurationError(
                f"process_batch of '{stage.name}' gave {len(given)} results for {len(tasks)} tasks; return one a task"
            )
        results = iter(given)
        for item in items:
            metrics = item.metrics.setdefault(stage.name, StageMetrics(num_tasks=1))
            metrics.items_in += sum(task.num_items for task in item.tasks if task is not item.partition)
            item.tasks = [done for _ in item.tasks for done in as_tasks(next(results)) if done is not None]
            for task in item.tasks:
                self._check_task(stage, task)
            metrics.items_out += sum(task.num_items for task in item.tasks)
        # What was logged for the whole batch is noted with its first partition: totals are what counts.
        items[0].metrics[stage.name].process_time += time.perf_counter() - started
        quarantined, stage.observed.quarantined = stage.observed.quarantined, []
        self._observe(stage, items[0], items[0].metrics[stage.name])
        for record in quarantined:
            found = (owners[known] for known in _identities_of(record.record) if known in owners)
            item = next(found, None) or next((item for item in items if _holds(item.partition, record)), items[0])
            item.quarantined.append(record)
            item.metrics[stage.name].num_quarantined += 1
            self._raise_bad_record(item)

    def _check_task(self, stage: Stage, result: Any) -> None:
        if not isinstance(result, Task):
            kind = type(result).__name__
            raise ConfigurationError(
                f"'{stage.name}' gave a {kind}; return a task, a list or iterator of tasks, or None"
            )

    # The end of a partition -----------------------------------------------------------------------------------

    def _commit(self, item: WorkItem, tasks: Iterator[Task]) -> LedgerEntry:
        """Write part, quarantine and ledger entry, in this order: an entry never names what is not there.

        The storage checks before each that the run still holds its lock.
        """
        assert self._writer is not None
        partition, paths, storage = item.partition, self._context.paths, self._context.worker.storage
        metrics = StageMetrics(num_tasks=1)
        upstream_before = sum(m.process_time for m in item.metrics.values())
        started = time.perf_counter()
        parts = self._writer.write(storage, self._writer.part_path(partition.name, paths.parts), tasks)
        metrics.process_time = time.perf_counter() - started
        metrics.process_time -= sum(m.process_time for m in item.metrics.values()) - upstream_before
        metrics.items_in = sum(part.num_records for part in parts)
        item.metrics[self._writer.name] = metrics
        self._observe(self._writer, item, metrics)
        inputs = self._inputs_after(item, parts)
        entry = LedgerEntry(
            partition=partition.name,
            source=place_below(self._context.root, partition.source_path),
            start=partition.start,
            end=partition.end,
            inputs=inputs,
            parts=[self._relative(part) for part in self._with_versions(parts)],
            quarantine=[self._relative(part) for part in self._write_quarantine(item)],
            quarantined=dict(Counter(record.reason for record in item.quarantined)),
            metrics=item.metrics,
            made_with=self._context.fingerprint,
            is_cut=partition.is_cut,
        )
        storage.write(paths.entry(partition.name), entry.to_json())
        return entry

    def _inputs_after(self, item: WorkItem, parts: list[Part]) -> Inputs:
        """What the partition was made from; parts in the place of files of the source are marked as such, and noted."""
        partition, storage = item.partition, self._context.worker.storage
        inputs = {place: Input(fingerprint) for place, fingerprint in partition.inputs.items()}
        for place, (fingerprint, content) in item.inputs.items():
            known = inputs[place].fingerprint if fingerprint is None else fingerprint
            inputs[place] = Input(known, content)
        in_place = {}
        for part in parts:
            place = relative_to(partition.source_path, part.path)
            if place in partition.inputs:
                part.place = place
                in_place[part.path] = part
        marks = storage.each(lambda path: storage.info(path).mark, list(in_place))
        for part, mark in zip(in_place.values(), marks):
            inputs[part.place] = Input(mark, part.sha256[:16])
        return Inputs.of(inputs)

    def _with_versions(self, parts: list[Part]) -> list[Part]:
        """The parts with what tells each from another of its name, where their writer has not told."""
        storage = self._context.worker.storage
        unknown = {part.path: part for part in parts if not (part.version or part.place)}
        for info in storage.each(storage.find, list(unknown)):
            if info is not None:
                unknown[info.path].version = info.version
        return parts

    def _write_quarantine(self, item: WorkItem) -> list[Part]:
        path = self._context.paths.quarantine(item.partition.name)
        storage = self._context.worker.storage
        if not item.quarantined:
            storage.delete([path])  # of an earlier version of the source, or of a run killed before its entry
            return []
        data = quarantine_lines(item.quarantined)
        version = storage.written(path, data)
        sha256 = hashlib.sha256(data).hexdigest()
        return self._with_versions([Part(path, len(data), sha256, len(item.quarantined), version=version)])

    def _relative(self, part: Part) -> Part:
        part.path = relative_to(self._context.worker.output_dir, part.path)
        return part

    # What stages tell -----------------------------------------------------------------------------------------

    def _observe(self, stage: Stage, item: WorkItem, metrics: StageMetrics) -> None:
        observed = stage.take_observations()
        for name, value in observed.metrics.items():
            metrics.custom[name] = metrics.custom.get(name, 0) + value
        for recording, reasons in observed.skipped.items():
            counts = metrics.skipped.setdefault(recording, {})
            for reason, count in reasons.items():
                counts[reason] = counts.get(reason, 0) + count
        item.inputs |= observed.inputs
        if observed.quarantined:
            item.quarantined += observed.quarantined
            metrics.num_quarantined += len(observed.quarantined)
            self._raise_bad_record(item)

    def _raise_bad_record(self, item: WorkItem) -> None:
        if item.quarantined and self._context.on_error == "raise":
            raise BadRecordError(one_line(item.quarantined[0], self._context.worker.storage))

    def _once_on_this_node(self, stage: Stage) -> None:
        import fcntl

        index = self._group.stages.index(stage)
        name = f"curator_audio-{os.getuid()}-{self._context.worker.run_id}-{sha256_of(self._group.name)[:12]}-{index}"
        marker = os.path.join(tempfile.gettempdir(), name)
        with open(marker, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_size == 0:
                stage.setup_on_node(self._context.worker)
                file.write("done")
                file.flush()


def _identities(task: Task) -> Iterator[int]:
    """By what the records of a task are known again: files of one folder have no offsets that would tell."""
    for record in getattr(task, "records", ()):
        yield from _identities_of(record)


def _identities_of(record: Any) -> Iterator[int]:
    """Those of the record, and of objects and lists in it, which its replacement shares."""
    values = (record, *record.values()) if isinstance(record, dict) else ()
    return (id(value) for value in values if isinstance(value, (dict, list)))


def _holds(partition: Partition, record: QuarantinedRecord) -> bool:
    same_source = record.source_path == partition.source_path
    return same_source and partition.start <= record.offset < partition.end


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Records are trees that reference counting frees; looking for cycles in thousands of them costs 10 %."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
