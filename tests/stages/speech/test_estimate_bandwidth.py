"""Bandwidths of the segments of real files, and what of an entry changes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio.cli import main
from curator_audio.errors import ConfigurationError
from curator_audio.stages.speech.bandwidth import bandwidth_hz
from curator_audio.stages.speech.estimate_bandwidth import EstimateBandwidthStage, bandwidths_of_spans
from curator_audio.stages.speech.sound import Samples
from curator_audio.tasks import AudioBatch

Entry = dict[str, Any]
RATE = 24000


def noise_up_to(cut: float, seconds: float, rate: int = RATE, seed: int = 0) -> Samples:
    """White noise without anything above ``cut`` Hz."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(seconds * rate)))
    spectrum[round(cut * seconds) :] = 0
    samples = np.fft.irfft(spectrum)
    return (0.1 * samples / samples.std()).astype(np.float32)


def recording(*cuts: float, rate: int = RATE) -> Samples:
    """One second of noise up to each of the frequencies."""
    return np.concatenate([noise_up_to(cut, 1.0, rate, seed) for seed, cut in enumerate(cuts)])


def segment(start: Any, end: Any, **fields: Any) -> Entry:
    return {"start": start, "end": end, "speaker": "ann", **fields}


def run(entry: Entry, folder: Path, **parameters: Any) -> tuple[list[Entry], EstimateBandwidthStage]:
    stage = EstimateBandwidthStage(**parameters)
    before = copy.deepcopy(entry)
    records = stage.process(AudioBatch([entry], f"{folder}/manifest.jsonl")).records
    assert entry == before
    return records, stage


def estimated(entry: Entry, folder: Path, **parameters: Any) -> Entry:
    (record,), _ = run(entry, folder, **parameters)
    return record


def bandwidths(entry: Entry) -> list[Any]:
    return [(segment.get("metrics") or {}).get("bandwidth") for segment in entry["segments"]]


@pytest.fixture
def show(tmp_path: Path) -> Entry:
    """An entry of a recording of four seconds, with content up to 3, 6, 9 and 12 kHz."""
    soundfile.write(tmp_path / "show.flac", recording(3000, 6000, 9000, 12000), RATE)
    segments = [segment(start, start + 1.0) for start in (0.0, 1.0, 2.0, 3.0)]
    return {"audio_filepath": "show.flac", "segments": segments}


# ---- what is measured


def test_every_segment_gains_its_bandwidth(show: Entry, tmp_path: Path) -> None:
    record = estimated(show, tmp_path)
    assert bandwidths(record) == pytest.approx([3000, 6000, 9000, 12000], rel=0.05)
    assert all(type(bandwidth) is int for bandwidth in bandwidths(record))


def test_segments_may_overlap_and_come_in_any_order(show: Entry, tmp_path: Path) -> None:
    show["segments"] = [segment(2.1, 2.9), segment(0.2, 0.9), segment(0.0, 4.0), segment(0.5, 2.0), segment(0.0, 1.0)]
    assert bandwidths(estimated(show, tmp_path)) == pytest.approx([9000, 3000, 12000, 6000, 3000], rel=0.05)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_files_are_measured_at_their_own_rate(rate: int, suffix: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", noise_up_to(3400, 2.0, rate), rate)
    record = estimated({"audio_filepath": f"a.{suffix}", "segments": [segment(0.3, 1.8)]}, tmp_path)
    assert bandwidths(record) == pytest.approx([3400], rel=0.05)
    assert record["audio_sample_rate"] == rate
    assert record["duration"] == pytest.approx(2.0, abs=0.001)


def test_of_stereo_the_mean_is_measured(tmp_path: Path) -> None:
    channels = np.stack([noise_up_to(3000, 1.0), noise_up_to(7500, 1.0, seed=1)], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, RATE)
    record = estimated({"audio_filepath": "a.wav", "segments": [segment(0.0, 1.0)]}, tmp_path)
    assert bandwidths(record) == pytest.approx([7500], rel=0.05)


def test_silence_has_no_bandwidth_and_that_is_known(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    record = estimated({"audio_filepath": "a.wav", "segments": [segment(0.0, 1.0)]}, tmp_path)
    assert bandwidths(record) == [0]


@settings(max_examples=50, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 17000), st.integers(0, 17000)).map(sorted), max_size=8),
    cuts=st.lists(st.integers(0, 16000), max_size=8),
)
def test_spans_of_a_stream_are_as_if_cut_out_of_the_whole(spans: list[list[int]], cuts: list[int]) -> None:
    samples = np.concatenate([noise_up_to(3000, 1.0, 8000), noise_up_to(2000, 1.0, 8000)])
    blocks = np.split(samples, sorted(cuts))
    found = bandwidths_of_spans(blocks, 8000, {name: (first, end) for name, (first, end) in enumerate(spans)})
    lengths = [len(samples[first:end]) for first, end in spans]
    assert sorted(found) == [name for name, length in enumerate(lengths) if length >= 800]
    for name, bandwidth in found.items():
        first, end = spans[name]
        assert bandwidth == bandwidth_hz(samples[first:end], 8000)


