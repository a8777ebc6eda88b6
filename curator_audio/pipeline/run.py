"""A run from start to end: lock, ledger, partitions, steps after, report."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from loguru import logger

from curator_audio.errors import ConfigurationError
from curator_audio.finalizers.join_parts import JoinParts
from curator_audio.ledger import Ledger, LedgerEntry, LedgerPaths
from curator_audio.pipeline.after import AfterContext, AfterStep
from curator_audio.pipeline.pending import Pending
from curator_audio.pipeline.pipeline import configuration, selection
from curator_audio.pipeline.plan import Plan
from curator_audio.pipeline.settled import settled
from curator_audio.pipeline.vanished import vanished
from curator_audio.pipeline.written_twice import written_twice
from curator_audio.report.progress import Progress
from curator_audio.report.result import RunResult
from curator_audio.stages.base import WorkerInfo
from curator_audio.storage.failures import without_secrets
from curator_audio.storage.json_codec import encode_record
from curator_audio.storage.lock import RunLock
from curator_audio.storage.storage import Storage, absolute, join
from curator_audio.storage.valid_text import Repairs, with_finite_numbers, with_valid_text
from curator_audio.tasks import Partition

if TYPE_CHECKING:
    from curator_audio.executors.base import Executor
    from curator_audio.pipeline.pipeline import Pipeline

NOTED_AT_ONCE = 64
NOTED_BYTES = 2**20
NOTED_INPUTS = 10_000
FAILURES_NAMED = 20
"""How many failed partitions are told while a run goes on; a cause that meets all of them would fill the log."""
ON_ERROR = ("quarantine", "raise")


@dataclass(frozen=True)
class RunOptions:
    """How to run a pipeline; see ``Pipeline.run``."""

    output_dir: str
    on_error: str = "quarantine"
    overwrite: bool = False
    storage_options: dict[str, Any] = field(default_factory=dict)
    progress: bool = False
    scratch_budget_gb: float | None = None

    def __post_init__(self) -> None:
        budget = self.scratch_budget_gb
        if isinstance(budget, bool) or not (budget is None or (isinstance(budget, (int, float)) and budget > 0)):
            raise ConfigurationError(f"scratch_budget_gb is {budget!r}; give a number of GB above 0, or null")
        if self.on_error not in ON_ERROR:
            raise ConfigurationError(f"on_error is {self.on_error!r}; give one of {', '.join(ON_ERROR)}")
        object.__setattr__(self, "output_dir", absolute(self.output_dir).rstrip("/"))


def steps_of(pipeline: Pipeline, plan: Plan) -> list[AfterStep]:
    """The steps after all parts are done: the one that the writer's output asks for, and those of the pipeline."""
    is_joined = not plan.writer.is_single_file or any(step.makes_single_file for step in pipeline.after)
    return [*([] if is_joined else [JoinParts()]), *pipeline.after]


def run(pipeline: Pipeline, executor: Executor, options: RunOptions) -> RunResult:
    """Do what is not done yet, then the steps after; see ``Pipeline.run``."""
    started = time.perf_counter()
    storage = Storage(options.storage_options)
    storage.prepare(options.output_dir)
    plan = pipeline.plan(storage)
    for step in pipeline.after:
        step.check_ready()
    if not executor.in_process:
        _check_not_in_memory(options.output_dir, plan.writer.output_path)
    with executor:
        plan = plan.fitted(executor.capacity(), executor.num_workers)
        for stage in plan.stages:
            stage.check_source(plan.source)
        with RunLock(storage, LedgerPaths(options.output_dir).lock) as lock:
            storage = lock.storage  # which writes only while the lock is this run's
            ledger = Ledger(storage, options.output_dir, pipeline.output_places(plan), plan.source.root)
            pending = Pending(plan.source, ledger, plan.writer)
            partitions, plan = _prepare(ledger, plan, pending, options, lock.may_be_woken)
            failures, mb_per_sec = _map(executor, plan, partitions, pending, options)
            result = _finish(pipeline, executor, plan, pending, failures)
            result.mb_per_sec = mb_per_sec
            for stage in plan.stages:
                for remark in stage.remarks_after(result.metrics[stage.name]):
                    logger.warning(remark)
            result.time_sec = time.perf_counter() - started
            metrics = with_finite_numbers(with_valid_text(result.to_json(), Repairs()), Repairs())
            text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False)
            storage.write(join(options.output_dir, "metrics.json"), f"{text}\n".encode())
            _write_skipped(storage, join(options.output_dir, "skipped.jsonl"), result)
    return result


def _write_skipped(storage: Storage, path: str, result: RunResult) -> None:
    """Tell which recordings lost how many of their segments or windows to what; no file where none did."""
    lines = b"".join(
        encode_record({"recording": without_secrets(recording), "stage": stage, "skipped": reasons}) + b"\n"
        for stage, recording, reasons in result.skipped
    )
    if lines:
        storage.write(path, lines)
    elif storage.exists(path) and storage.read(path).startswith(b'{"recording":'):  # an earlier run's
        storage.delete([path])


def _check_not_in_memory(*paths: str) -> None:
    for path in paths:
        if path.startswith("memory://"):
            raise ConfigurationError(f"{path} lies in the memory of one process; run it with executor=local")


