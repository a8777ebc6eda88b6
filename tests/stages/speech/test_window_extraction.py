"""Windows of recordings: as long as the ALM stages say, to the sample, and with what is said in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError
from curator_audio.stages.alm import ALMDataBuilderStage, ALMDataOverlapStage
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.fields import Fields
from curator_audio.stages.speech import WindowExtractionStage
from curator_audio.stages.speech.cutting import sample_index
from curator_audio.stages.speech.sound import encode_flac
from curator_audio.stages.speech.windows import WINDOW_FIELDS, WINDOW_SEGMENT_FIELDS
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record
from tests.conftest import make_entry
from tests.stages.speech.windows import RATE, places, recording, samples_of, window


def entry_of(path: object, *windows: Any, **more: Any) -> Record:
    return {"audio_filepath": str(path), "filtered_windows": list(windows), **more}


def extracted(stage: WindowExtractionStage, *entries: Record, folder: Path | str = "") -> list[Record]:
    task = AudioBatch(list(entries), f"{folder}/alm_output.jsonl", list(range(len(entries))))
    return [record for batch in stage.process(task) for record in batch.records]


def metrics(stage: WindowExtractionStage) -> dict[str, float]:
    return stage.take_observations().metrics


@pytest.fixture
def six_seconds(tmp_path: Path) -> Path:
    (tmp_path / "a.wav").write_bytes(recording(6))
    return tmp_path


# The sound ----------------------------------------------------------------------------------------------------

DURATION_SEC = 2.0

times = st.one_of(
    st.integers(0, 2300).map(lambda ms: ms / 1000),
    st.integers(0, 33000).map(lambda sample: sample / RATE),
    st.floats(0, 2.3),
)
spans = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(spans, min_size=1, max_size=4), max_size=6))
def test_a_window_is_the_slice_from_its_first_segment_to_its_last(windows: list[list[tuple[float, float]]]) -> None:
    """However its segments and the windows overlap, lie within each other, or reach beyond the recording."""
    path = "memory://windows/a.wav"
    Storage().write(path, recording(DURATION_SEC))
    stage = WindowExtractionStage(silence_threshold_db=-200, end_tolerance=0)

    entry = entry_of(path, *(window(*segments) for segments in windows))
    records = extracted(stage, entry, folder="memory://windows")

    whole = places(0, round(DURATION_SEC * RATE))
    expected, skipped = {}, 0
    for index, segments in enumerate(windows):
        start, end = segments[0][0], segments[-1][1]
        first, stop = sample_index(start, RATE), sample_index(end, RATE)
        if start <= end and first < min(stop, len(whole)) and stop <= len(whole) + 1:
            expected[f"windows/a_win_{index}"] = whole[first:stop].tolist()
        else:
            skipped += 1
    assert {record["window_id"]: samples_of(record).tolist() for record in records} == expected
    assert [record["window_id"] for record in records] == list(expected)
    counted = metrics(stage)
    assert sum(count for name, count in counted.items() if name.startswith("skipped_")) == skipped
    assert counted.get("recordings_decoded", 0) <= 1


@pytest.mark.parametrize(("source_rate", "rate"), [(48000, 16000), (44100, 16000), (8000, 24000)])
def test_at_another_rate_it_is_the_slice_of_the_whole_resampled_at_once(
    source_rate: int, rate: int, tmp_path: Path
) -> None:
    import soxr

    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (int(5.3 * source_rate), 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, source_rate)
    decoded, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    whole = soxr.resample(decoded.mean(axis=1, dtype=np.float32), source_rate, rate, quality="HQ")
    bounds = [(0.0, 5.3), (0.8137, 4.2), (2.0, 2.50003), (1.99999, 3.7), (4.7, 5.3), (1 / 3, 2 / 3)]

    records = extracted(
        WindowExtractionStage(sample_rate=rate), entry_of(tmp_path / "a.wav", *(window(pair) for pair in bounds))
    )

    assert len(records) == len(bounds)
    for record, (start, end) in zip(records, bounds):
        first, stop = math.floor(start * rate + 0.5), math.floor(end * rate + 0.5)
        assert record["audio"]["bytes"] == encode_flac(whole[first:stop], rate)
        assert record["duration_sec"] == (stop - first) / rate


@pytest.mark.parametrize("seed", range(3))
def test_windows_are_those_of_the_alm_stages(seed: int, tmp_path: Path) -> None:
    entry = make_entry(seed, num_segments=60)
    entry["segments"][5]["end"] += 4.0  # people talk at the same time
    Storage().write(f"{tmp_path}/{entry['audio_filepath']}", recording(entry["segments"][-1]["end"] + 1, "FLAC"))
    entry["audio_filepath"] = f"{tmp_path}/{entry['audio_filepath']}"
    builder = ALMDataBuilderStage(target_window_duration=20.0, tolerance=0.25)
    output = ALMDataOverlapStage(target_duration=20.0).process_record(builder.process_record(entry))

    kept = extracted(WindowExtractionStage(), output)
    every = extracted(WindowExtractionStage(windows_field="windows"), output)

    assert [[record["end"], record["start"]] for record in every] == output["total_dur_list_window_timestamps"]
    assert sorted([record["end"], record["start"]] for record in kept) == sorted(output["filtered"])
    assert 0 < len(kept) < len(every)
    for record in every:
        first, end = sample_index(record["start"], RATE), sample_index(record["end"], RATE)
        assert np.array_equal(samples_of(record), places(first, end))
        assert 15.0 <= record["duration_sec"] <= 25.0
        assert 2 <= record["num_speakers"] <= 5


# The record ---------------------------------------------------------------------------------------------------


def test_the_record(six_seconds: Path) -> None:
    segments = [
        {"start": 1, "end": 2.1, "speaker": "bob", "text": " Good evening ", "metrics": {"bandwidth": 8000}},
        {"start": 1.4, "end": 2.0, "speaker": "ann", "text": "", "speaker_id": "ann of the news"},
        {"start": 2.3, "end": 2.5, "speaker": "", "text": None},
        {"start": 2.5, "end": 3.0, "speaker": "bob", "text": 1984},
        {"start": 3.1, "end": 3.4, "speaker": 7},
    ]
    found = {"segments": segments, "speaker_durations": [1.6, 0.6, 0.3, 0.0, 0.0]}

    (record,) = extracted(WindowExtractionStage(), entry_of("a.wav", found, language="en"), folder=six_seconds)

    folder = six_seconds.name
    assert tuple(record) == WINDOW_FIELDS
    assert all(tuple(segment) == WINDOW_SEGMENT_FIELDS for segment in record["segments"])
    assert samples_of(record).tolist() == places(16000, 54400).tolist()
    assert {**record, "audio": record["audio"]["path"]} == {
        "window_id": f"{folder}/a_win_0",
        "audio_id": "a",
        "channel": folder,
        "start": 1.0,
        "end": 3.4,
        "duration_sec": 2.4,
        "sample_rate": 16000,
        "num_speakers": 3,
        "speakers": [f"{folder}/a/bob", "ann of the news", f"{folder}/a/7"],
        "text": "Good evening 1984",
        "language": "en",
        "segments": [
            {"start": 0.0, "end": 1.1, "speaker": f"{folder}/a/bob", "text": "Good evening"},
            {"start": 0.4, "end": 1.0, "speaker": "ann of the news", "text": ""},
            {"start": 1.3, "end": 1.5, "speaker": None, "text": ""},
            {"start": 1.5, "end": 2.0, "speaker": f"{folder}/a/bob", "text": "1984"},
            {"start": 2.1, "end": 2.4, "speaker": f"{folder}/a/7", "text": ""},
        ],
        "audio": "a_win_0.flac",
        "codes": [],
    }


def test_segments_that_reach_beyond_their_window_are_counted_and_keep_their_times(six_seconds: Path) -> None:
    stage = WindowExtractionStage()
    odd = window((1.0, 4.5), (0.5, 1.5), (2.0, 3.0))
    (record,) = extracted(stage, entry_of("a.wav", odd), folder=six_seconds)
    assert (record["start"], record["end"], record["duration_sec"]) == (1.0, 3.0, 2.0)
    assert [(segment["start"], segment["end"]) for segment in record["segments"]] == [(0, 3.5), (-0.5, 0.5), (1, 2)]
    assert metrics(stage)["segments_reaching_beyond"] == 2


def test_names_that_the_reader_gave_are_kept(six_seconds: Path) -> None:
    entry = entry_of("a.wav", window((0, 1)), audio_id="b", channel="news")
    (record,) = extracted(WindowExtractionStage(), entry, folder=six_seconds)
    names = [record[name] for name in ("window_id", "audio_id", "channel", "text")]
    assert names == ["news/b_win_0", "b", "news", "text 0"]


# What is skipped ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("invalid", 7),
        ("invalid", {}),
        ("invalid", {"segments": []}),
        ("invalid", {"segments": {"start": 0}}),
        ("invalid", {"segments": [None]}),
        ("invalid", window((0, 1), ("1.0", 2))),
        ("invalid", window((0, 1), (math.nan, 2), (2, 3))),
        ("invalid", window((0, math.inf))),
        ("invalid", window((True, 2))),
        ("negative", window((-0.5, 1))),
        ("negative", window((2, 3), (1, 1.5))),
        ("empty", window((2, 3), (2, 2))),
        ("empty", window((2, 2.00001))),
        ("beyond_end", window((4.5, 6.5001))),
        ("beyond_end", window((6, 7))),
        ("beyond_end", window((0, 1), (1e8, 1e9))),
        ("silent", window((3, 3.5))),
    ],
)
def test_a_window_that_cannot_be_used_is_counted_and_the_rest_goes_on(reason: str, bad: Any, tmp_path: Path) -> None:
    samples = places(0, 6 * RATE)
    samples[3 * RATE : 4 * RATE] = 1
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    stage = WindowExtractionStage()

    records = extracted(stage, entry_of("a.wav", window((0, 1)), bad, window((4, 5))), folder=tmp_path)

    assert [record["window_id"] for record in records] == [f"{tmp_path.name}/a_win_{k}" for k in (0, 2)]
    assert metrics(stage) == {
        f"skipped_{reason}": 1,
        "windows": 2,
        "window_duration": 2.0,
        "recordings_decoded": 1,
        "audio_duration": 6.0,
    }


def test_an_end_that_rounding_moved_past_the_recording_is_clipped(six_seconds: Path) -> None:
    (record,) = extracted(WindowExtractionStage(), entry_of("a.wav", window((5.0, 6 + 1 / RATE))), folder=six_seconds)
    assert (record["duration_sec"], record["end"]) == (1.0, 6 + 1 / RATE)


@pytest.mark.parametrize("end", [6.0, 6.02, 6.5, -1])
def test_a_window_that_crosses_the_end_is_clipped_and_its_segments_too(end: float, six_seconds: Path) -> None:
    stage = WindowExtractionStage()
    made = window((3.0, 4.0), (3.5, 6.3), (5.0, end))
    (record,) = extracted(stage, entry_of("a.wav", made), folder=six_seconds)
    assert samples_of(record).tolist() == places(3 * RATE, 6 * RATE).tolist()
    assert (record["start"], record["end"], record["duration_sec"]) == (3.0, 6.0, 3.0)
    is_at_end = end != 6.0
    times = [(one["start"], one["end"]) for one in record["segments"]]
    assert times == [(0.0, 1.0), (0.5, 3.0 if is_at_end else 3.3), (2.0, 3.0)]
    counted = metrics(stage)
    assert counted.get("clipped_at_end", 0) == (end in (6.02, 6.5))
    assert counted.get("segments_reaching_beyond", 0) == (not is_at_end)


def test_a_segment_to_the_end_ends_with_its_window(six_seconds: Path) -> None:
    windows = [window((1, -1), (2, 3)), window((6, -1)), window((-1, -1))]
    stage = WindowExtractionStage()
    (record,) = extracted(stage, entry_of("a.wav", *windows), folder=six_seconds)
    assert [(one["start"], one["end"]) for one in record["segments"]] == [(0.0, 2.0), (1.0, 2.0)]
    counted = metrics(stage)
    assert (counted["skipped_beyond_end"], counted["skipped_negative"]) == (1, 1)


@pytest.mark.parametrize("wrong", [["ann"], {}, True, math.nan])
def test_a_text_that_is_none_is_absent_there(wrong: Any, six_seconds: Path) -> None:
    made = window((0, 1), (1, 2))
    made["segments"][0] |= {"speaker": wrong, "text": wrong}
    stage = WindowExtractionStage()
    (record,) = extracted(stage, entry_of("a.wav", made, language=wrong), folder=six_seconds)
    speakers = [one["speaker"] and one["speaker"].rpartition("/")[2] for one in record["segments"]]
    assert (speakers, record["text"], record["language"]) == ([None, "spk1"], "text 1", None)
    assert metrics(stage)["optional_fields_ignored"] == 3


def test_a_wrong_field_of_a_segment_in_many_windows_is_counted_once(six_seconds: Path) -> None:
    windows = [window((0, 1), (1, 2), (2, 3)), window((1, 2), (2, 3)), window((2, 3), (3, 4))]
    for made in windows:
        for segment in made["segments"]:
            if segment["start"] == 2:
                segment |= {"text": ["so"], "speaker": {}}
    stage = WindowExtractionStage()
    assert len(extracted(stage, entry_of("a.wav", *windows), folder=six_seconds)) == 3
    assert metrics(stage)["optional_fields_ignored"] == 2


# Recordings ---------------------------------------------------------------------------------------------------


class CountingStorage(Storage):
    """A storage that notes what is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []

    @contextmanager
    def open(self, path: str, reads_ahead: bool = True) -> Iterator[Any]:
        self.opened.append(path.rpartition("/")[2])
        with super().open(path, reads_ahead) as file:
            yield file