# ---- what of the entry changes


def test_the_rest_of_the_entry_stays(show: Entry, tmp_path: Path) -> None:
    show |= {"language": "en", "audio_sample_rate": None}
    show["segments"] = [segment(0.0, 1.0, text="so", metrics={"snr": 20}), segment(1.0, 2.0, metrics=None)]
    record = estimated(show, tmp_path)
    first, second = bandwidths(record)
    assert record == {
        "audio_filepath": "show.flac",
        "language": "en",
        "audio_sample_rate": RATE,
        "duration": 4.0,
        "segments": [
            segment(0.0, 1.0, text="so", metrics={"snr": 20, "bandwidth": first}),
            segment(1.0, 2.0, metrics={"bandwidth": second}),
        ],
    }


def test_what_is_there_is_kept(show: Entry, tmp_path: Path) -> None:
    show |= {"audio_sample_rate": 8000, "duration": 3.0}
    show["segments"][1]["metrics"] = {"bandwidth": 1234}
    record = estimated(show, tmp_path)
    assert (record["audio_sample_rate"], record["duration"]) == (8000, 3.0)
    assert bandwidths(record) == [pytest.approx(3000, rel=0.05), 1234, *map(pytest.approx, bandwidths(record)[2:])]
    assert bandwidths(estimated(show, tmp_path, reestimate=True))[1] == pytest.approx(6000, rel=0.05)


def test_an_entry_that_lacks_nothing_is_not_decoded(tmp_path: Path) -> None:
    entry = {"audio_filepath": "gone.flac", "audio_sample_rate": 16000, "duration": 9.0}
    entry["segments"] = [segment(0.0, 1.0, metrics={"bandwidth": 8000})]
    assert estimated(entry, tmp_path) == entry
    assert run(entry, tmp_path, reestimate=True)[0] == []


@pytest.mark.parametrize(
    "bad",
    [
        segment(None, 1.0),
        segment("0", "1"),
        segment(True, 2.0),
        segment(-1.0, 1.0),
        segment(1.0, 1.0),
        segment(2.0, 1.0),
        segment(float("nan"), 1.0),
        segment(0.0, float("inf")),
        segment(0, 10**400),
        segment(0.0, 0.09),
        segment(5.0, 6.0),
        segment(3.95, 6.0),
        {"text": "no times"},
        "no segment",
        None,
    ],
    ids=repr,
)
def test_a_segment_that_cannot_be_measured_is_left_as_it_is(bad: Any, show: Entry, tmp_path: Path) -> None:
    show["segments"].insert(1, bad)
    (record,), stage = run(show, tmp_path)
    assert repr(record["segments"][1]) == repr(bad)
    del record["segments"][1]
    assert bandwidths(record) == pytest.approx([3000, 6000, 9000, 12000], rel=0.05)
    metrics = stage.take_observations().metrics
    assert (metrics["segments_estimated"], metrics["segments_without_bandwidth"]) == (4, 1)


def test_a_segment_that_ends_beyond_the_recording_is_measured_up_to_there(show: Entry, tmp_path: Path) -> None:
    show["segments"] = [segment(2.0, 3.0), segment(3.5, 99.0), segment(3.0, -1)]
    assert bandwidths(estimated(show, tmp_path)) == pytest.approx([9000, 12000, 12000], rel=0.05)


