"""Which files a run publishes, and under which names."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import AccessError, ConfigurationError, RecordError, StorageError
from curator_audio.ledger import relative_to
from curator_audio.pipeline.after import AfterContext
from curator_audio.stages.hub.file_hasher import FileHasherStage
from curator_audio.stages.hub.file_reader import PublishedFileReaderStage
from curator_audio.storage.limits import MAX_JSON_BYTES
from curator_audio.storage.storage import Storage, join
from curator_audio.tasks import Part, Partition

FOLDER = "data"
COMPUTING = {
    "process_time_mean_sec",
    "process_time_total_sec",
    "num_tasks",
    "items_processed",
    "items_in",
    "items_out",
    "num_quarantined",
}
"""What ``metrics.json`` has of every stage besides what the stage itself counted."""


@dataclass(frozen=True)
class File:
    """A file to publish.

    Args:
        name: its path in the repository.
        path: where it is.
        num_bytes: its size.
        sha256: the hash of its bytes; empty where it is not known yet.
        num_examples: how many examples it holds.
        is_users: whether it is not the run's own, and may go while that goes on.
    """

    name: str
    path: str
    num_bytes: int
    sha256: str
    num_examples: int
    is_users: bool = False


def files_of(context: AfterContext) -> list[File]:
    """The files a run wrote (or only hashed), in order of their names.

    Raises:
        ConfigurationError: two of them would have one name.
        StorageError: one of them has gone.
    """
    writer = context.plan.writer
    if writer.is_single_file:
        found = context.storage.find(writer.output_path)
        num_records = sum(entry.num_records for entry in context.entries)
        name = join(FOLDER, posixpath.basename(writer.output_path))
        return [File(name, found.path, found.num_bytes, "", num_records)] if found else []
    return _sorted(_file(context, part) for entry in context.entries for part in entry.parts)


def expected_files(context: AfterContext, pending: Sequence[Partition]) -> list[File]:
    """The same before a run: what is done, and what is there to be hashed; what is not written yet is not known."""
    if context.plan.writer.is_single_file:
        return files_of(context) if context.entries and not pending else []
    files = [_file(context, part) for entry in context.entries for part in entry.parts]
    reader = context.plan.source
    if isinstance(reader, PublishedFileReaderStage):
        listed = {file.path: file for file in reader.files()}
        for partition in pending:
            before = context.ledger.entries.get(partition.name)
            hashes = {part.place: part.sha256 for part in before.parts} if before else {}
            noted = before.inputs.unpacked() if before else {}
            for key, mark in partition.inputs.items():
                info = listed[join(partition.source_path, key)]
                sha256 = hashes.get(key, "") if key in noted and noted[key].fingerprint == mark else ""
                files.append(File(_name(key), info.path, info.num_bytes, sha256, 0, is_users=True))
    return _sorted(files)


def figures_before(context: AfterContext) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """The pipeline that made the files, and what its stages counted.

    For files that exist it stands in the ``metrics.json`` beside them, or beside their folder; where there is none,
    nothing was counted.
    """
    plan = context.plan
    if isinstance(plan.writer, FileHasherStage):
        root = plan.source.root
        return _told_beside(context.storage, root) or (plan.name, [])
    totals: dict[str, dict[str, float]] = {stage.name: {} for stage in plan.stages}
    for entry in context.entries:
        for stage, metrics in entry.metrics.items():
            for name, value in metrics.custom.items():
                if stage in totals:
                    totals[stage][name] = totals[stage].get(name, 0) + value
    stages = [(stage.name, totals[stage.name] | stage.derived_metrics(totals[stage.name])) for stage in plan.stages]
    return plan.name, stages


def _file(context: AfterContext, part: Part) -> File:
    path, is_users = context.ledger.path_of(part), bool(part.place) or part.stays
    if not is_users and context.ledger.part_source(part) is None:
        raise StorageError(f"the file {path} has gone while the run was going on; run again")
    roots = (context.plan.writer.output_path, context.plan.source.root)
    below = (relative_to(root, path) for root in roots)
    key = next((key for key in below if key != path), posixpath.basename(path))
    return File(_name(key), path, part.num_bytes, part.sha256, part.num_records, is_users)


def _name(key: str) -> str:
    """A file's path in the repository, by its path below the folder of all files."""
    return join(FOLDER, key.removeprefix(f"{FOLDER}/"))


def _sorted(files: Iterable[File]) -> list[File]:
    named: dict[str, File] = {}
    for file in files:
        other = named.setdefault(file.name, file)
        if other.path != file.path:
            raise ConfigurationError(f"{other.path} and {file.path} would both be {file.name}; rename one")
    return [named[name] for name in sorted(named)]


def _told_beside(storage: Storage, root: str) -> tuple[str, list[tuple[str, dict[str, Any]]]] | None:
    """What the ``metrics.json`` of the run that wrote into a folder tells."""
    for told in _metrics_beside(storage, root):
        stages, pipeline = told.get("stages"), told.get("pipeline")
        if isinstance(stages, dict) and isinstance(pipeline, str):
            counted = [(str(name), metrics) for name, metrics in stages.items() if isinstance(metrics, dict)]
            return pipeline, [
                (stage, {name: value for name, value in metrics.items() if name not in COMPUTING})
                for stage, metrics in counted
            ]
    return None


def _metrics_beside(storage: Storage, root: str) -> Iterator[dict[str, Any]]:
    parent, _, folder = root.rpartition("/")
    for place in (root, parent):
        if not place or place.endswith(":/"):
            continue
        told = None
        with suppress(AccessError, RecordError, ValueError, RecursionError):
            found = storage.find(join(place, "metrics.json"))
            if found is not None and found.num_bytes <= MAX_JSON_BYTES:
                told = json.loads(storage.within(place).read(found.path))
        if not isinstance(told, dict):
            continue
        # That of another folder's run may lie there.
        if place == root or posixpath.basename(str(told.get("output_path")).rstrip("/")) == folder:
            yield told
