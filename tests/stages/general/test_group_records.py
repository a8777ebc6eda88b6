"""Records that belong together come together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError
from curator_audio.stages.general import GroupRecordsStage
from curator_audio.tasks import AudioBatch


@given(st.lists(st.lists(st.tuples(st.sampled_from(["a", "b", None, 1, 1.0]), st.booleans()), max_size=4), max_size=5))
def test_groups_of_a_partition(given_tasks: list[list[tuple[Any, bool]]]) -> None:
    number = 0
    tasks = []
    for given_task in given_tasks:
        records = [{"show": show, "day": day, "n": number + n} for n, (show, day) in enumerate(given_task)]
        tasks.append(AudioBatch(records, f"{number}.parquet", list(range(number, number + len(records)))))
        number += len(records)
    groups = list(GroupRecordsStage(by=["show", "day"]).process_partition(iter(tasks)))
    keys = [{(repr(record["show"]), record["day"]) for record in group.records} for group in groups]
    assert all(len(key) == 1 for key in keys) and len({next(iter(key)) for key in keys}) == len(keys)
    assert sorted(record["n"] for group in groups for record in group.records) == list(range(number))
    for group in groups:
        assert group.offsets == [record["n"] for record in group.records] == sorted(group.offsets)
        sources = {record["n"]: task.source_path for task in tasks for record in task.records}
        assert group.paths == [sources[record["n"]] for record in group.records]


def test_records_that_lack_a_field_agree_in_that() -> None:
    (one, other) = GroupRecordsStage(by=["show"]).process(AudioBatch([{"n": 1}, {"show": "a"}, {"show": None}]))
    assert (one.records, other.records) == ([{"n": 1}, {"show": None}], [{"show": "a"}])


def test_a_record_that_agrees_with_none_is_set_aside() -> None:
    stage = GroupRecordsStage(by=["audio"])
    (group,) = stage.process(AudioBatch([{"audio": b"fLaC"}, {"audio": "a"}], "in.jsonl", [0, 20]))
    assert group.records == [{"audio": "a"}]
    (bad,) = stage.observed.quarantined
    assert (bad.source_path, bad.offset, bad.reason) == ("in.jsonl", 0, "not_serializable")


@pytest.mark.parametrize("by", [[], "show", [""], [1], None])
def test_fields_are_wanted(by: Any) -> None:
    with pytest.raises(ConfigurationError, match="give a list of fields"):
        GroupRecordsStage(by=by)
