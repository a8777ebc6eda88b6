"""Show the work of a run without doing it."""

from __future__ import annotations

import io
from typing import Any

from curator_audio.executors.base import Executor
from curator_audio.ledger import Ledger, LedgerEntry
from curator_audio.pipeline.after import AfterContext
from curator_audio.pipeline.pending import Pending
from curator_audio.pipeline.pipeline import Pipeline, configuration, selection
from curator_audio.pipeline.plan import Plan
from curator_audio.pipeline.run import steps_of
from curator_audio.pipeline.settled import settled
from curator_audio.pipeline.types import task_types
from curator_audio.pipeline.vanished import unmet_of
from curator_audio.stages.field_types import short
from curator_audio.stages.fields import Fields
from curator_audio.storage.storage import Storage, absolute
from curator_audio.tasks import Partition


def dry_run(
    pipeline: Pipeline, executor: Executor, output_dir: str, storage_options: dict[str, Any], overwrite: bool = False
) -> str:
    """Return the plan as a table, and how much there is to do.

    Raises:
        CuratorError: an error that would stop the run before it begins.
    """
    storage = Storage(storage_options)
    plan = pipeline.plan(storage)
    with executor:
        plan = plan.fitted(executor.capacity(), executor.num_workers)
    ledger = Ledger(storage, absolute(output_dir).rstrip("/"), pipeline.output_places(plan), plan.source.root)
    if not overwrite:
        ledger.check_configuration(configuration(plan, ledger.paths.output_dir), selection(plan))
        ledger.load()
    plan, _ = settled(plan.looked_into(), ledger, overwrite)
    remarks = plan.source.remarks()
    pending = Pending(plan.source, ledger, plan.writer)
    if not overwrite:
        pending.check_moved()
    partitions = list(pending)
    to_do = {partition.name for partition in partitions}
    done = sorted((entry for name, entry in ledger.entries.items() if name not in to_do), key=lambda entry: entry.order)
    unmet = unmet_of(plan.source, pending)
    context = AfterContext(plan, done, ledger, storage)
    previews = [(step.name, step.preview(context, partitions)) for step in steps_of(pipeline, plan)]
    steps = "".join(f"\nthen: {name}{f', {preview}' if preview else ''}" for name, preview in previews)
    inputs = _inputs(partitions, plan.source.batch_of)
    steps += "".join(f"\nnote: {remark}" for remark in remarks)
    return (
        f"pipeline {pipeline.name} on {executor.name}, output in {ledger.paths.output_dir}\n{_table(plan)}\n"
        f"{_fields(plan)}{steps}\n"
        f"partitions: {len(partitions)} to do, {pending.num_done_before} done before{_unmet(plan, unmet)}{inputs}\n"
        "dry run: nothing was run or written"
    )


def _unmet(plan: Plan, unmet: list[LedgerEntry]) -> str:
    """Return what of the output belongs to nothing that would be met."""
    if not unmet:
        return ""
    return f", {len(unmet)} " + ("of what is gone" if plan.source.selects_all else "outside of the selection")


def _inputs(partitions: list[Partition], batch_of: str) -> str:
    """Return how many files are to be done, where partitions are batches of files."""
    num_files = sum(len(partition.inputs) for partition in partitions)
    num_bytes = sum(partition.end - partition.start for partition in partitions)
    return f"\n{batch_of}s: {num_files} to do, {num_bytes / 2**20:.1f} MB" if batch_of and num_files else ""


def _table(plan: Plan) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table("group", "stage", "takes", "gives", "CPUs", "GPUs", "workers")
    for number, group in enumerate(plan.groups):
        for stage in group.stages:
            taken, given = task_types(type(stage))
            first = stage is group.stages[0]
            table.add_row(
                str(number) if first else "",
                stage.name,
                taken.__name__,
                given.__name__,
                f"{group.resources.cpus:g}" if first else "",
                f"{group.resources.gpus:g}" if first else "",
                str(group.num_workers) if first else "",
            )
        table.add_section()
    buffer = io.StringIO()
    Console(file=buffer, width=120).print(table)
    return buffer.getvalue().rstrip()


def _fields(plan: Plan) -> str:
    """What each stage reads, adds and removes of a record, and what the writer keeps: a line a stage."""
    lines, before = [], Fields()
    for stage, fields in zip(plan.stages[:-1], plan.fields):
        taken, given = stage.inputs()[1], stage.outputs()[1]
        new = [name for name in fields.kinds if name not in before.kinds or (name in given and name not in taken)]
        gone = [name for name in before.kinds if name not in fields.kinds]
        if stage is plan.source:
            new.sort(key=lambda name: name not in fields.types)  # those it always has come first
            there = [f"{name} {short(fields.kinds[name])}".rstrip() for name in new]
            lines.append(f"{stage.name}: gives {', '.join([*there, *(['whatever else comes'] * fields.open)])}")
        else:
            verbs = {
                "reads": taken,
                "adds": [name for name in new if name in given],
                "passes on": [name for name in new if name not in given],
                "removes": gone,
            }
            any_other = ["may add and remove any"] if fields.unknown and not before.unknown else []
            said = [f"{verb} {', '.join(names)}" for verb, names in verbs.items() if names]
            lines.append(f"{stage.name}: {'; '.join([*said, *any_other]) or 'leaves fields as they are'}")
        before = fields
    kept = ", ".join(plan.writer.keeps()) or "all fields"
    left_out = ", ".join(plan.writer.leaves_out(before))
    lines.append(f"{plan.writer.name}: keeps {kept}{f'; leaves out {left_out}' if left_out else ''}")
    return "fields:\n" + "\n".join(f"  {line}" for line in lines)
