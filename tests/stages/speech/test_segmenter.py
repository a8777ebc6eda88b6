"""Recordings in, segments out: exact to the sample, each recording decoded once, what is skipped is counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.fields import Fields
from curator_audio.stages.speech import batches
from curator_audio.stages.speech.cutting import sample_index
from curator_audio.stages.speech.segmenter import SegmenterStage
from curator_audio.stages.speech.segments import SEGMENT_FIELDS
from curator_audio.stages.speech.sound import decode_sound, encode_flac
from curator_audio.storage.json_codec import VerbatimFloat
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record

RATE = 16000


def noise(duration_sec: float, sample_rate: int = RATE, num_channels: int = 1) -> np.ndarray:
    shape = (int(duration_sec * sample_rate), num_channels)
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def segment(start: Any, end: Any, **more: Any) -> Record:
    return {"start": start, "end": end, "speaker": "spk00", "text": "hello", **more}


def segmented(
    stage: SegmenterStage, entries: list[Record], folder: Path | str, offsets: list[int] | None = None
) -> list[Record]:
    task = AudioBatch(entries, f"{folder}/manifest.jsonl", offsets or [])
    return [record for batch in stage.process(task) for record in batch.records]


def metrics(stage: SegmenterStage) -> dict[str, float]:
    return stage.take_observations().metrics


# Cutting ------------------------------------------------------------------------------------------------------


def test_cuts_are_exact_to_the_sample(tmp_path: Path) -> None:
    samples = np.zeros(2 * RATE, np.float32)
    samples[[1000, 8999, 9000, 20000]] = 0.5, 0.25, -0.25, 0.125
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    stage = SegmenterStage(min_duration=0)
    spans = [(1000, 9000), (9000, 20000), (1001, 8999), (20000, 20001)]

    records = segmented(
        stage,
        [{"audio_filepath": "a.wav", "segments": [segment(first / RATE, end / RATE) for first, end in spans]}],
        tmp_path,
    )

    pieces = [decode_sound(record["audio"]["bytes"])[0] for record in records]
    assert [len(piece) for piece in pieces] == [8000, 11000, 1]  # the third is silent
    assert [(piece[0], piece[-1]) for piece in pieces] == [(0.5, 0.25), (-0.25, 0.0), (0.125, 0.125)]
    assert np.count_nonzero(pieces[0]) == 2
    assert metrics(stage)["skipped_silent"] == 1


def test_floats_on_the_scale_of_16_bits_are_no_square_wave(tmp_path: Path) -> None:
    samples = np.concatenate([noise(1), 32768 * noise(1), 3 * noise(1)]).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    stage = SegmenterStage()
    entry = {"audio_filepath": "a.wav", "segments": [segment(0, 1), segment(1, 2), segment(2, 3)]}
    assert [record["start"] for record in segmented(stage, [entry], tmp_path)] == [0.0, 2.0]
    assert metrics(stage)["skipped_out_of_range"] == 1


@pytest.mark.parametrize(
    ("suffix", "source_rate", "rate"), [("wav", 44100, RATE), ("opus", 48000, RATE), ("flac", 8000, 24000)]
)
def test_a_segment_is_a_slice_of_the_whole_resampled_at_once(
    suffix: str, source_rate: int, rate: int, tmp_path: Path
) -> None:
    import soxr

    path = tmp_path / f"a.{suffix}"
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    soundfile.write(path, noise(5.3, source_rate, 2), source_rate, **options)
    decoded, _ = soundfile.read(path, dtype="float32")
    whole = soxr.resample(decoded.mean(axis=1, dtype=np.float32), source_rate, rate, quality="HQ")
    times = [(0.0, 5.3), (0.8137, 4.2), (2.0, 2.50003), (1.99999, 3.7), (4.7, 5.3), (0.1, 0.9)]

    records = segmented(
        SegmenterStage(sample_rate=rate), [{"audio_filepath": str(path), "segments": [segment(*t) for t in times]}], ""
    )

    assert [record["segment_id"] for record in records] == [f"{tmp_path.name}/a_seg_{k}" for k in range(len(times))]
    for record, (start, end) in zip(records, times):
        expected = whole[math.floor(start * rate + 0.5) : math.floor(end * rate + 0.5)]
        samples, sample_rate = decode_sound(record["audio"]["bytes"])
        assert sample_rate == record["sample_rate"] == rate
        assert len(samples) == len(expected) == pytest.approx(record["duration_sec"] * rate)
        if suffix == "opus":  # libsndfile's decoder rounds otherwise than FFmpeg's
            assert samples == pytest.approx(expected, abs=1e-3)
        else:
            assert record["audio"]["bytes"] == encode_flac(expected, rate)


# The record ---------------------------------------------------------------------------------------------------


def test_a_segment_has_its_own_metadata_or_that_of_its_entry(tmp_path: Path) -> None:
    folder = tmp_path / "Evening News"
    folder.mkdir()
    soundfile.write(folder / "show.1.wav", noise(3), RATE)
    entry = {
        "audio_filepath": "Evening News/show.1.wav",
        "gender": "female",
        "language": "ar",
        "dialect": 7,
        "segments": [
            segment(0, 1),
            segment(1.0, 2.0, gender="male", speaker_id="ann", tone="calm", text=1984, channel="radio"),
            {"start": 2, "end": 3, "speaker": 0, "text": "x", "language": None},
        ],
    }

    records = segmented(SegmenterStage(), [entry], tmp_path)

    assert all(tuple(record) == SEGMENT_FIELDS for record in records)
    without_audio = [{**record, "audio": record["audio"]["path"]} for record in records]
    common = {"audio_id": "show.1", "sample_rate": RATE, "duration_sec": 1.0, "codes": [], "language": "ar"}
    assert without_audio == [
        {
            **common,
            **{
                "segment_id": "Evening News/show.1_seg_0",
                "audio": "show.1_seg_0.flac",
                "text": "hello",
                "start": 0.0,
                "end": 1.0,
            },
            **{"speaker_id": "Evening News/show.1/spk00", "gender": "female", "dialect": "7", "tone": None},
            "channel": "Evening News",
        },
        {
            **common,
            **{
                "segment_id": "Evening News/show.1_seg_1",
                "audio": "show.1_seg_1.flac",
                "text": "1984",
                "start": 1.0,
                "end": 2.0,
            },
            **{"speaker_id": "ann", "gender": "male", "dialect": "7", "tone": "calm"},
            "channel": "radio",
        },
        {
            **common,
            **{
                "segment_id": "Evening News/show.1_seg_2",
                "audio": "show.1_seg_2.flac",
                "text": "x",
                "start": 2.0,
                "end": 3.0,
            },
            **{"speaker_id": "Evening News/show.1/0", "gender": "female", "dialect": "7", "tone": None},
            "channel": "Evening News",
        },
    ]


def test_names_that_the_reader_gave_are_kept(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1), RATE)
    entry = {"audio_filepath": "a.wav", "audio_id": "b", "channel": "news", "segments": [segment(0, 1)]}
    (record,) = segmented(SegmenterStage(), [entry], tmp_path)
    names = [record[name] for name in ("segment_id", "audio_id", "speaker_id", "channel")]
    assert names == ["news/b_seg_0", "b", "news/b/spk00", "news"]


def test_a_speaker_may_be_known_by_the_entry_alone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2), RATE)
    segments = [{"start": 0, "end": 1, "text": "x"}, segment(1, 2, speaker="no-speaker")]
    entry = {"audio_filepath": "a.wav", "speaker_id": "ann", "segments": segments}
    assert [record["speaker_id"] for record in segmented(SegmenterStage(), [entry], tmp_path)] == ["ann"]


def test_nobody_is_no_person(tmp_path: Path) -> None:
    """Several may be called so, also within a recording."""
    soundfile.write(tmp_path / "a.wav", noise(4), RATE)
    segments = [segment(0, 1, speaker="UNKNOWN"), segment(1, 2, speaker="spk1"), segment(2, 3, speaker_id="bob")]
    entry = {"audio_filepath": "a.wav", "speaker_id": "unknown", "segments": segments}
    channel = tmp_path.name
    speakers = [record["speaker_id"] for record in segmented(SegmenterStage(), [entry], tmp_path)]
    assert speakers == [None, f"{channel}/a/spk1", "bob"]


# What is skipped ----------------------------------------------------------------------------------------------

SKIPPED: list[tuple[str, Any]] = [
    ("invalid", 7),
    ("invalid", None),
    ("invalid", {"end": 2.0, "speaker": "a", "text": "x"}),
    ("invalid", segment("1.0", 2.0)),
    ("invalid", segment(True, 2.0)),
    ("invalid", segment(math.nan, 2.0)),
    ("invalid", segment(1.0, math.inf)),
    ("invalid", segment(1.0, 10**400)),
    ("no_speaker", segment(1.0, 2.0, speaker="no-speaker", text="")),
    ("no_speaker", {"start": 1.0, "end": 2.0, "text": "x"}),
    ("no_speaker", segment(1.0, 2.0, speaker="")),
    ("no_text", segment(1.0, 2.0, text=" ")),
    ("no_text", {"start": 1.0, "end": 2.0, "speaker": "a"}),
    ("negative", segment(2.0, 1.0)),
    ("negative", segment(-0.5, 1.0)),
    ("empty", segment(2.0, 2.0)),
    ("empty", segment(2.0, 2.00001)),
    ("too_short", segment(2.0, 2.4999)),
    ("too_long", segment(0.0, 3.0001)),
    ("beyond_end", segment(4.5, 6.5001)),
    ("beyond_end", segment(6.0, 7.0)),
    ("beyond_end", segment(1e8, 1e8 + 1)),
    ("silent", segment(3.0, 4.0)),
]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Six seconds of noise with a silent one from 3.0 to 4.0."""
    samples = noise(6)
    samples[3 * RATE : 4 * RATE] *= 1e-3
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    return tmp_path


