"""The stage that encodes segments, most of it with a codec whose codes can be told in advance."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import soundfile

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages import Resources, WorkerInfo
from curator_audio.stages.codec import CodecEncoderStage, NeuCodecDecoderStage, NeuCodecEncoderStage
from curator_audio.stages.codec.codec import ClipTooLongError, Codec, Work
from curator_audio.stages.codec.segment_clip import SegmentClip
from curator_audio.stages.speech.sound import encode_flac
from curator_audio.tasks import AudioBatch, Record
from tests.extras import needs


class Loudness:
    """A codec of ten codes a second, each of them the hundredths of the loudest sample; holds two seconds at most."""

    sample_rate = 1000
    decoded_sample_rate = 1000
    samples_per_code = 100
    codebook_size = 101

    def __init__(self) -> None:
        self.work = Work()
        self.batches: list[int] = []

    def encode(self, clips: Sequence[Any]) -> list[Any]:
        for index, clip in enumerate(clips):
            if len(clip) > 2000:
                raise ClipTooLongError(index, f"a clip of {len(clip) / 1000:g} s does not fit")
        self.batches.append(len(clips))
        self.work.num_batches += 1
        self.work.device_time_sec += 0.5
        return [
            np.array([self._loudest(np.asarray(clip)[i:][:100]) for i in range(0, len(clip) - 99, 100)])
            for clip in clips
        ]

    def _loudest(self, samples: Any) -> int:
        return round(float(np.abs(samples).max()) * 100)

    def decode(self, codes: Sequence[Any]) -> list[Any]:
        raise NotImplementedError


@dataclass
class LoudnessStage(CodecEncoderStage):
    name = "loudness"

    def _load(self) -> Codec:
        return Loudness()


def sound(loudness: float, num_samples: int, sample_rate: int = 1000) -> bytes:
    return encode_flac(np.full(num_samples, loudness, np.float32), sample_rate)


def segment(name: str, data: Any, **fields: Any) -> Record:
    return {"segment_id": name, "audio": {"bytes": data, "path": f"{name}.flac"}, "codes": [], **fields}


def encoded(stage: CodecEncoderStage, records: list[Record]) -> AudioBatch:
    stage.setup(WorkerInfo())
    return stage.process(AudioBatch(records, "segments.parquet", list(range(len(records)))))


def test_segments_are_encoded_in_their_order() -> None:
    records = [segment("a", sound(0.5, 300)), segment("b", sound(0.25, 250)), segment("c", sound(0.75, 100))]
    batch = encoded(LoudnessStage(), records)
    assert [record["codes"] for record in batch.records] == [[50, 50, 50], [25, 25], [75]]
    assert [type(code) for code in batch.records[0]["codes"]] == [int] * 3
    assert batch.offsets == [0, 1, 2]
    assert batch.source_path == "segments.parquet"
    assert list(batch.records[0]) == ["segment_id", "audio", "codes"]


def test_records_are_not_changed() -> None:
    record = segment("a", sound(0.5, 300))
    before = {**record}
    encoded(LoudnessStage(), [record])
    assert record == before


def test_what_has_codes_is_passed_on() -> None:
    stage = LoudnessStage()
    done = segment("b", b"never looked at", codes=[7, 8])
    batch = encoded(stage, [segment("a", sound(0.5, 100)), done])
    assert batch.records[1] is done
    metrics = stage.take_observations().metrics
    assert (metrics["encoded_segments"], metrics["already_encoded"]) == (1, 1)


def test_reencode() -> None:
    batch = encoded(LoudnessStage(reencode=True), [segment("a", sound(0.5, 100), codes=[7, 8])])
    assert batch.records[0]["codes"] == [50]


@pytest.mark.parametrize("codes", [None, [], np.array([], np.int32)])
def test_empty_codes_are_none(codes: Any) -> None:
    assert encoded(LoudnessStage(), [segment("a", sound(0.5, 100), codes=codes)]).records[0]["codes"] == [50]


def wav(samples: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 1000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def cut_off(data: bytes) -> bytes:
    return data[: len(data) // 2]


NOISE = encode_flac(np.random.default_rng(0).uniform(-1, 1, 1500).astype(np.float32), 1000)


@pytest.mark.parametrize(
    ("record", "reason", "message"),
    [
        ({"codes": []}, "missing_field", "the record has no 'audio'"),
        ({"audio": None, "codes": []}, "no_audio", "audio has no bytes"),
        ({"audio": {"bytes": None, "path": "a.flac"}}, "no_audio", "audio has no bytes"),
        ({"audio": {"bytes": b""}}, "no_audio", "audio has no bytes"),
        ({"audio": {"bytes": b"no sound"}}, "unreadable_audio", "cannot be decoded"),
        ({"audio": {"bytes": wav(np.zeros(0, np.float32))}}, "too_short", "0 samples, less than the 0.1 s of one code"),
        ({"audio": {"bytes": sound(0.5, 99)}}, "too_short", "99 samples, less than the 0.1 s of one code"),
        ({"audio": {"bytes": cut_off(NOISE)}}, "unreadable_audio", "the audio"),
        ({"audio": {"bytes": sound(0.5, 2100)}}, "out_of_memory", "a clip of 2.1 s does not fit"),
    ],
)
def test_a_bad_record_is_set_aside_and_the_others_go_on(record: Record, reason: str, message: str) -> None:
    stage = LoudnessStage()
    batch = encoded(stage, [segment("a", sound(0.5, 100)), record, segment("b", sound(0.25, 100))])
    assert [record["codes"] for record in batch.records] == [[50], [25]]
    assert batch.offsets == [0, 2]
    (bad,) = stage.observed.quarantined
    assert (bad.source_path, bad.offset, bad.stage, bad.reason) == ("segments.parquet", 1, "loudness", reason)
    assert message in bad.message
    assert bad.record == record
    assert stage.observed.metrics["encoded_segments"] == 2


def test_sound_of_another_rate_is_resampled() -> None:
    """A tone, whose codes do not depend on the rate it was sampled at."""
    tone = 0.5 * np.sin(2 * np.pi * 50 * np.arange(8000) / 8000).astype(np.float32)
    (codes,) = [record["codes"] for record in encoded(LoudnessStage(), [segment("a", encode_flac(tone, 8000))]).records]
    assert len(codes) == 10
    assert all(abs(code - 50) <= 2 for code in codes[1:-1])


def test_stereo_is_mixed() -> None:
    stereo = np.tile(np.array([0.5, 0.25], np.float32), (200, 1))
    assert encoded(LoudnessStage(), [segment("a", wav(stereo))]).records[0]["codes"] == [38, 38]


def test_samples_that_are_no_numbers_are_silence() -> None:
    samples = np.full(200, 0.5, np.float32)
    samples[:100] = np.nan
    samples[150] = np.inf
    assert encoded(LoudnessStage(), [segment("a", wav(samples))]).records[0]["codes"] == [0, 50]


def test_metrics() -> None:
    stage = LoudnessStage()
    encoded(stage, [segment("a", sound(0.5, 300)), segment("b", sound(0.5, 150)), segment("c", b"?")])
    metrics = stage.take_observations().metrics
    assert metrics["encoded_segments"] == 2
    assert metrics["encoded_duration"] == pytest.approx(0.45)
    assert (metrics["num_batches"], metrics["device_time_sec"]) == (1, 0.5)
    assert metrics["worker_time_sec"] > 0


def test_several_tasks_are_encoded_together() -> None:
    """But each keeps its own records, and what is bad its place."""
    stage = LoudnessStage()
    stage.setup(WorkerInfo())
    tasks = [
        AudioBatch([segment("a", sound(0.5, 100)), segment("b", b"?")], "one.parquet", [0, 10]),
        AudioBatch([], "none.parquet"),
        AudioBatch([segment("c", sound(0.25, 100))], "two.parquet", [20]),
    ]
    batches = stage.process_batch(tasks)
    assert [[record["codes"] for record in batch.records] for batch in batches] == [[[50]], [], [[25]]]
    assert [batch.source_path for batch in batches] == ["one.parquet", "none.parquet", "two.parquet"]
    assert stage.codec.batches == [2]  # type: ignore[attr-defined]
    assert [(bad.source_path, bad.offset) for bad in stage.observed.quarantined] == [("one.parquet", 10)]


def test_derived_metrics() -> None:
    totals = {"worker_time_sec": 3600.0, "device_time_sec": 1800.0, "encoded_duration": 3600.0 * 500}
    assert LoudnessStage().derived_metrics(totals) == {"gpu_busy_share": 0.5, "audio_hours_per_gpu_hour": 500.0}
    half = LoudnessStage().with_(resources=Resources(gpus=0.5))
    assert half.derived_metrics(totals)["audio_hours_per_gpu_hour"] == 1000.0
    without = LoudnessStage().with_(resources=Resources())
    assert without.derived_metrics(totals) == {"worker_busy_share": 0.5, "audio_hours_per_worker_hour": 500.0}
    assert LoudnessStage().derived_metrics({}) == {}


# A segment's clip ---------------------------------------------------------------------------------------------


def test_a_clip_is_decoded_when_it_is_asked_for() -> None:
    clip = SegmentClip(cut_off(NOISE), sample_rate=1000)
    assert (len(clip), clip.error) == (1500, None)
    assert np.array_equal(np.asarray(clip), np.zeros(1500, np.float32))
    assert isinstance(clip.error, RecordError)


def test_a_clips_samples() -> None:
    clip = SegmentClip(sound(0.5, 150), sample_rate=1000)
    np.testing.assert_allclose(np.asarray(clip, np.float32), 0.5, atol=1e-4)


# NeuCodec -----------------------------------------------------------------------------------------------------


def test_neucodec_encodes_segments(clips: list[Any]) -> None:
    from curator_audio.stages.codec.neucodec import NeuCodec

    stage = NeuCodecEncoderStage(model="random-tiny").with_(resources=Resources(gpus=0))
    stage.setup_on_node(WorkerInfo())
    records = [segment(str(index), encode_flac(clip, 16_000)) for index, clip in enumerate(clips[-9:])]
    batch = encoded(stage, records)
    lengths = [len(clip) // 320 for clip in clips[-9:]]
    assert [len(record["codes"]) for record in batch.records] == [length for length in lengths if length]
    assert [bad.reason for bad in stage.observed.quarantined] == ["too_short", "no_audio"]
    as_written = np.round(clips[-9] * 32768).clip(-32768, 32767).astype(np.float32) / 32768
    alone = NeuCodec(model="random-tiny", device="cpu").encode([as_written])[0]
    assert (np.array(batch.records[0]["codes"]) == alone).mean() > 0.98  # FLAC rounds to 16 bits its own way
    assert stage.observed.metrics["device_time_sec"] <= stage.observed.metrics["worker_time_sec"]


@pytest.mark.parametrize("kind", [NeuCodecEncoderStage, NeuCodecDecoderStage])
def test_a_gpu_that_pytorch_cannot_use_is_told(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("neucodec")
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match=r"on a GPU, and PyTorch .* finds none .* run on CPUs with gpus: 0"):
        kind(model="random-tiny").setup(WorkerInfo())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"implementation": "encodec"}, "implementation is 'encodec'; give one of neucodec, transformers"),
        ({"dtype": "float64"}, "dtype is 'float64'"),
        ({"batch_audio_sec": -1}, "batch_audio_sec is -1"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        NeuCodecEncoderStage(**parameters)


def test_a_library_that_is_missing_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec("json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "neucodec" else there)
    NeuCodecEncoderStage(model="random-tiny")
    with pytest.raises(ConfigurationError, match=r"needs neucodec, which is not installed; .*\[codec\]"):
        NeuCodecEncoderStage()