@pytest.mark.parametrize("wrong", ["good", [8000], 8000, {"bandwidth": "8k"}, {"bandwidth": float("nan")}])
def test_a_bandwidth_that_is_none_is_absent_and_measured(wrong: Any, show: Entry, tmp_path: Path) -> None:
    show |= {"audio_sample_rate": "24000", "duration": float("nan")}
    show["segments"] = [segment(0.0, 1.0, metrics=wrong), segment(1.0, 2.0, metrics={"bandwidth": 1})]
    (record,), stage = run(show, tmp_path)
    assert bandwidths(record) == [pytest.approx(3000, rel=0.05), 1]
    assert (record["audio_sample_rate"], record["duration"]) == (RATE, 4.0)
    assert stage.take_observations().metrics["optional_fields_ignored"] == 3


# ---- bad recordings


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_recording_that_breaks_off_is_measured_up_to_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"show.{suffix}"
    soundfile.write(path, recording(3000, 6000, 9000, 12000), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 5 // 8])
    segments = [segment(start, start + 1.0) for start in (0.0, 1.0, 3.0)]
    (record,), stage = run({"audio_filepath": path.name, "segments": segments}, tmp_path)
    assert bandwidths(record)[:2] == pytest.approx([3000, 6000], rel=0.05)
    assert record["segments"][2] == segment(3.0, 4.0)
    assert 2.0 < record["duration"] < 3.0
    metrics = stage.take_observations().metrics
    assert metrics["recordings_broken_off"] == 1
    assert metrics["segments_without_bandwidth"] == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"audio_filepath": "gone.flac"}, "unreadable_file"),
        ({"audio_filepath": "text.wav"}, "not_audio"),
        ({"audio_filepath": "../show.flac"}, "path_leaves_root"),
        ({"audio_filepath": None}, "wrong_type"),
        ({"segments": {"start": 0.0}}, "wrong_type"),
    ],
)
def test_a_bad_entry_is_set_aside(fields: Entry, reason: str, show: Entry, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is not sound " * 100)
    records, stage = run({**show, **fields}, tmp_path)
    assert records == []
    assert [quarantined.reason for quarantined in stage.take_observations().quarantined] == [reason]


def test_reestimate_is_true_or_false() -> None:
    with pytest.raises(ConfigurationError, match="reestimate is 'no'; give true or false"):
        EstimateBandwidthStage(reestimate="no")  # type: ignore[arg-type]


# ---- the pipeline


def test_raw_recordings_to_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two recordings the second was on the telephone for a while; windows have none of that."""
    audio = tmp_path / "audio"
    audio.mkdir()
    soundfile.write(audio / "0.flac", recording(*[8500] * 8), RATE)
    soundfile.write(audio / "1.flac", recording(*[8500] * 4, *[3400] * 4), RATE)
    segments = [segment(float(k), k + 1.0, speaker="ab"[k % 2], text="so") for k in range(8)]
    entries = [{"audio_filepath": f"{k}.flac", "segments": segments} for k in range(2)]
    entries.append({"audio_filepath": "gone.flac", "segments": segments})
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    out = tmp_path / "bandwidth"
    arguments = ["--config-name", "bandwidth", "executor=local", f"audio_dir={audio}", f"output_dir={out}"]
    assert main([*arguments, f"manifest_path={manifest}"]) == 0
    assert "segments_estimated: 16" in capsys.readouterr().out
    records = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [record["audio_filepath"] for record in records] == ["0.flac", "1.flac"]
    assert bandwidths(records[0]) == pytest.approx([8500] * 8, rel=0.05)
    assert bandwidths(records[1]) == pytest.approx([8500] * 4 + [3400] * 4, rel=0.05)
    assert len(list((out / "quarantine").iterdir())) == 1

    alm = ["executor=local", f"manifest_path={out}/manifest.jsonl", f"output_dir={tmp_path}/alm"]
    assert main([*alm, "stages.1.target_window_duration=3.0", "stages.1.tolerance=0.0"]) == 0
    windows = [
        [[segment["start"] for segment in window["segments"]] for window in json.loads(line)["windows"]]
        for line in (tmp_path / "alm" / "alm_output.jsonl").read_text().splitlines()
    ]
    assert windows == [[[k, k + 1, k + 2] for k in range(6)], [[0, 1, 2], [1, 2, 3]]]
