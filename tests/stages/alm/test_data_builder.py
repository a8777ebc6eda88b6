"""The window builder: what makes a window, what is lost to what, and which input it refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.ledger import StageMetrics
from curator_audio.stages.alm import ALMDataBuilderStage, ALMDataOverlapStage
from curator_audio.stages.alm.windows import SegmentShortener
from curator_audio.stages.fields import Fields
from curator_audio.storage.json_codec import encode_record
from curator_audio.tasks import AudioBatch

Entry = dict[str, Any]
FIELDS = ["start", "end", "speaker", "metrics", "bandwidth", "words", "word", "text", "segments", "audio_sample_rate"]


def segment(start: float, end: float, speaker: Any = "ann", bandwidth: Any = 9000, **fields: Any) -> Entry:
    return {"start": start, "end": end, "speaker": speaker, "metrics": {"bandwidth": bandwidth}, **fields}


def words(*ends: float) -> list[Entry]:
    return [{"word": f"w{k}", "start": end - 0.1, "end": end} for k, end in enumerate(ends)]


def build(segments: Any, sample_rate: Any = 16000, **parameters: Any) -> Entry:
    stage = ALMDataBuilderStage(**{"target_window_duration": 10.0, **parameters})
    return stage.process_record({"audio_sample_rate": sample_rate, "segments": segments})


def refused(segments: Any, **parameters: Any) -> RecordError:
    with pytest.raises(RecordError) as caught:
        build(segments, **parameters)
    return caught.value


# ---- windows


def test_two_speakers_of_the_wanted_length_make_a_window() -> None:
    ann, bob = segment(0.0, 4.0, "ann"), segment(4.5, 10.0, "bob")
    entry = build([ann, bob])
    assert entry["windows"] == [{"segments": [ann, bob], "speaker_durations": [5.5, 4.0, 0.0, 0.0, 0.0]}]
    assert entry["stats"]["lost_win"] == 1  # bob's start has nothing after it
    assert entry["stats"]["total_dur"] == 9.5


@pytest.mark.parametrize(("end", "windows"), [(8.99, 0), (9.0, 1), (11.0, 1)])
def test_the_length_may_be_off_by_the_tolerance(end: float, windows: int) -> None:
    assert len(build([segment(0.0, 4.0), segment(4.0, end, "bob")])["windows"]) == windows


def test_without_truncation_a_segment_that_reaches_too_far_ends_the_walk() -> None:
    segments = [segment(0.0, 4.0), segment(4.0, 9.5, "bob"), segment(9.5, 11.5)]
    entry = build(segments, truncation=False)
    assert entry["windows"][0]["segments"] == segments[:2]
    assert entry["truncation_events"] == 0


def test_truncation_keeps_the_words_that_fit() -> None:
    segments = [segment(0.0, 4.0), segment(4.0, 12.0, "bob", words=words(5.0, 10.9, 11.1), text="w0 w1 w2", note=1)]
    entry = build(segments, drop_fields="")
    assert entry["windows"][0]["segments"][1] == {
        **segments[1], "end": 10.9, "text": "w0 w1", "words": words(5.0, 10.9)
    }  # fmt: skip
    assert entry["windows"][0]["speaker_durations"][0] == 10.9 - 4.0
    assert entry["truncation_events"] == 1


def test_a_shortened_segment_without_words_ends_at_its_start() -> None:
    entry = build([segment(0.0, 9.2), segment(9.5, 20.0, "bob")], drop_fields="")
    assert entry["windows"][0]["segments"][1] == segment(9.5, 9.5, "bob", words=[], text="")


def test_dropped_fields_are_not_added_by_shortening_either() -> None:
    long = segment(9.5, 20.0, "bob", words=words(10.0, 11.5), text="w0 w1")
    entry = build([segment(0.0, 9.2), long], drop_fields="words, text")
    assert entry["windows"][0]["segments"][1] == segment(9.5, 10.0, "bob")


def test_empty_words_are_left_out_of_the_text() -> None:
    spoken = [
        *words(5.0),
        {"word": "", "end": 6.0},
        {"end": 6.5},
        {"word": None, "end": 7.0},
        *words(9.5),
        *words(12.0),
    ]
    entry = build([segment(0.0, 4.0), segment(4.0, 12.0, "bob", words=spoken)])
    assert entry["windows"][0]["segments"][1]["text"] == "w0 w0"


def test_next_seg_is_not_shortened() -> None:
    lone = segment(0.0, 30.0)
    lost = build([lone])["stats"]["lost_win_full_data"]
    assert lost[0]["next_seg"] == lone
    assert lost[0]["window_segs"] == [{**lone, "end": 0.0, "text": ""}]


def test_a_further_speaker_ends_the_walk_and_keeps_the_truncation_counted() -> None:
    segments = [segment(0.0, 5.0, "a"), segment(5.0, 10.0, "b"), segment(10.0, 12.0, "c")]
    entry = build(segments, max_speakers=2)
    assert entry["windows"][0]["segments"] == segments[:2]
    assert entry["truncation_events"] == 1


@pytest.mark.parametrize("speaker", [None, "", 0])
def test_no_name_is_no_speaker(speaker: Any) -> None:
    segments = [segment(0.0, 4.0), segment(4.0, 9.0, speaker), segment(9.0, 10.0, "bob")]
    assert build(segments)["windows"][0]["speaker_durations"] == [4.0, 1.0, 0.0, 0.0, 0.0]


def test_too_few_speakers_are_lost_to_speakers() -> None:
    stats = build([segment(0.0, 4.0), segment(4.0, 10.0)])["stats"]
    assert (stats["lost_spk"], stats["dur_lost_spk"], stats["lost_win"]) == (1, 4.0, 1)


def test_low_bandwidth_is_lost_and_ends_walks() -> None:
    low = segment(4.0, 6.0, "bob", bandwidth=7999)
    stats = build([segment(0.0, 4.0), low, {"start": 6.0, "end": 10.0, "speaker": "eve"}])["stats"]
    assert (stats["lost_bw"], stats["dur_lost_bw"]) == (2, 6.0)
    assert (stats["lost_win"], stats["lost_next_seg_bm"], stats["dur_lost_next_seg_bm"]) == (1, 1, 4.0)
    assert stats["lost_win_full_data"][0]["next_seg"] == low


@pytest.mark.parametrize(("after", "lost"), [({"speaker": "no-speaker"}, 1), ({}, 1), ({"speaker": None}, 0)])
def test_a_start_before_nobody_is_counted(after: Entry, lost: int) -> None:
    low = {"start": 4.0, "end": 9.5, **after}
    assert build([segment(0.0, 4.0), low])["stats"]["lost_no_spkr"] == lost


def test_no_speaker_never_enters_a_window() -> None:
    segments = [segment(0.0, 5.0), segment(5.0, 9.5, "bob"), segment(9.5, 10.5, "no-speaker")]
    entry = build(segments)
    assert entry["windows"][0]["segments"] == segments[:2]
    assert [lost["window_segs"] for lost in entry["stats"]["lost_win_full_data"]] == [segments[1:2], []]


def test_a_low_sample_rate_loses_everything_to_the_sample_rate() -> None:
    stage = ALMDataBuilderStage()
    entry = stage.process_record({"audio_sample_rate": 8000, "segments": [segment(0.0, 2.5)], "id": "x"})
    assert entry["windows"] == []
    assert entry["id"] == "x"
    assert (entry["stats"]["lost_sr"], entry["stats"]["dur_lost_sr"], entry["stats"]["lost_win"]) == (1, 2.5, 0)
    assert "segments" not in entry


@pytest.mark.parametrize("entry", [{"segments": []}, {"segments": [], "audio_sample_rate": None}])
def test_no_sample_rate_counts_as_zero(entry: Entry) -> None:
    stats = ALMDataBuilderStage().process_record(entry)["stats"]
    assert (stats["audio_sample_rate"], stats["lost_sr"], stats["total_dur"]) == (0, 0, 0.0)


@pytest.mark.parametrize(("fields", "path"), [({}, ""), ({"swift_audio_filepath": None}, None)])
def test_swift_path(fields: Entry, path: Any) -> None:
    assert ALMDataBuilderStage().process_record({"segments": [], **fields})["stats"]["swift_path"] == path


def test_null_metrics_and_words_count_as_absent() -> None:
    segments = [
        {"start": 0.0, "end": 4.0, "speaker": "ann", "metrics": None},
        {"start": 4.0, "end": 12.0, "speaker": "bob", "metrics": {"bandwidth": None}, "words": None},
        {"start": 12.0, "end": 13.0, "speaker": "bob"},
    ]
    assert build(segments)["stats"]["lost_bw"] == 3
    assert build(segments, min_bandwidth=0)["truncation_events"] == 1


def test_segments_are_shared_and_the_input_stays_as_it_was() -> None:
    segments = [segment(float(t), t + 0.9, "ab"[t % 2], words=words(t + 0.5)) for t in range(30)]
    segments[3].pop("words")
    record = {"audio_sample_rate": 16000, "segments": segments, "words": 1, "text": "t"}
    before = copy.deepcopy(record)
    entry = ALMDataBuilderStage(target_window_duration=10.0).process_record(record)
    assert record == before
    assert set(entry) == {"audio_sample_rate", "text", "windows", "stats", "truncation_events"}
    first, second = entry["windows"][0]["segments"], entry["windows"][1]["segments"]
    assert first[1] is second[0]
    assert first[3] is segments[3]
    assert "words" not in first[1]


# ---- refusals


@pytest.mark.parametrize(
    ("value", "reason", "shown"),
    [
        (float("nan"), "not_finite", "NaN"),
        (float("-inf"), "not_finite", "-Infinity"),
        (10**400, "not_finite", "1000000"),
        ("1.5", "not_a_number", '"1.5"'),
        (True, "not_a_number", "true"),
        (None, "not_a_number", "null"),
        ([1], "not_a_number", "a list"),
    ],
)
def test_a_time_that_is_no_finite_number_is_named(value: Any, reason: str, shown: str) -> None:
    error = refused([segment(0.0, 1.0), segment(value, 2.0)])
    assert error.reason == reason
    assert error.message.startswith(f"segments[1].start is {shown}")


def test_times_may_be_integers() -> None:
    entry = build([segment(0, 4), segment(4, 10, "bob")])
    assert entry["windows"][0]["speaker_durations"] == [6.0, 4.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([{"start": 0.0}], "missing_field: segments[0].end is missing; give seconds as a finite number"),
        ([segment(0.0, 1.0), 7], "wrong_type: segments[1] is 7; give an object"),
        ([segment(0.0, 1.0), "start"], 'wrong_type: segments[1] is "start"; give an object'),
        ({"a": 1}, "wrong_type: segments is an object; give a list of objects"),
        (None, "wrong_type: segments is null; give a list of objects"),
        ("start", 'wrong_type: segments is "start"; give a list of objects'),
        ([segment(2.0, 1.0)], "negative_duration: segments[0] ends at 1.0, before its start 2.0"),
        (
            [segment(2.0, -1)],
            "negative_duration: segments[0] ends at -1.0, before its start 2.0; give an end of at least the start, "
            "or the entry's 'duration', which -1 would stand for",
        ),
        ([segment(-1e308, 1e308)], "not_finite: the total duration"),
    ],
)
def test_malformed_segments_are_refused_by_name(segments: Any, message: str) -> None:
    assert str(refused(segments)).startswith(message)


# ---- why there are no windows


def said(segments: list[Any], **more: Any) -> list[str]:
    stage = ALMDataBuilderStage(target_window_duration=10.0)
    stage.process(AudioBatch([{"audio_sample_rate": 16000, "segments": segments, **more}] * 2))
    return stage.remarks_after(StageMetrics(custom=stage.take_observations().metrics))


@pytest.mark.parametrize(
    ("segments", "more", "reason"),
    [
        ([segment(0.0, 9.9)], {"audio_sample_rate": None}, "all 2 segments are lost to sample rate 0 < 16000 "),
        (
            [segment(0.0, 9.9)],
            {"audio_sample_rate": 8000},
            "all 2 segments are lost to a sample rate below min_sample_",
        ),
        ([segment(0.0, 9.9, bandwidth=None)], {}, "all 2 segments are lost to a bandwidth below min_bandwidth=8000; "),
        (
            [segment(0.0, 5.0), segment(5.0, 10.0), segment(10.0, 15.0)],
            {},
            "4 of 6 segments are lost to numbers of speakers outside 2 to 5 (min_speakers, max_speakers)",
        ),
        (
            [segment(0.0, 4.0)],
            {},
            "all 2 segments are lost to window lengths outside 9 to 11 s (target_window_duration",
        ),
        (
            [segment(0.0, 4.0), segment(4.0, 6.0, "no-speaker")],
            {},
            "all 4 segments are lost to window lengths outside 9 to 11 s (target_window_duration, tolerance), most of "
            "them cut short by a segment without a speaker",
        ),
        (
            [segment(0.0, 2.0), segment(2.0, 4.0, "bob"), segment(4.0, 9.0, bandwidth=4000)],
            {},
            "4 of 6 segments are lost to window lengths outside 9 to 11 s (target_window_duration, tolerance), most of "
            "them cut short by a bandwidth below min_bandwidth=8000",
        ),
    ],
)
def test_no_windows_at_all_have_a_reason(segments: list[Any], more: dict[str, Any], reason: str) -> None:
    (remark,) = said(segments, **more)
    assert remark.startswith(f"there are no windows: {reason}")


def test_where_there_are_windows_or_no_segments_that_is_said() -> None:
    assert said([segment(0.0, 4.0), segment(4.5, 10.0, "bob")]) == []
    assert said([]) == ["there are no windows, as the entries have no segments"]


# ---- what need not be there: wrong in one, absent there


def built(segments: list[Any], **more: Any) -> tuple[Any, dict[str, float]]:
    """The entry made of the segments, and what was counted; windows are of 9 to 11 s."""
    stage = ALMDataBuilderStage(target_window_duration=10.0, drop_fields="")
    entry = stage.process_record({"audio_sample_rate": 16000, "segments": segments, **more})
    return entry, stage.take_observations().metrics


def at(end: float) -> Entry:
    return {"word": f"w{end}", "end": end}


TURNS = [segment(0.0, 4.0), segment(4.0, 10.0, "bob"), segment(10.0, 14.0), segment(14.0, 20.0, "bob")]


@pytest.mark.parametrize(
    ("wrong", "absent"),
    [
        ({"metrics": "loud"}, {"metrics": None}),
        ({"metrics": [1]}, {"metrics": None}),
        ({"metrics": {"bandwidth": "8k"}}, {"metrics": {}}),
        ({"metrics": {"bandwidth": True}}, {"metrics": {}}),
        ({"metrics": {"bandwidth": float("nan")}}, {"metrics": {}}),
        ({"speaker": ["ann"]}, {"speaker": None}),
        ({"speaker": {"id": 1}}, {"speaker": None}),
    ],
)
@pytest.mark.parametrize("place", range(4))
def test_an_optional_field_that_is_wrong_is_absent_there(
    wrong: dict[str, Any], absent: dict[str, Any], place: int
) -> None:
    entry, counted = built([turn | wrong if index == place else turn for index, turn in enumerate(TURNS)])
    expected, _ = built([turn | absent if index == place else turn for index, turn in enumerate(TURNS)])
    assert [window["speaker_durations"] for window in entry["windows"]] == [
        window["speaker_durations"] for window in expected["windows"]
    ]
    assert counted["optional_fields_ignored"] == 1
    assert 1 <= counted["windows_created"] <= 3


@pytest.mark.parametrize("rate", ["16000", True, float("nan"), [1]])
def test_a_sample_rate_that_is_no_number_is_absent(rate: Any) -> None:
    entry, counted = built(TURNS, audio_sample_rate=rate)
    assert (entry["stats"]["audio_sample_rate"], entry["stats"]["lost_sr"]) == (0, 4)
    assert counted["optional_fields_ignored"] == 1


@pytest.mark.parametrize(
    ("spoken", "text", "end", "num_ignored"),
    [
        (None, "", 4.0, 0),
        ("so be it", "", 4.0, 1),
        ({"so": 5.0}, "", 4.0, 1),
        ([], "", 4.0, 0),
        ([at(5.0), None, 7], "w5.0", 5.0, 2),
        ([at(5.0), {"word": "2014"}, at(6.0)], "w5.0 2014 w6.0", 6.0, 1),
        ([{"word": "2014"}, at(5.0)], "2014 w5.0", 5.0, 1),
        ([at(5.0), {"word": "2014"}, at(11.5)], "w5.0", 5.0, 1),
        ([at(5.0), {"word": "2014"}], "w5.0", 5.0, 1),
        ([at(5.0), {"word": "a", "end": None}, {"word": "b", "end": "5.5"}, at(6.0)], "w5.0 a b w6.0", 6.0, 2),
        ([at(5.0), {"word": "c", "end": float("nan")}, "d", at(6)], "w5.0 c d w6", 6, 2),
        ([at(5.0), {"word": 2014, "end": 6.0}], "w5.0 2014", 6.0, 0),
        ([at(5.0), {"word": ["x"], "end": 6.0}, {"end": 7.0}], "w5.0", 7.0, 1),
        ([{"word": "so"}, {"word": "be"}], "", 4.0, 2),
    ],
)
def test_a_word_without_a_time_is_no_place_to_cut(spoken: Any, text: str, end: float, num_ignored: int) -> None:
    """The second segment is cut at 11 s; words are seen only there, and once."""
    segments = [segment(0.0, 4.0), segment(4.0, 12.0, "bob", words=spoken)]
    shortened, _ = SegmentShortener(segments, segments, frozenset()).shorten(1, 11.0)
    assert (shortened["text"], shortened["end"]) == (text, end)
    entry, counted = built(segments)
    assert counted.get("optional_fields_ignored", 0) == num_ignored
    assert entry["stats"]["total_segments"] == 2
    assert "optional_fields_ignored" not in built([segment(0.0, 4.0), segment(4.0, 10.0, "bob", words=spoken)])[1]


ODD_VALUES = [
    None,
    "8k",
    "",
    True,
    0,
    -1,
    10**400,
    float("nan"),
    float("-inf"),
    [],
    [1],
    [None],
    {},
    {"a": 1},
    "\ud800",
]


@pytest.mark.parametrize("value", ODD_VALUES, ids=repr)
def test_no_value_of_an_optional_field_refuses_a_record(value: Any) -> None:
    odd = [{"speaker": value}, {"metrics": value}, {"metrics": {"bandwidth": value}}, {"text": value}, {"words": value}]
    odd += [{"words": [*words(11.0), value, {"word": value, "end": 11.1}, {"word": "w", "end": value}]}]
    for wrong in odd:
        for place in range(4):
            segments = [turn | wrong if index == place else turn for index, turn in enumerate(TURNS)]
            entry, _ = built([*segments, segment(20.0, 26.0, words=words(21.0))], duration=value)
            written = orjson.loads(encode_record(ALMDataOverlapStage().process_record(entry)))
            assert written["stats"]["total_segments"] == 5


def test_the_end_of_the_recording_may_be_told_as_minus_one() -> None:
    entry, _ = built([*TURNS[:3], segment(14.0, -1, "bob")], duration=20.0)
    expected, _ = built(TURNS)
    assert entry["windows"] == expected["windows"] and len(entry["windows"]) == 3
    assert refused([segment(2.0, -1)]).reason == "negative_duration"
    with pytest.raises(RecordError, match=r"ends at 1\.5, before its start 2\.0"):
        built([segment(2.0, -1)], duration=1.5)


@pytest.mark.parametrize("size", [10**30, 10**400])
def test_huge_integers_are_no_crash(size: int) -> None:
    assert build([segment(0.0, 1.0, bandwidth=size)], sample_rate=size)["stats"]["audio_sample_rate"] == size


def test_a_bad_record_is_set_aside_and_the_others_go_on() -> None:
    stage = ALMDataBuilderStage()
    batch = stage.process(AudioBatch([{"segments": [{}]}, {"segments": []}, {}], "m.jsonl", [0, 10, 20]))
    assert batch.offsets == [10]
    assert [(bad.offset, bad.reason) for bad in stage.observed.quarantined] == [
        (0, "missing_field"),
        (20, "missing_field"),
    ]


# ---- parameters


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("target_window_duration", 0, "above 0"),
        ("target_window_duration", float("nan"), "above 0"),
        ("target_window_duration", "120", "above 0"),
        ("target_window_duration", True, "above 0"),
        ("target_window_duration", 10**400, "above 0"),
        ("tolerance", 1.01, "between 0 and 1"),
        ("tolerance", -0.1, "between 0 and 1"),
        ("min_sample_rate", -1, "at least 0"),
        ("min_bandwidth", float("inf"), "at least 0"),
        ("min_speakers", 2.0, "whole number of at least 0"),
        ("min_speakers", -1, "whole number of at least 0"),
        ("min_speakers", 6, "at most max_speakers, which is 5"),
        ("max_speakers", True, "whole number of at least 0"),
        ("truncation", "yes", "true or false"),
        ("drop_fields", 3, "comma-separated string or a list of strings"),
        ("drop_fields", ["words", 3], "comma-separated string or a list of strings"),
        ("drop_fields_top_level", None, "comma-separated string or a list of strings"),
    ],
)
def test_a_parameter_out_of_range_is_refused(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ALMDataBuilderStage(**{name: value})
    assert str(caught.value).startswith(f"{name} is {value!r}; give ")
    assert allowed in str(caught.value)


def test_fields_may_be_a_list_or_a_string() -> None:
    as_list = ALMDataBuilderStage(drop_fields_top_level=["words", " segments "])
    as_text = ALMDataBuilderStage(drop_fields_top_level=" words, segments,")
    for stage in (as_list, as_text):
        fields = stage.fields_after(Fields.of(["segments", "text"]))
        assert fields.known == {"text", "windows", "stats", "truncation_events"}


def test_the_stage_travels_to_workers_and_counts() -> None:
    stage = pickle.loads(pickle.dumps(ALMDataBuilderStage(target_window_duration=10.0)))
    stage.process(
        AudioBatch([{"audio_sample_rate": 16000, "segments": [segment(0.0, 9.2), segment(9.5, 20.0, "bob")]}])
    )
    assert stage.take_observations().metrics == {"windows_created": 1, "truncation_events": 1}


# ---- against the plain rules

times_list = st.lists(st.integers(0, 400), min_size=0, max_size=25)
speaker_values = st.sampled_from(["a", "a", "b", "b", "c", "d", "e", "f", "g", "no-speaker", None, "", 0, "missing"])


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    starts = draw(times_list)
    if draw(st.integers(0, 3)):
        starts.sort()
    scale = draw(st.sampled_from([0.1, 0.37, 1 / 3]))
    segments = []
    for position in starts:
        start = position * scale
        item: Entry = {"start": start, "end": start + draw(st.integers(0, 120)) * draw(st.sampled_from([0.1, scale]))}
        speaker = draw(speaker_values)
        if speaker != "missing":
            item["speaker"] = speaker
        metrics = draw(
            st.sampled_from([{"bandwidth": 9000}] * 8 + [{"bandwidth": 100}, {"bandwidth": None}, {}, None, 0])
        )
        if metrics != 0:
            item["metrics"] = metrics
        if draw(st.booleans()):
            ends = draw(st.lists(st.floats(start - 2, start + 15), max_size=4))
            item["words"] = [{"word": draw(st.sampled_from(["so", "", "é"])), "end": end} for end in ends]
        elif draw(st.booleans()):
            item["words"] = None
        if draw(st.booleans()):
            item["text"] = "as it was"
        segments.append(item)
    entry: Entry = {"id": 1, "audio_sample_rate": draw(st.sampled_from([16000] * 6 + [8000])), "segments": segments}
    entry.update(draw(st.sampled_from([{}, {"swift_audio_filepath": None}, {"words": 1, "windows": 2}])))
    return entry


parameters = st.fixed_dictionaries(
    {
        "target_window_duration": st.sampled_from([1.0, 5.0, 12.0, 40.0]),
        "tolerance": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        "min_bandwidth": st.sampled_from([0, 8000]),
        "truncation": st.booleans(),
        "drop_fields": st.sampled_from(["", "words", "words,text", "speaker,metrics"]),
        "drop_fields_top_level": st.sampled_from(["", "words,segments"]),
    }
)
speaker_ranges = st.tuples(st.integers(0, 3), st.integers(0, 5))


@settings(max_examples=300, deadline=None)
@given(entry=entries(), values=parameters, speakers=speaker_ranges)
def test_the_plain_rules_give_the_same_bits(naive_windows: Any, entry: Entry, values: Entry, speakers: Any) -> None:
    values |= {"min_speakers": speakers[0], "max_speakers": sum(speakers)}
    before = pickle.dumps(entry)
    got = ALMDataBuilderStage(**values).process_record(entry)
    want = naive_windows(entry, **values)
    sort = orjson.OPT_SORT_KEYS  # spells every float so that its bits are told apart
    assert orjson.dumps(got, option=sort) == orjson.dumps(want, option=sort)
    assert pickle.dumps(entry) == before


# ---- whatever a manifest holds

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([10**400, -(10**400), "", "start", "no-speaker", float("nan"), float("inf"), -1.5, 1e308, 9000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(
    entry=entries(),
    place=st.sampled_from([*FIELDS, "segment", "word_end"]),
    value=junk,
    then=st.sampled_from(["windows", "segments", "stats", "first"]),
)
def test_junk_is_processed_or_refused_but_never_a_crash(entry: Entry, place: str, value: Any, then: str) -> None:
    segments = entry["segments"]
    if place in entry or place in ("audio_sample_rate", "segments") or not segments:
        entry[place] = value
    elif place == "segment":
        segments[len(segments) // 2] = value
    elif place == "word_end":
        segments[-1]["words"] = [{"word": "so", "end": value}]
    else:
        segments[len(segments) // 2][place] = value
    stage, overlap = ALMDataBuilderStage(5.0, 0.5, min_speakers=0), ALMDataOverlapStage()
    batch = stage.process(AudioBatch([entry]))
    for record in batch.records:
        if then == "first" and record["windows"]:
            record["windows"] = [{**record["windows"][0], "segments": value}]
        elif then != "segments":
            record[then] = value
    overlap.process(batch)
    for bad in stage.observed.quarantined + overlap.observed.quarantined:
        assert bad.reason in {"missing_field", "not_a_number", "not_finite", "negative_duration", "wrong_type"}, bad
        assert len(bad.message) < 200
