"""The overlap filter: which of two windows goes, the totals, and which input it refuses."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.alm import ALMDataBuilderStage, ALMDataOverlapStage
from curator_audio.tasks import AudioBatch

Entry = dict[str, Any]


def window(start: Any, end: Any) -> Entry:
    return {"segments": [{"start": start, "end": start}, {"start": end, "end": end}]}


def thin_out(*spans: tuple[float, float], **parameters: Any) -> list[list[float]]:
    """The spans that stay, [end, start]."""
    record = {"windows": [window(*span) for span in spans]}
    filtered: list[list[float]] = ALMDataOverlapStage(**parameters).process_record(record)["filtered"]
    return filtered


def test_the_window_nearer_to_the_target_stays() -> None:
    assert thin_out((0.0, 110.0), (5.0, 125.0)) == [[125.0, 5.0]]
    assert thin_out((0.0, 120.0), (5.0, 115.0)) == [[120.0, 0.0]]


def test_of_equally_near_ones_the_longer_stays_and_of_equally_long_ones_the_earlier() -> None:
    assert thin_out((0.0, 110.0), (5.0, 135.0)) == [[135.0, 5.0]]
    assert thin_out((0.0, 130.0), (5.0, 115.0)) == [[130.0, 0.0]]
    assert thin_out((0.0, 120.0), (5.0, 125.0)) == [[120.0, 0.0]]


def test_the_threshold_is_a_share_of_the_shorter_window() -> None:
    assert len(thin_out((0.0, 100.0), (50.0, 150.0), overlap_percentage=50)) == 1
    assert len(thin_out((0.0, 100.0), (50.5, 150.0), overlap_percentage=50)) == 2


def test_zero_removes_every_overlap_and_a_hundred_only_contained_windows() -> None:
    assert thin_out((0.0, 100.0), (99.0, 219.0), (219.0, 300.0), overlap_percentage=0) == [
        [219.0, 99.0],
        [300.0, 219.0],
    ]
    assert len(thin_out((0.0, 100.0), (1.0, 101.0), overlap_percentage=100)) == 2
    assert thin_out((0.0, 100.0), (1.0, 99.0), overlap_percentage=100) == [[100.0, 0.0]]


def test_the_target_duration_is_its_own() -> None:
    assert thin_out((0.0, 110.0), (5.0, 65.0), target_duration=60.0) == [[65.0, 5.0]]


def test_totals_of_all_windows_and_of_those_that_stay() -> None:
    windows = [window(200.0, 320.0), window(5.0, 125.0), window(0.0, 110.0)]
    record = {"windows": windows, "stats": {"swift_path": "s3://swift/a"}, "filtered": "of an earlier run", "id": 7}
    assert ALMDataOverlapStage().process_record(record) == {
        "id": 7,
        "windows": windows,
        "stats": {"swift_path": "s3://swift/a"},
        "total_dur_window": 350.0,
        "total_dur_list_window": [120.0, 120.0, 110.0],
        "total_dur_list_window_timestamps": [[320.0, 200.0], [125.0, 5.0], [110.0, 0.0]],
        "filtered": [[125.0, 5.0], [320.0, 200.0]],
        "filtered_windows": windows[:2],
        "filtered_dur": 240.0,
        "filtered_dur_list": [120.0, 120.0],
        "manifest_filepath": None,
        "swift_filepath": "s3://swift/a",
    }
    assert record["filtered"] == "of an earlier run"


def test_filtered_windows_are_the_windows_themselves() -> None:
    windows = [window(0.0, 110.0), window(5.0, 125.0)]
    assert ALMDataOverlapStage().process_record({"windows": windows})["filtered_windows"][0] is windows[1]


def test_windows_with_the_same_rounded_span_stay_together() -> None:
    windows = [window(0.0, 120.0), window(0.0, 120.0), window(1e-8, 120.0), window(0.1, 120.0)]
    record = ALMDataOverlapStage().process_record({"windows": windows})
    assert record["filtered"] == [[120.0, 0.0]]
    assert record["filtered_windows"] == windows[:3]


def test_no_windows() -> None:
    record = ALMDataOverlapStage().process_record({"windows": [], "stats": {"swift_path": "x"}})
    assert record["filtered"] == record["filtered_windows"] == record["total_dur_list_window"] == []
    assert (record["filtered_dur"], record["total_dur_window"]) == (0.0, 0.0)
    assert record["manifest_filepath"] is record["swift_filepath"] is None


@pytest.mark.parametrize(
    ("fields", "path"), [({}, ""), ({"stats": None}, ""), ({"stats": {}}, ""), ({"stats": {"swift_path": None}}, None)]
)
def test_swift_filepath(fields: Entry, path: Any) -> None:
    assert ALMDataOverlapStage().process_record({"windows": [window(0.0, 1.0)], **fields})["swift_filepath"] == path


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ({"a": 1}, "wrong_type: windows is an object; give a list of objects"),
        ([3], "wrong_type: windows[0] is 3; give an object"),
        ([window(0.0, 1.0), {}], "missing_field: windows[1].segments is missing; give a list of segments"),
        ([{"segments": []}], "wrong_type: windows[0].segments is a list; give a list with a segment at least"),
        ([{"segments": {}}], "wrong_type: windows[0].segments is an object; give a list with a segment at least"),
        ([{"segments": [5]}], "wrong_type: windows[0].segments[0] is 5; give an object"),
        ([{"segments": [{"end": 1.0}]}], "missing_field: windows[0].segments[0].start is missing"),
        ([window(0.0, float("nan"))], "not_finite: windows[0].segments[1].end is NaN; give seconds as a finite number"),
        ([window("0", 1.0)], 'not_a_number: windows[0].segments[0].start is "0"'),
        ([window(False, 1.0)], "not_a_number: windows[0].segments[0].start is false"),
        ([window(0, 10**400)], "not_finite: windows[0].segments[1].end is 1000000000"),
        ([window(2.0, 1.0)], "negative_duration: windows[0] ends at 1.0, before its start 2.0"),
        ([window(-1e308, 1e308)], "not_finite: the total duration of the windows"),
    ],
)
def test_malformed_windows_are_refused_by_name(windows: Any, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        ALMDataOverlapStage().process_record({"windows": windows})
    assert str(caught.value).startswith(message)


def test_targets_that_differ_are_a_doubt() -> None:
    builder = ALMDataBuilderStage(target_window_duration=60.0)
    assert ALMDataOverlapStage(target_duration=60).doubts([builder]) == ALMDataOverlapStage().doubts([]) == []
    (doubt,) = ALMDataOverlapStage().doubts([builder])
    assert doubt.startswith("target_duration is 120 s, and target_window_duration of 'alm_data_builder' is 60 s")


def test_stats_that_are_none_are_absent() -> None:
    stage = ALMDataOverlapStage()
    assert stage.process_record({"windows": [window(0.0, 1.0)], "stats": []})["swift_filepath"] == ""
    assert stage.take_observations().metrics["optional_fields_ignored"] == 1


@pytest.mark.parametrize("value", [-1, 100.5, float("nan"), "50", True, None])
def test_a_percentage_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ALMDataOverlapStage(overlap_percentage=value)
    assert str(caught.value) == f"overlap_percentage is {value!r}; give a number between 0 and 100"


def test_a_target_duration_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="target_duration is 0; give a number above 0"):
        ALMDataOverlapStage(target_duration=0)


def test_what_stays_is_counted() -> None:
    stage = ALMDataOverlapStage()
    stage.process(AudioBatch([{"windows": [window(0.0, 110.0), window(5.0, 125.0)]}, {"windows": [window(0.0, 9.0)]}]))
    assert stage.take_observations().metrics == {"output_windows (after overlap)": 2, "filtered_audio_duration": 129.0}


@settings(max_examples=300, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=25),
    nudge=st.sampled_from([0.0, 1e-8, 5e-7, 1e-3]),
    scale=st.sampled_from([1, 0.1, 1 / 3]),
    percentage=st.sampled_from([0, 10, 50, 100 / 3, 100]),
    target=st.sampled_from([0.5, 3.0, 10.0]),
)
def test_the_plain_rules_give_the_same_bits(
    naive_overlap: Any, spans: Any, nudge: float, scale: float, percentage: float, target: float
) -> None:
    starts = [start * scale + k * nudge for k, (start, _) in enumerate(spans)]
    windows = [window(start, start + length * scale) for start, (_, length) in zip(starts, spans)]
    record = {"windows": windows, "stats": {"swift_path": ""}}
    got = ALMDataOverlapStage(percentage, target).process_record(record)
    want = naive_overlap(record, percentage, target)
    sort = orjson.OPT_SORT_KEYS
    assert orjson.dumps(got, option=sort) == orjson.dumps(want, option=sort)
