"""Stages run over records as a pipeline would run them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from curator_audio import AudioBatch, ConfigurationError, ProcessingStage, Record, RecordError, RecordStage, Resources
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.general import GroupRecordsStage, RenameFieldsStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.testing import run_stages


@dataclass
class Counted(RecordStage):
    """Counts down from ``n``; asks for a GPU, and tells when it is set up and torn down."""

    calls: list[str] = field(default_factory=list)

    name = "counted"
    resources = Resources(gpus=1)

    def setup(self, worker: WorkerInfo) -> None:
        self.calls.append("setup")

    def teardown(self) -> None:
        self.calls.append("teardown")

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["n"]

    def process_record(self, record: Record) -> Iterator[Record]:
        if record["n"] < 0:
            raise RecordError("negative", f"n is {record['n']}")
        if record["n"] == 0:
            self.log_skipped("show", "nothing")
        self.log_metric("counted", record["n"])
        return ({"n": n} for n in range(record["n"], 0, -1))


def test_records_quarantine_skipped_and_metrics() -> None:
    stage = Counted()
    result = run_stages([stage, RenameFieldsStage({"n": "m"})], [{"n": 2}, {"n": -1}, {"n": 0}, {}, {"n": 1}])
    assert result.records == [{"m": 2}, {"m": 1}, {"m": 1}]
    assert result.quarantined == {"negative": 1, "missing_field": 1}
    assert [(bad["stage"], bad["message"], bad["record"]) for bad in result.quarantine] == [
        ("counted", "n is -1", {"n": -1}),
        ("counted", "the record has no 'n'", {}),
    ]
    assert result.skipped == {"nothing": 1}
    assert result.metrics == {"counted": {"counted": 3, "skipped_nothing": 1}, "rename_fields": {}}
    assert stage.calls == ["setup", "teardown"]
    assert not fsspec.filesystem("memory").find("/curator_audio.testing"), "nothing is left in memory"


def test_records_hold_what_they_hold() -> None:
    samples = np.zeros(3, np.float32)
    (record,) = run_stages([RenameFieldsStage({"a": "b"})], [{"a": samples, "audio": {"bytes": b"fLaC"}}]).records
    assert record["b"].dtype == np.float32 and record["audio"] == {"bytes": b"fLaC"}


def test_no_records() -> None:
    assert run_stages([Counted()], []).records == []


def test_all_records_are_one_partition() -> None:
    speakers = [{"speaker": name, "n": n} for n, name in enumerate("abab")]
    assert [record["n"] for record in run_stages([GroupRecordsStage(["speaker"])], speakers).records] == [0, 2, 1, 3]


def test_a_reader(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"n": 2}\nno json\n')
    result = run_stages([ManifestReaderStage(str(tmp_path / "in.jsonl")), Counted()])
    assert (result.records, result.quarantined) == ([{"n": 2}, {"n": 1}], {"invalid_json": 1})


@pytest.mark.parametrize(
    ("stages", "records", "message"),
    [
        ([Counted()], None, "give records, or a reader"),
        ([ManifestReaderStage("in.jsonl")], [{}], "not both"),
        ([ManifestWriterStage("out.jsonl")], [{}], "leave out the writer"),
        ([Counted], [{}], "Counted'> is not a stage; give an instance"),
        ([Counted()], {"n": 1}, "records is {'n': 1}; give a list of dicts"),
    ],
)
def test_what_cannot_be_run(stages: list[Any], records: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run_stages(stages, records)


class Mutating(RecordStage):
    def process_record(self, record: Record) -> Record:
        record["words"].append("more")
        return record


def test_a_stage_that_changes_what_it_was_given() -> None:
    with pytest.raises(
        AssertionError, match=r"record 1 was changed: 'words' is \['b', 'more'\], expected \['b'\]; return a"
    ):
        run_stages([Mutating()], [{"other": 1}, {"words": ["b"]}])


class Failing(ProcessingStage[AudioBatch, AudioBatch]):
    def process(self, task: AudioBatch) -> AudioBatch:
        raise KeyError("weights")


def test_a_stage_that_fails_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator_audio.executors.base.RETRY_PAUSES_SEC", (0.0,))
    with pytest.raises(AssertionError, match=r"KeyError: 'weights' \(.*test_running.py:\d+\)"):
        run_stages([Failing()], [{}])
