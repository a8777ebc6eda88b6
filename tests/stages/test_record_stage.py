"""Stages that work record by record: one, several or a stream of records for each, and bad ones set aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from curator_audio.errors import ConfigurationError, RecordError, StorageError
from curator_audio.stages import RecordStage
from curator_audio.tasks import AudioBatch, Record


@dataclass
class Countdown(RecordStage):
    """Yields a record for every number from ``n`` down to 1; a negative one fails on the way."""

    name = "countdown"

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["n"]

    def process_record(self, record: Record) -> Iterator[Record]:
        for number in range(abs(record["n"]), 0, -1):
            if number == -record["n"] - 2:
                raise RecordError("negative", f"n is {record['n']}")
            yield {"n": number}


def test_an_iterator_of_records_keeps_their_offsets() -> None:
    batch = Countdown().process(AudioBatch([{"n": 2}, {"n": 0}, {"n": 1}], "in.jsonl", [0, 10, 20]))
    assert [record["n"] for record in batch.records] == [2, 1, 1]
    assert batch.offsets == [0, 0, 20]
    assert batch.source_path == "in.jsonl"


def test_what_came_before_a_failure_stays_and_the_others_go_on() -> None:
    stage = Countdown()

    batch = stage.process(AudioBatch([{"n": -4}, {}, {"n": 1}], "in.jsonl", [0, 10, 20]))

    assert [(record["n"], offset) for record, offset in zip(batch.records, batch.offsets)] == [(4, 0), (3, 0), (1, 20)]
    bad = stage.take_observations().quarantined
    assert [(one.reason, one.offset, one.record) for one in bad] == [
        ("negative", 0, {"n": -4}),
        ("missing_field", 10, {}),
    ]


def test_records_are_made_as_they_are_asked_for() -> None:
    processed = Countdown().processed(AudioBatch([{"n": 2}, {"n": "a bug if it were looked at"}]))
    assert [next(processed)[0]["n"], next(processed)[0]["n"]] == [2, 1]


@dataclass
class Returns(RecordStage):
    """Returns or raises what the record holds."""

    name = "returns"

    def process_record(self, record: Record) -> Record | None:
        if isinstance(record["value"], Exception):
            raise record["value"]
        value: Record | None = record["value"]
        return value


def test_storage_that_fails_is_not_the_record_s_fault() -> None:
    with pytest.raises(StorageError, match="connection reset"):
        Returns().process(AudioBatch([{"value": StorageError("connection reset")}]))


def test_a_stage_that_returns_something_else() -> None:
    with pytest.raises(ConfigurationError, match="'returns' returned a str for a record; return a dict, a list or "):
        Returns().process(AudioBatch([{"value": "text"}]))


def test_a_corpus_with_one_fault_in_all_its_recordings_is_warned_of_a_few_times_and_counted_whole(
    warned: list[str],
) -> None:
    stages = [Countdown(), Countdown()]  # of two workers
    for number in range(100):
        for stage in stages:
            stage.warn_and_count("recordings_with_gaps", f"{number}.webm has a gap")
    stages[0].warn_and_count("folders_missing", "a.txt: 7 folders are missing", 7)

    gaps = [warning for warning in warned if warning.endswith(".webm has a gap")]
    assert gaps == [f"{number}.webm has a gap" for number in range(20) for _ in stages]
    last = [warning for warning in warned if "recordings_with_gaps" in warning]
    assert len(last) == len(stages) and "20" in last[0] and "metrics.json" in last[0]
    assert warned[-1] == "a.txt: 7 folders are missing" and len(warned) == 2 * 21 + 1
    assert stages[0].take_observations().metrics == {"recordings_with_gaps": 100, "folders_missing": 7}

    stages[0].forget_warnings()  # as the next run does
    stages[0].warn_and_count("recordings_with_gaps", "0.webm has a gap")
    assert warned[-1] == "0.webm has a gap"
