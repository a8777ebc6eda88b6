"""Run stages over a list of records, in this process, with the local executor."""

from __future__ import annotations

import copy
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.result import RunResult
from curator_audio.stages.base import ProcessingStage
from curator_audio.stages.fields import Fields
from curator_audio.stages.io.manifest_reader import ManifestReaderStage
from curator_audio.stages.io.manifest_writer import ManifestWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.resources import Resources
from curator_audio.stages.source import SourceStage
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from curator_audio.testing.differences import difference, shown

READER, GIVEN, TAKEN, WRITER = (f"testing_{name}" for name in ("reader", "given", "taken", "writer"))


@dataclass
class StagesResult:
    """The output of stages for some records.

    Args:
        records: the records that came out, in order.
        quarantined: how many were quarantined, by reason.
        quarantine: the lines of the quarantine: ``stage``, ``reason``, ``message`` and ``record``.
        skipped: how many pieces of recordings were left out by ``log_skipped``, by reason.
        metrics: what each stage logged, by its name and the metric's.
    """

    records: list[Record]
    quarantined: dict[str, int]
    quarantine: list[dict[str, Any]] = field(repr=False)
    skipped: dict[str, int]
    metrics: dict[str, dict[str, float]]


def run_stages(stages: Sequence[ProcessingStage[Any, Any]], records: Sequence[Record] | None = None) -> StagesResult:
    """Run stages over records with the local executor: plan, set up, process, quarantine and tear down.

    The records may hold anything, such as sound or arrays. What the stages ask for in ``resources`` is passed over, so
    that a stage for GPUs can be tried on a machine without.

    Args:
        stages: the stages, without a writer.
        records: what they are given; None where the first stage is a reader.

    Raises:
        AssertionError: a stage failed as a whole, or changed a record that it was given.
        CuratorError: the stages do not fit together, or one of them could not be set up.

    Example:
        >>> from curator_audio.stages.general import PreserveByValueStage, RenameFieldsStage
        >>> stages = [RenameFieldsStage({"dur": "duration"}), PreserveByValueStage("duration", 1.0, "ge")]
        >>> result = run_stages(stages, [{"dur": 3.5}, {"dur": 0.2}, {"length": 7}])
        >>> result.records, result.quarantined
        ([{'duration': 3.5}], {'missing_field': 1})
        >>> result.quarantine[0]["message"]
        "the record has no 'dur'"
    """
    for stage in stages:
        if not isinstance(stage, ProcessingStage):
            raise ConfigurationError(f"{stage!r} is not a stage; give an instance of a subclass of ProcessingStage")
    if records is not None and not (isinstance(records, Sequence) and all(isinstance(one, dict) for one in records)):
        raise ConfigurationError(f"records is {shown(records)}; give a list of dicts")
    stages = [stage.with_(resources=Resources()) for stage in stages]
    has_reader = bool(stages) and isinstance(stages[0], SourceStage)
    if has_reader is (records is not None):
        raise ConfigurationError("give records, or a reader as the first stage, and not both")
    if any(isinstance(stage, WriterStage) for stage in stages):
        raise ConfigurationError("leave out the writer: records are taken where it would stand; run one in a Pipeline")
    storage, folder = Storage(), f"memory://curator_audio.testing/{uuid.uuid4().hex}"
    given, taken = _Given(), _Taken()
    if records is not None:
        lines = b"".join(b'{"number": %d}\n' % number for number in range(len(records)))
        storage.write(f"{folder}/records.jsonl", lines or b"\n")
        reader = ManifestReaderStage(f"{folder}/records.jsonl").with_(name=READER)
        given.records = copy.deepcopy(list(records))
        stages = [reader, given, *stages]
    writer = ManifestWriterStage(f"{folder}/taken").with_(name=WRITER)
    try:
        result = Pipeline("testing", [*stages, taken, writer]).run(LocalExecutor(), output_dir=f"{folder}/run")
        if result.failures:
            raise AssertionError("; ".join(result.failures.values()))
        for index, (before, after) in enumerate(zip(records or (), given.records)):
            if changed := difference(before, after):
                remedy = "return a new record, such as {**record, …}"
                raise AssertionError(f"record {index} was changed: {changed}; {remedy}")
        return _result(result, storage, folder, taken)
    finally:
        storage.delete([file.path for file in storage.list_files(folder)])


def _result(result: RunResult, storage: Storage, folder: str, taken: _Taken) -> StagesResult:
    names = [stage for stage in result.stages if stage not in (READER, GIVEN, TAKEN, WRITER)]
    skipped: Counter[str] = Counter()
    for _, _, reasons in result.skipped:
        skipped.update(reasons)
    return StagesResult(
        records=[taken.records[line["number"]] for line in _lines(storage, f"{folder}/taken")],
        quarantined=result.quarantined,
        quarantine=_lines(storage, f"{folder}/run/quarantine"),
        skipped=dict(skipped),
        metrics={name: dict(result.metrics[name].custom) for name in names},
    )


def _lines(storage: Storage, folder: str) -> list[dict[str, Any]]:
    files = sorted(storage.list_files(folder), key=lambda file: file.path) if storage.is_folder(folder) else []
    return [json.loads(line) for file in files for line in storage.read(file.path).splitlines()]


@dataclass
class _Given(RecordStage):
    """Replace the lines of the manifest by the records that they stand for."""

    records: list[Record] = field(default_factory=list, init=False)

    name = GIVEN

    def fields_after(self, fields: Fields) -> Fields:
        return Fields(open=True, unknown=True)

    def process_record(self, record: Record) -> Record:
        return self.records[record["number"]]


@dataclass
class _Taken(ProcessingStage[AudioBatch, AudioBatch]):
    """Keep the records, and hand on lines that stand for them: those that are committed are the output."""

    records: list[Record] = field(default_factory=list, init=False)

    name = TAKEN

    def fields_after(self, fields: Fields) -> Fields:
        return Fields.of(["number"])

    def process(self, task: AudioBatch) -> AudioBatch:
        first = len(self.records)
        self.records += task.records
        lines = [{"number": number} for number in range(first, len(self.records))]
        return AudioBatch(lines, task.source_path, task.offsets, task.paths)