def _prepare(
    ledger: Ledger, plan: Plan, pending: Pending, options: RunOptions, other_may_be_woken: bool
) -> tuple[Iterator[Partition], Plan]:
    """Make the folder ready; returns the partitions to be done, and the plan with what all files of the output share.

    A source that cannot be read leaves all as it was, and so do fields that would be lost.
    """
    configured, chosen = configuration(plan, options.output_dir), selection(plan)
    if not options.overwrite:
        ledger.check_configuration(configured, chosen)
        ledger.load()
        pending.check_moved()
    partitions = iter(pending)
    first = next(partitions, None)
    plan, schema = settled(plan, ledger, options.overwrite)
    for remark in plan.source.remarks() if first is not None else ():
        logger.warning(remark)
    if options.overwrite:
        ledger.load(to_erase=True)
        if first is not None:
            pending.check_not_read(ledger.disposable())
        ledger.erase(other_may_be_woken)
    else:
        _check_not_foreign(ledger, plan)
    ledger.claim(configured, chosen)
    if schema is not None:
        ledger.note_schema(schema)
    ledger.sweep(plan.writer.output_path, plan.writer.depth)
    if num_aborted := ledger.storage.abort_stale_uploads(options.output_dir):
        logger.info(f"{num_aborted} upload(s) to {options.output_dir} that were never finished are aborted")
    return (partitions if first is None else chain([first], partitions)), plan


def _check_not_foreign(ledger: Ledger, plan: Plan) -> None:
    """A file that no run of ours has written is not replaced."""
    path = plan.writer.output_path
    if plan.writer.is_single_file and ledger.stored_configuration() is None and ledger.storage.exists(path):
        raise ConfigurationError(
            f"{path} is there already, and not from here; move it, or overwrite=true to replace it"
        )


def _map(
    executor: Executor,
    plan: Plan,
    partitions: Iterator[Partition],
    pending: Pending,
    options: RunOptions,
) -> tuple[dict[str, str], dict[str, float]]:
    """Run all pending partitions; returns the reasons of those that failed, and how fast files were copied."""
    from curator_audio.executors.context import Failure, RunContext

    first = next(partitions, None)
    if first is None:
        return {}, {}
    ledger = pending.ledger
    worker = WorkerInfo(uuid.uuid4().hex[:12], options.output_dir, ledger.storage)
    context = RunContext(worker, options.on_error, options.scratch_budget_gb, ledger.fingerprint, ledger.root)
    failures: dict[str, str] = {}
    workers = {stage.name: group.num_workers for group in plan.groups for stage in group.stages}
    num_bytes = plan.source.num_bytes() if options.progress else None
    with Progress(workers, num_bytes and num_bytes - pending.num_bytes_done_before, options.progress) as progress:
        for outcome in executor.execute(plan, _noted(chain([first], partitions), plan, ledger), context):
            ledger.storage.check_permit()
            if isinstance(outcome, Failure):
                failures[outcome.partition] = outcome.message
                if len(failures) <= FAILURES_NAMED:
                    logger.error(f"partition {outcome.partition} failed: {outcome.message}")
                elif len(failures) == FAILURES_NAMED + 1:
                    logger.error("more partitions fail; metrics.json will name all of them, under failures")
            else:
                ledger.add(outcome)
                progress.done(outcome)
        mb_per_sec = progress.mb_per_sec()
    return failures, mb_per_sec


def _noted(partitions: Iterator[Partition], plan: Plan, ledger: Ledger) -> Iterator[Partition]:
    """The partitions, after they are noted in the ledger: some at a time, fewer where they carry data."""
    for window in _windows(partitions):
        ledger.note_started(_started(partition, plan, ledger) for partition in window)
        yield from window


def _windows(partitions: Iterator[Partition]) -> Iterator[list[Partition]]:
    window: list[Partition] = []
    for partition in partitions:
        window.append(partition)
        num_inputs = sum(len(noted.inputs) for noted in window)
        num_bytes = sum(len(noted.data or b"") for noted in window)
        if len(window) >= NOTED_AT_ONCE or num_inputs >= NOTED_INPUTS or num_bytes > NOTED_BYTES:
            yield window
            window = []
    if window:
        yield window


def _started(partition: Partition, plan: Plan, ledger: Ledger) -> LedgerEntry:
    part = ledger.relative(plan.writer.part_path(partition.name, ledger.paths.parts))
    quarantine = ledger.relative(ledger.paths.quarantine(partition.name))
    source = plan.source.place_of(partition.source_path)
    return LedgerEntry.started(partition, source, part, quarantine, ledger.fingerprint)


def _finish(
    pipeline: Pipeline,
    executor: Executor,
    plan: Plan,
    pending: Pending,
    failures: dict[str, str],
) -> RunResult:
    ledger = pending.ledger
    kept, outside = vanished(plan.source, pending)
    entries = sorted(ledger.entries.values(), key=lambda entry: entry.order)
    if plan.writer.depth > 1:  # files of their own, named after what is in them
        failures = failures | written_twice(entries)
    if not failures:
        for step in steps_of(pipeline, plan):
            step.run(AfterContext(plan, entries, ledger, ledger.storage))
    ledger.gather()
    return RunResult(
        pipeline=pipeline.name,
        executor=executor.name,
        output_path=plan.writer.output_path,
        entries=entries,
        stages=[stage.name for stage in plan.stages],
        failures=failures,
        num_done_before=pending.num_done_before,
        num_kept=len(kept),
        outside=outside,
        derived={stage.name: stage.derived_metrics for stage in plan.stages},
    )