@pytest.mark.parametrize(("reason", "bad"), SKIPPED)
def test_a_segment_that_cannot_be_used_is_counted_and_the_rest_goes_on(reason: str, bad: Any, recording: Path) -> None:
    stage = SegmenterStage(max_duration=3.0)
    entry = {"audio_filepath": "a.wav", "segments": [segment(0.0, 1.0), bad, segment(4.0, 5.0)]}

    records = segmented(stage, [entry], recording)

    assert [record["segment_id"] for record in records] == [f"{recording.name}/a_seg_{k}" for k in (0, 2)]
    assert metrics(stage) == {
        f"skipped_{reason}": 1,
        "segments": 2,
        "segment_duration": 2.0,
        "recordings_decoded": 1,
        "audio_duration": 6.0,
    }


def test_all_of_them_together(recording: Path) -> None:
    stage = SegmenterStage(max_duration=3.0)
    entry = {"audio_filepath": "a.wav", "segments": [bad for _, bad in SKIPPED]}
    assert segmented(stage, [entry], recording) == []
    counted = metrics(stage)
    expected = Counter(f"skipped_{reason}" for reason, _ in SKIPPED)
    assert {name: count for name, count in counted.items() if name.startswith("skipped_")} == expected


@pytest.mark.parametrize(
    ("parameters", "num_segments"),
    [({}, 1), ({"skip_without_text": False}, 2), ({"min_duration": 0.25}, 2), ({"silence_threshold_db": -80}, 2)],
)
def test_what_is_skipped_is_a_choice(parameters: dict[str, Any], num_segments: int, recording: Path) -> None:
    segments = [segment(0.0, 1.0), segment(1.0, 2.0, text=None), segment(1.0, 1.25), segment(3.0, 4.0)]
    records = segmented(SegmenterStage(**parameters), [{"audio_filepath": "a.wav", "segments": segments}], recording)
    assert len(records) == num_segments