def test_each_recording_is_opened_once_and_one_without_windows_not_at_all(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.wav").write_bytes(recording(5))
    windows = [window((2, 4)), window((0, 5)), window((1, 2)), window((0, 1)), window((0, 1))]
    storage, stage = CountingStorage(), WindowExtractionStage()
    stage.setup(WorkerInfo(storage=storage))

    records = extracted(
        stage,
        entry_of("a.wav", *windows),
        entry_of("missing.wav"),
        entry_of("missing.wav"),
        entry_of("b.wav", *windows),
        folder=tmp_path,
    )

    assert [record["window_id"] for record in records] == [
        f"{tmp_path.name}/{name}_win_{k}" for name in "ab" for k in range(5)
    ]
    assert storage.opened == ["a.wav", "b.wav"]
    observed = stage.take_observations()
    assert (observed.metrics["recordings_decoded"], observed.metrics["recordings_without_windows"]) == (2, 2)
    assert not observed.quarantined


def test_bad_entries_are_set_aside_and_the_others_go_on(six_seconds: Path) -> None:
    (six_seconds / "text.wav").write_text("Dear reader, this is no recording.")
    entries = [
        (entry_of("text.wav", window((0, 1))), "not_audio"),
        (entry_of("missing.wav", window((0, 1))), "unreadable_file"),
        (entry_of("../a.wav", window((0, 1))), "path_leaves_root"),
        ({"audio_filepath": 7, "filtered_windows": []}, "wrong_type"),
        ({"audio_filepath": "a.wav", "filtered_windows": {"segments": []}}, "wrong_type"),
        ({"audio_filepath": "a.wav", "filtered_windows": None}, "wrong_type"),
        ({"filtered_windows": []}, "missing_field"),
    ]
    stage = WindowExtractionStage()

    records = extracted(stage, *(e for e, _ in entries), entry_of("a.wav", window((0, 1))), folder=six_seconds)

    assert [record["window_id"] for record in records] == [f"{six_seconds.name}/a_win_0"]
    bad = stage.take_observations().quarantined
    assert [(one.record, one.reason) for one in bad] == entries
    assert [one.offset for one in bad] == list(range(len(entries)))
    assert bad[5].message == "filtered_windows is None; give a list of windows"


def test_a_recording_that_breaks_off_yields_the_windows_up_to_there(tmp_path: Path, warned: list[str]) -> None:
    data = recording(10)
    (tmp_path / "a.wav").write_bytes(data[: 44 + 2 * 55000])
    windows = [window((second, second + 2)) for second in range(8)]
    stage = WindowExtractionStage()
    records = extracted(stage, entry_of("a.wav", *windows), folder=tmp_path)

    assert [samples_of(r).tolist() for r in records] == [
        places(k * RATE, (k + 2) * RATE).tolist() for k in range(2)
    ]  # there are 3.4 s
    counted = metrics(stage)
    assert (counted["skipped_beyond_end"], counted["recordings_broken_off"]) == (6, 1)
    assert len(warned) == 1 and f"{tmp_path}/a.wav breaks off after 3.4 s" in warned[0]


def test_bad_samples_are_counted(tmp_path: Path) -> None:
    samples = places(0, 2 * RATE) / np.float32(32768)
    samples[100:110] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    stage = WindowExtractionStage()
    (record,) = extracted(stage, entry_of("a.wav", window((0, 2))), folder=tmp_path)
    assert metrics(stage)["bad_samples"] == 10
    assert np.flatnonzero(samples_of(record)[:200] == 0).tolist() == list(range(100, 110))


# Parameters ---------------------------------------------------------------------------------------------------


def test_a_manifest_without_windows_is_told_what_makes_them(six_seconds: Path) -> None:
    entry = {"audio_filepath": "a.wav", "segments": [{"start": 0, "end": 1}]}
    with pytest.raises(ConfigurationError) as caught:
        extracted(WindowExtractionStage(), entry, folder=six_seconds)
    assert str(caught.value) == (
        "the entry of a.wav has no 'filtered_windows'; they are made by the ALM pipeline (python main.py --config-name "
        "pipeline …), whose output is the manifest_path to give here"
    )


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("sample_rate", 0, "sample_rate is 0; give a whole number of Hz from 4000 to 192000"),
        ("silence_threshold_db", 3, "silence_threshold_db is 3; give a number of dB, from -200 to 0"),
        ("windows_field", "", "windows_field is ''; give the name of a field such as filtered_windows"),
        ("windows_field", None, "windows_field is None; give the name of a field"),
    ],
)
def test_parameters_are_checked(parameter: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WindowExtractionStage(**{parameter: value})
    assert str(caught.value).startswith(message)


def test_single_values_of_the_entry_go_along(six_seconds: Path) -> None:
    windows = [{"segments": [{"start": 0.0, "end": 2.0, "speaker": "a", "text": "so"}], "rank": 1}]
    more = {"episode_id": 7, "tags": ["a"], "truncation_events": 3, "filtered_dur": 2.0, "duration": 6.0}
    (record,) = extracted(WindowExtractionStage(), entry_of("a.wav", *windows, **more), folder=six_seconds)
    assert tuple(record) == (*WINDOW_FIELDS, "episode_id") and record["episode_id"] == 7
    fields = WindowExtractionStage().fields_after(Fields(seen={"episode_id": "int", "filtered_dur": "float"}))
    assert {name for name in fields.kinds if name not in WINDOW_FIELDS} == {"episode_id"}