def test_limits_are_inclusive_whatever_the_float_s_last_bit_says(recording: Path) -> None:
    assert 1.4 - 0.9 < 0.5 < 1.1 - 0.6
    stage = SegmenterStage(min_duration=0.5, max_duration=0.5)
    segments = [segment(0.9, 1.4), segment(0.6, 1.1)]
    assert len(segmented(stage, [{"audio_filepath": "a.wav", "segments": segments}], recording)) == 2


def test_an_end_that_rounding_moved_past_the_recording_is_clipped(recording: Path) -> None:
    entry = {"audio_filepath": "a.wav", "segments": [segment(5.0, 6.0 + 1 / RATE)]}
    (record,) = segmented(SegmenterStage(), [entry], recording)
    assert (record["duration_sec"], record["end"]) == (1.0, 6.0 + 1 / RATE)


# The end of the recording ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "expected", "counted"),
    [
        ((5.0, 6.02), (5.0, 6.0, 16000), "clipped_at_end"),
        ((5.0, 6.5), (5.0, 6.0, 16000), "clipped_at_end"),
        ((5.4999, 6.4), (5.4999, 6.0, 8002), "clipped_at_end"),
        ((3.0, 6.02), (3.0, 6.0, 48000), "clipped_at_end"),  # of which only 3 s were wanted
        ((5.0, 6.501), None, "skipped_beyond_end"),
        ((6.0, 6.4), None, "skipped_too_short"),
        ((6.0, 6.5), None, "skipped_beyond_end"),
        ((5.501, 6.02), None, "skipped_too_short"),
        ((2.9, 6.02), None, "skipped_too_long"),
        ((2.0, 6.02), None, "skipped_too_long"),
        ((5.0, -1), (5.0, 6.0, 16000), "segments"),
        ((3.0, -1.0), (3.0, 6.0, 48000), "segments"),
        ((2.9, -1), None, "skipped_too_long"),
        ((0, -1), None, "skipped_too_long"),
        ((5.75, -1), None, "skipped_too_short"),
        ((6.0, -1), None, "skipped_beyond_end"),
        ((2.0, -0.5), None, "skipped_negative"),
        ((2.0, -2), None, "skipped_negative"),
        ((-1, -1), None, "skipped_negative"),
    ],
)
def test_what_crosses_the_end_is_clipped_and_judged_then(
    times: tuple[float, float], expected: tuple[float, float, int] | None, counted: str, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", noise(6), RATE)
    stage = SegmenterStage(max_duration=3.0)
    entry = {"audio_filepath": "a.wav", "segments": [segment(*times), segment(0, 1)]}

    *records, other = segmented(stage, [entry], tmp_path)

    assert (other["start"], other["end"]) == (0, 1)
    found = [(r["start"], r["end"], len(decode_sound(r["audio"]["bytes"])[0])) for r in records]
    assert found == ([expected] if expected else [])
    assert [record["duration_sec"] for record in records] == [samples / RATE for _, _, samples in found]
    observed = metrics(stage)
    assert observed[counted] == (2 if counted == "segments" else 1)
    if expected:
        whole, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
        first, num_samples = sample_index(expected[0], RATE), expected[2]
        assert records[0]["audio"]["bytes"] == encode_flac(whole[first : first + num_samples], RATE)


@pytest.mark.parametrize(("tolerance", "num_segments"), [(0, 0), (0.019, 0), (0.02, 1), (2, 1)])
def test_how_much_is_clipped_is_a_choice(tolerance: float, num_segments: int, recording: Path) -> None:
    entry = {"audio_filepath": "a.wav", "segments": [segment(5.0, 6.02)]}
    assert len(segmented(SegmenterStage(end_tolerance=tolerance), [entry], recording)) == num_segments


def test_nothing_is_clipped_where_a_recording_breaks_off(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "whole.wav", noise(6), RATE)
    (tmp_path / "a.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[: 44 + 2 * 5 * RATE])
    entry = {"audio_filepath": "a.wav", "segments": [segment(3, 4), segment(4, 5.02), segment(4, -1)]}
    stage = SegmenterStage()
    assert [record["end"] for record in segmented(stage, [entry], tmp_path)] == [4.0]
    assert stage.take_observations().metrics["skipped_beyond_end"] == 2


# Texts that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [["ann"], {"name": "ann"}, True, math.nan])
def test_a_text_that_is_none_is_absent_there(wrong: Any, recording: Path) -> None:
    entry = {"audio_filepath": "a.wav", "language": wrong, "channel": wrong, "gender": "female"}
    entry["segments"] = [
        segment(0, 1, gender=wrong, dialect=wrong),
        segment(1, 2, speaker=wrong),
        segment(1, 2, speaker=wrong, speaker_id="bob"),
        segment(1, 2, text=wrong),
    ]
    stage = SegmenterStage()
    first, second = segmented(stage, [entry], recording)
    assert (first["gender"], first["dialect"], first["language"]) == ("female", None, None)
    assert first["channel"] == recording.name
    assert (second["segment_id"].rpartition("_")[2], second["speaker_id"]) == ("2", "bob")
    observed = stage.take_observations().metrics
    assert observed["optional_fields_ignored"] == 7
    assert (observed["skipped_no_speaker"], observed["skipped_no_text"]) == (1, 1)


# Recordings that are bad --------------------------------------------------------------------------------------


def test_bad_entries_are_set_aside_and_the_others_go_on(recording: Path) -> None:
    (recording / "text.wav").write_text("Dear reader, this is no recording.")
    soundfile.write(recording / "nothing.wav", np.zeros(0), RATE)
    entries: list[tuple[Record, str]] = [
        ({"audio_filepath": "text.wav", "segments": []}, "not_audio"),
        ({"audio_filepath": "nothing.wav", "segments": [segment(0, 1)]}, "empty_audio"),
        ({"audio_filepath": "missing.wav", "segments": [segment(0, 1)]}, "unreadable_file"),
        ({"audio_filepath": "../a.wav", "segments": []}, "path_leaves_root"),
        ({"audio_filepath": None, "segments": []}, "wrong_type"),
        ({"audio_filepath": "a.wav", "segments": {"start": 0}}, "wrong_type"),
        ({"audio_filepath": "a.wav"}, "missing_field"),
        ({"segments": []}, "missing_field"),
    ]
    good = {"audio_filepath": "a.wav", "segments": [segment(0, 1)]}
    stage = SegmenterStage()

    records = segmented(stage, [*(entry for entry, _ in entries), good], recording, [*range(len(entries)), 99])

    assert [record["segment_id"] for record in records] == [f"{recording.name}/a_seg_0"]
    bad = stage.take_observations().quarantined
    assert [(one.record, one.reason) for one in bad] == entries
    assert [one.offset for one in bad] == list(range(len(entries)))
    assert bad[0].message.startswith(f"{recording}/text.wav: it is a text, not audio")


def test_a_recording_that_breaks_off_yields_what_was_decoded(tmp_path: Path, warned: list[str]) -> None:
    soundfile.write(tmp_path / "whole.mp3", noise(10, 44100), 44100)
    data = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(data[: len(data) // 2])
    segments = [segment(second, second + 1) for second in range(10)]
    stage = SegmenterStage()
    records = segmented(stage, [{"audio_filepath": "a.mp3", "segments": segments}], tmp_path)
    whole = segmented(SegmenterStage(), [{"audio_filepath": "whole.mp3", "segments": segments}], tmp_path)

    assert [record["segment_id"] for record in records] == [f"{tmp_path.name}/a_seg_{k}" for k in range(len(records))]
    assert [record["audio"]["bytes"] for record in records] == [w["audio"]["bytes"] for w in whole[: len(records)]]
    observed = stage.take_observations()
    assert 4 <= len(records) <= 5
    assert observed.metrics["skipped_beyond_end"] == 10 - len(records)
    assert observed.metrics["recordings_broken_off"] == 1
    assert not observed.quarantined
    assert len(warned) == 1
    assert f"{tmp_path}/a.mp3 breaks off after " in warned[0]


def test_bad_samples_are_counted(tmp_path: Path) -> None:
    samples = noise(2)
    samples[100:110] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    stage = SegmenterStage()
    (record,) = segmented(stage, [{"audio_filepath": "a.wav", "segments": [segment(0, 2)]}], tmp_path)
    assert metrics(stage)["bad_samples"] == 10
    assert np.count_nonzero(decode_sound(record["audio"]["bytes"])[0][95:115]) == 10


class BreakingStorage(Storage):
    """A storage whose files break after some bytes."""

    @contextmanager
    def open(self, path: str, reads_ahead: bool = True) -> Iterator[Any]:
        with super().open(path, reads_ahead) as file:
            read = file.read

            class Broken:
                size = file.size
                seekable, seek, tell = file.seekable, file.seek, file.tell

                def read(self, num_bytes: int) -> bytes:
                    if file.tell() > 200_000:
                        raise OSError("connection reset")
                    data: bytes = read(num_bytes)
                    return data

            yield Broken()


def test_a_connection_that_breaks_fails_the_task_and_not_the_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(10), RATE)
    stage = SegmenterStage()
    stage.setup(WorkerInfo(storage=BreakingStorage()))
    with pytest.raises(StorageError, match=f"cannot read {tmp_path}/a.wav: connection reset"):
        segmented(stage, [{"audio_filepath": "a.wav", "segments": [segment(0, 1)]}], tmp_path)
    assert not stage.take_observations().quarantined


# Streaming ----------------------------------------------------------------------------------------------------


class CountingStorage(Storage):
    """A storage that notes what is opened and how much of it was read."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.position = 0

    @contextmanager
    def open(self, path: str, reads_ahead: bool = True) -> Iterator[Any]:
        self.opened.append(path.rpartition("/")[2])
        with super().open(path, reads_ahead) as file:
            read = file.read
            storage = self

            class Counted:
                size = file.size
                seekable, seek, tell = file.seekable, file.seek, file.tell

                def read(self, num_bytes: int) -> bytes:
                    data: bytes = read(num_bytes)
                    storage.position = file.tell()
                    return data

            yield Counted()


def test_each_recording_is_opened_once_in_order_whatever_its_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    opened = []
    av_open = av.open
    monkeypatch.setattr(av, "open", lambda *a, **k: (opened.append(1), av_open(*a, **k))[1])
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", noise(5), RATE)
    segments = [segment(2, 4), segment(0, 5), segment(1, 2), segment(0, 1), segment(0, 1)]
    entries = [{"audio_filepath": f"{name}.wav", "segments": segments} for name in ("a", "b")]
    storage, stage = CountingStorage(), SegmenterStage()
    stage.setup(WorkerInfo(storage=storage))

    records = segmented(stage, entries, tmp_path)

    assert [record["segment_id"] for record in records] == [
        f"{tmp_path.name}/{name}_seg_{k}" for name in "ab" for k in range(5)
    ]
    assert storage.opened == ["a.wav", "b.wav"]
    assert len(opened) == 2
    assert metrics(stage)["recordings_decoded"] == 2


def test_a_long_recording_comes_in_batches_while_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BATCH_DURATION_SEC", 10.0)
    soundfile.write(tmp_path / "a.wav", noise(60), RATE)
    segments = [segment(second, second + 1.5) for second in range(58)]
    storage, stage = CountingStorage(), SegmenterStage()
    stage.setup(WorkerInfo(storage=storage))
    task = AudioBatch([{"audio_filepath": "a.wav", "segments": segments}], f"{tmp_path}/manifest.jsonl", [77])

    got = []
    for batch in stage.process(task):
        assert storage.position < 2 * RATE * (batch.records[-1]["end"] + 5)  # no further than that, in bytes
        got.append(batch)

    assert [batch.num_items for batch in got] == [7] * 8 + [2]
    assert {offset for batch in got for offset in batch.offsets} == {77}
    assert {batch.source_path for batch in got} == {f"{tmp_path}/manifest.jsonl"}


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(6)))
def test_the_order_is_that_of_the_entry(order: list[int]) -> None:
    Storage().write("memory://segmenter/a.flac", encode_flac(noise(4)[:, 0], RATE))
    times = [(0.0, 3.9), (0.1, 1.0), (0.5, 2.5), (3.0, 4.0), (3.5, 4.6), (1.0, 2.0)]  # the fifth is beyond the end
    segments = [segment(*times[k]) for k in order]
    entry = {"audio_filepath": "memory://segmenter/a.flac", "segments": segments}
    records = segmented(SegmenterStage(), [entry], "memory://segmenter")
    assert [(record["start"], record["end"]) for record in records] == [times[k] for k in order if k != 4]


# Where recordings are -----------------------------------------------------------------------------------------


def test_over_s3(recording: Path, s3_bucket: str) -> None:
    Storage().write(f"{s3_bucket}/corpus/news/a.wav", (recording / "a.wav").read_bytes())
    segments = [segment(0, 1), segment(1, 3)]

    remote = segmented(
        SegmenterStage(), [{"audio_filepath": "news/a.wav", "segments": segments}], f"{s3_bucket}/corpus"
    )

    local = segmented(
        SegmenterStage(), [{"audio_filepath": "a.wav", "channel": "news", "segments": segments}], recording
    )
    assert remote == local


def test_audio_dir(recording: Path) -> None:
    stage = SegmenterStage(audio_dir=str(recording))
    assert len(segmented(stage, [{"audio_filepath": "a.wav", "segments": [segment(0, 1)]}], "/elsewhere")) == 1


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        ("sample_rate", 0, "sample_rate is 0; give a whole number of Hz from 4000 to 192000"),
        ("sample_rate", 16000.0, "sample_rate is 16000.0; give a whole number"),
        ("min_duration", -1, "min_duration is -1; give a number of seconds, at least 0"),
        ("max_duration", 0.25, "max_duration is 0.25; give a number of seconds, at least min_duration"),
        ("skip_without_text", "no", "skip_without_text is 'no'; give true or false"),
        ("silence_threshold_db", 3, "silence_threshold_db is 3; give a number of dB, from -200 to 0"),
    ],
)
def test_parameters_are_checked(parameter: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SegmenterStage(**{parameter: value})
    assert str(caught.value).startswith(message)


# What goes along ----------------------------------------------------------------------------------------------


def test_single_values_of_entry_and_segment_go_along(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2), RATE)
    entry = {
        "audio_filepath": "a.wav",
        "swift_audio_filepath": "s3://bucket/a.wav",
        "duration": 2.0,
        "language": "en",
        "episode_id": 7,
        "licence": "CC0",
        "explicit": False,
        "tags": ["news"],
        "note": None,
        "segments": [
            segment(0, 1, snr=9.5, licence=None, words=[{"word": "hello"}]),
            segment(1, 2, licence="own", language="de", confidence=VerbatimFloat("0.12345678901234567890")),
        ],
    }
    first, second = segmented(SegmenterStage(), [entry], tmp_path)
    assert {name: first[name] for name in first if name not in SEGMENT_FIELDS} == {
        "episode_id": 7,
        "licence": "CC0",
        "explicit": False,
        "snr": 9.5,
    }
    assert (first["language"], second["language"]) == ("en", "de")
    assert (second["licence"], second["confidence"].text) == ("own", "0.12345678901234567890")


def test_the_plan_names_what_goes_along() -> None:
    words = "list<object>"
    entry = Fields(
        {"audio_filepath": "string", "loudness_db": "float", "vad": "list<float>"},
        open=True,
        seen={
            "episode_id": "int",
            "tags": "list<string>",
            "note": "",
            "source": "string",
            "duration": "float",
            "speaker": "string",
            "segments": f"list<struct<start: float, end: float, speaker: string, snr?: float, source: , w?: {words}>>",
        },
    )
    fields = SegmenterStage().fields_after(entry)
    further = {name: kind for name, kind in fields.kinds.items() if name not in SEGMENT_FIELDS}
    assert further == {"episode_id": "int", "note": "", "source": "string", "snr": "float", "loudness_db": "float"}
    assert fields.open and "licence" in fields
    assert not any(name in fields for name in ("segments", "audio_filepath", "tags", "duration", "speaker", "vad"))
    assert set(fields.types) == {*SEGMENT_FIELDS, "loudness_db"}, "the others may be missing"
