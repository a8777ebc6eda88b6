"""NeMo Curator's stages in our pipelines."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.interop.nemo_curator import CuratorStage
from curator_audio.stages.base import Observations, WorkerInfo
from curator_audio.stages.fields import Fields
from curator_audio.stages.resources import Resources
from curator_audio.stages.speech.sound import audio_field, decode_sound, encode_wav
from curator_audio.tasks import AudioBatch, Record
from tests.extras import needs, needs_program
from tests.segments import RATE, segment, tone

needs("nemo_curator")

COMMON = "nemo_curator.stages.audio.common"
ODD = "tests.interop.odd_stages"


def done(stage: CuratorStage, *records: Record) -> tuple[list[Record], Observations]:
    """What a stage makes of records, and what it tells besides."""
    return stage.process(
        AudioBatch(list(records), "in.jsonl", list(range(len(records))))
    ).records, stage.take_observations()


def usual(does: str, **parameters: Any) -> CuratorStage:
    return CuratorStage(f"{ODD}.OfTheUsualKind", {"does": does}, **parameters)


def reasons(observed: Observations) -> list[tuple[int, str]]:
    return [(bad.offset, bad.reason) for bad in observed.quarantined]


# Stages that come with NeMo Curator -------------------------------------------------------------------------------


def test_a_real_stage_measures_the_sound_of_segments():
    stage = CuratorStage(f"{COMMON}.GetAudioDurationStage", adds={"duration": "float"}, sound="file")
    records = [segment("show_seg_0", 0.25), segment("show_seg_1", 0.5)]

    found, observed = done(stage, *records)

    assert found == [record | {"duration": seconds} for record, seconds in zip(records, (0.25, 0.5))]
    assert observed.metrics["duration"] == 0.75  # what the stage counts itself


def test_a_real_stage_measures_recordings_of_any_format_wherever_the_manifest_lies(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.wav").write_bytes(encode_wav(tone(0.5), RATE))
    stage = CuratorStage(
        f"{COMMON}.GetAudioDurationStage", adds={"duration": "float"}, sound="file", sound_from="audio_filepath"
    )
    records = [{"audio_filepath": "audio/a.wav", "text": "a"}, {"audio_filepath": "audio/b.wav"}, {"text": "b"}]

    batch = stage.process(AudioBatch(records, str(tmp_path / "in.jsonl"), [0, 1, 2]))

    assert batch.records == [{"audio_filepath": "audio/a.wav", "text": "a", "duration": 0.5}]
    assert reasons(stage.take_observations()) == [(1, "unreadable_file"), (2, "missing_field")]


def test_a_real_filter_drops_and_what_it_drops_is_counted():
    stage = CuratorStage(
        f"{COMMON}.PreserveByValueStage",
        {"input_value_key": "wer", "target_value": 20, "operator": "le", "batch_size": 2},
    )

    batch = stage.process(
        AudioBatch([{"wer": 10}, {"wer": 30}, {"wer": 40}, {"wer": 20}, {"wer": 5}], "", [7, 8, 9, 10, 11])
    )

    assert [record["wer"] for record in batch.records] == [10, 20, 5]
    assert batch.offsets == [7, 10, 11]
    metrics = stage.take_observations().metrics
    assert (metrics["skipped_by_stage"], metrics["filtered_count"], metrics["input_count"]) == (2, 2, 5)


def test_real_alm_stages_give_what_ours_give():
    from curator_audio.stages.alm import ALMDataBuilderStage

    entry = json.loads(Path("tutorials/alm_windows/sample.jsonl").read_text().splitlines()[0])
    stage = CuratorStage(
        "nemo_curator.stages.audio.alm.ALMDataBuilderStage",
        {"target_window_duration": 60.0},
        adds={"windows": "list<object>", "stats": "object", "truncation_events": "int"},
        removes=["segments", "words"],
    )

    (theirs,), _ = done(stage, entry)
    ours = ALMDataBuilderStage(target_window_duration=60.0).process_record(entry)

    assert len(theirs["windows"]) > 0
    assert theirs["windows"] == ours["windows"]
    assert theirs["stats"] == ours["stats"]


def test_a_real_model_cuts_a_segment_at_its_pause_and_the_pieces_are_segments(tmp_path):
    needs("silero_vad")
    needs_program("espeak-ng")
    text = "A sentence that is long enough to be taken for speech by a model."
    subprocess.run(["espeak-ng", "-w", str(tmp_path / "a.wav"), text], check=True)
    words, rate = decode_sound((tmp_path / "a.wav").read_bytes())
    sound = np.concatenate([words, np.zeros(2 * rate, np.float32), words])
    whole = segment(
        "show_seg_4", start=100.0, end=100.0 + len(sound) / rate, audio=audio_field(sound, rate, "show_seg_4")
    )
    whole |= {"sample_rate": rate, "duration_sec": len(sound) / rate}
    stage = CuratorStage(
        "nemo_curator.stages.audio.segmentation.VADSegmentationStage",
        {"min_duration_sec": 0.5},
        adds={"audio": "audio", "start_ms": "int", "end_ms": "int"},
        sound="file",
    )
    stage.setup(WorkerInfo())

    pieces, observed = done(stage, whole)
    silence, dropped = done(stage, whole | {"audio": audio_field(np.zeros(RATE, np.float32), RATE, "show_seg_4")})

    assert not observed.quarantined
    assert [piece["segment_id"] for piece in pieces] == ["show_seg_4_0", "show_seg_4_1"]
    for piece in pieces:
        samples, rate_of_piece = decode_sound(piece["audio"]["bytes"])
        first, last = (int(piece[name] / 1000 * rate) for name in ("start_ms", "end_ms"))
        assert rate_of_piece == piece["sample_rate"] == rate
        assert len(samples) / rate == piece["duration_sec"] == pytest.approx(piece["end"] - piece["start"], abs=0.002)
        assert piece["start"] == 100 + piece["start_ms"] / 1000
        assert np.abs(samples[:1000] - sound[first : first + 1000]).max() < 0.1 or first == 0
        assert last <= len(sound)
        assert "waveform" not in piece
        assert piece["original_file"] == "show_seg_4.flac"
        assert piece["text"] == whole["text"]
    assert pieces[0]["end"] < 100 + len(words) / rate + 1 < pieces[1]["start"] + 1
    assert silence == []
    assert dropped.metrics["skipped_by_stage"] == 1


# What stages do with what they are given --------------------------------------------------------------------------


def test_a_stage_that_changes_what_it_is_given_changes_no_other_record():
    shared = [{"text": "as it was"}]
    before = [{"text": "a", "segments": shared}, {"text": "b", "segments": shared}]

    found, _ = done(usual("mutates"), *before)

    assert before == [{"text": "a", "segments": shared}, {"text": "b", "segments": shared}]
    assert shared == [{"text": "as it was"}]
    assert found == [{"text": "changed", "segments": [{"text": "changed"}], "language": "en"}] * 2


def test_numbers_become_pythons_and_what_no_container_holds_is_left_out_and_counted():
    stage = usual("numbers", adds={"wer": "float", "scores": "list<float>", "missing": "int"})

    (found,), observed = done(stage, {"text": "a"})

    nan = found.pop("nan")
    assert nan != nan
    assert found == {
        "text": "a",
        "wer": 0.25,
        "count": 7,
        "good": True,
        "word": "so",
        "mean": 0.5,
        "scores": [1.0, 1.0, 1.0],
        "pair": [1.5, {"kept": [2]}],
        "exact": 2.0,
    }
    assert observed.metrics == {"left_out_mel": 1, "left_out_model": 1, "left_out_pair": 1, "without_missing": 1}


def test_a_value_of_another_type_than_declared_quarantines_its_record():
    _, observed = done(usual("numbers", adds={"count": "string"}), {"text": "a"})

    assert observed.quarantined[0].message == "count is 7, which is no string, as 'adds' says"


@pytest.mark.parametrize("does", ["none", "empty", "none task"])
def test_what_a_stage_drops_is_counted(does):
    found, observed = done(usual(does), {"text": "a"}, {"text": "b"})

    assert found == []
    assert observed.metrics == {"skipped_by_stage": 2}
    assert not observed.quarantined


@pytest.mark.parametrize(("does", "reason"), [("raises", "ValueError"), ("failed", "failed_in_stage")])
def test_what_a_stage_cannot_do_is_quarantined(does, reason):
    found, observed = done(usual(does), {"text": "a"})

    assert (found, reasons(observed)) == ([], [(0, reason)])


def test_a_device_that_is_full_fails_the_partition_and_not_its_records():
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        done(usual("fills the GPU"), {"text": "a"})


def test_a_result_that_is_no_audio_task_ends_the_run():
    with pytest.raises(ConfigurationError, match="OfTheUsualKind gave a str; only stages from AudioTask to AudioTask"):
        done(usual("text"), {"text": "a"})


def test_a_stage_that_gives_what_it_was_given_before_ends_the_run():
    with pytest.raises(ConfigurationError, match="OfTheUsualKind gave a task that it was given earlier"):
        done(usual("gathers"), {"text": "a"}, {"text": "b"})


def test_records_split_in_several_keep_their_place_and_get_ids_of_their_own():
    stage = usual("splits", adds={"part": "int"})

    batch = stage.process(
        AudioBatch([{"segment_id": "a", "n": 2}, {"segment_id": "b", "n": 1}, {"n": 0}], "", [5, 6, 7])
    )

    assert batch.records == [
        {"segment_id": "a_0", "n": 2, "part": 0},
        {"segment_id": "a_1", "n": 2, "part": 1},
        {"segment_id": "b", "n": 1, "part": 0},
    ]
    assert batch.offsets == [5, 5, 6]


def test_a_field_that_a_stage_removes_has_to_be_declared():
    _, observed = done(usual("renames"), {"text": "a"})
    stage = usual("renames", adds={"sentence": "string"}, removes=["text"])
    found, _ = done(stage, {"text": "a"})

    assert observed.quarantined[0].reason == "not_declared"
    assert observed.quarantined[0].message == "OfTheUsualKind removes 'text'; name it in removes: [text]"
    assert found == [{"sentence": "a"}]
    assert stage.fields_after(Fields.of({"text": "string", "id": "int"})).types == {"id": "int", "sentence": "string"}


def test_what_a_stage_notes_for_the_next_is_carried_on():
    (found,), _ = done(usual("notes"), {"text": "a"})
    (again,), _ = done(usual("reads notes"), found)

    assert found == {"text": "a", "_metadata": {"mapping": [1, 2]}}
    assert again == found | {"noted": [1, 2]}


def test_new_sound_may_come_in_a_task_without_all_else():
    stage = usual("only sound", sound="waveform", adds={"audio": "audio"}, removes=["text", "id"])

    (found,), _ = done(stage, {"text": "a", "id": 1, "audio": segment("a", 0.5)["audio"]})

    assert list(found) == ["audio"]
    assert len(decode_sound(found["audio"]["bytes"])[0]) == 100


def test_a_name_of_a_temporary_file_does_not_stay():
    record = segment("show_seg_0")

    (found,), _ = done(usual("keeps the path", sound="file"), record)

    assert found == record | {"original": "show_seg_0.flac", "again": ["see show_seg_0.flac"]}


def test_sound_that_a_stage_makes_is_kept_or_refused_and_never_mixed_up():
    record = segment("show_seg_0", 0.5)

    for does in ("quieter", "resamples"):
        _, refused = done(usual(does, sound="waveform"), record)
        assert reasons(refused) == [(0, "not_declared")]
        assert "give adds: {audio: audio} to keep it" in refused.quarantined[0].message
    ((quiet,), _), ((slow,), _) = (
        done(usual(does, sound="waveform", adds={"audio": "audio"}), record) for does in ("quieter", "resamples")
    )
    (same,), _ = done(usual("nothing", sound="waveform", adds={"audio": "audio"}), record)

    assert np.abs(decode_sound(quiet["audio"]["bytes"])[0] - tone_of(record) / 2).max() < 1e-4
    assert (slow["sample_rate"], slow["duration_sec"], decode_sound(slow["audio"]["bytes"])[1]) == (8000, 0.5, 8000)
    assert same == record
    assert record == segment("show_seg_0", 0.5)


def tone_of(record: Record) -> Any:
    return decode_sound(record["audio"]["bytes"])[0]


def test_a_record_without_sound_is_quarantined():
    _, observed = done(
        usual("nothing", sound="file"), {"audio": None}, {"audio": {"bytes": b"no sound"}}, {"text": "a"}
    )

    assert reasons(observed) == [(0, "missing_audio"), (1, "unreadable_audio"), (2, "missing_field")]


# Several at once --------------------------------------------------------------------------------------------------


def test_process_batch_is_given_several_and_one_bad_record_costs_no_other(monkeypatch):
    from tests.interop.odd_stages import InBatches

    monkeypatch.setattr(InBatches, "sizes", [])
    stage = CuratorStage(f"{ODD}.InBatches", {"batch_size": 3})

    found, observed = done(stage, *({"n": n} for n in (0, 1, 2, 3, "bad", 4, 6)))

    assert [record["n"] for record in found] == [0, 2, 4, 6]
    assert InBatches.sizes == [3, 3, 1, 1, 1, 1]
    assert reasons(observed) == [(4, "ValueError")]
    assert observed.metrics == {"skipped_by_stage": 2, "batches_tried_one_by_one": 1}


def test_results_of_a_batch_are_told_apart_by_task_or_by_order_or_not_at_all():
    doubled = CuratorStage(f"{ODD}.InBatches", {"does": "doubles"})
    batch = doubled.process(AudioBatch([{"n": 1}, {"n": 2}], "", [10, 20]))
    in_order, _ = done(CuratorStage(f"{ODD}.InBatches", {"does": "in order"}), {"n": 1}, {"n": 2})

    assert [(record["n"], offset) for record, offset in zip(batch.records, batch.offsets)] == [
        (1, 10),
        (1, 10),
        (2, 20),
        (2, 20),
    ]
    assert in_order == [{"n": 10}, {"n": 20}]
    with pytest.raises(ConfigurationError, match=r"made 3 tasks of 2, and does not tell .* add batch_size: 1"):
        done(CuratorStage(f"{ODD}.InBatches", {"does": "anything"}), {"n": 1}, {"n": 2})


# Set-up and declarations ------------------------------------------------------------------------------------------


def test_a_stage_is_set_up_with_its_resources_or_with_others(tmp_path):
    log = tmp_path / "log"
    stage = CuratorStage(f"{ODD}.SetUp", {"log_path": str(log)})
    on_cpus = stage.with_(resources=Resources(cpus=1))

    for one in (stage, on_cpus):
        one.setup_on_node(WorkerInfo())
        one.setup(WorkerInfo())
        one.teardown()

    assert (stage.resources, stage.num_workers(), stage.name) == (Resources(cpus=2, gpus=0.5), 1, "set_up")
    begin = "node NodeInfo WorkerMetadata\nworker WorkerMetadata on"
    assert log.read_text() == f"{begin} 2 CPUs, 0.5 GPUs\nend\n{begin} 1 CPUs, 0 GPUs\nend\n"


def test_fields_are_those_that_the_stage_tells_and_that_are_declared():
    stage = CuratorStage(
        "nemo_curator.stages.audio.text_filtering.SelectBestPredictionStage",
        {"primary_text_key": "text"},
        adds={"best_prediction": "string"},
    )

    assert stage.inputs()[1] == ["text"]
    assert stage.outputs()[1]["best_prediction"] == "string"
    assert stage.outputs()[1]["best_prediction_source"] == ""
    assert stage.fields_after(Fields.of({"text": "string"})).types["text"] == "string"
    assert CuratorStage(f"{COMMON}.GetAudioDurationStage", sound="file").inputs()[1] == ["audio"]
    assert CuratorStage(f"{COMMON}.GetAudioDurationStage", reads=["a"]).inputs()[1] == ["a"]


@pytest.mark.parametrize(
    ("stage", "parameters", "message"),
    [
        ("GetAudioDurationStage", {}, "stage is 'GetAudioDurationStage'; give the dotted name of a class"),
        (
            f"{COMMON}.GetAudioDurationStag",
            {},
            r"there is no 'GetAudioDurationStag' in .*; did you mean 'GetAudioDurationStage'",
        ),
        ("nemo_curator.stages.audio.comon.A", {}, "cannot be imported: .*check the name"),
        ("nemo_curator.stages.audio.metrics.wer.GetPairwiseWerStage", {}, "needs nemo, which is not installed"),
        (f"{COMMON}.get_audio_duration", {}, "is no subclass of NeMo Curator's ProcessingStage"),
        (f"{COMMON}.ManifestReader", {}, "ManifestReader is a composite of several stages"),
        (f"{COMMON}.ManifestReaderStage", {}, "ManifestReaderStage takes FileGroupTask; only stages from AudioTask"),
        (f"{ODD}.Composite", {}, "Composite is a composite of several stages"),
        (f"{ODD}.ToText", {}, "ToText gives DocumentBatch; only stages"),
        (
            f"{COMMON}.GetAudioDurationStage",
            {"duration": 1},
            "has no parameter 'duration'; did you mean 'duration_key'?",
        ),
        (f"{COMMON}.PreserveByValueStage", {"target_value": 1}, "needs 'input_value_key'; give it in parameters"),
        (
            f"{COMMON}.PreserveByValueStage",
            {"input_value_key": "a", "target_value": 1, "operator": "near"},
            "PreserveByValueStage refuses its parameters: ValueError: Operator must be one of",
        ),
        (f"{COMMON}.GetAudioDurationStage", {"resources": {"gpus": 1}}, "give them beside 'stage'"),
        (f"{COMMON}.GetAudioDurationStage", {"batch_size": 0}, "batch_size of GetAudioDurationStage is 0"),
        (f"{COMMON}.GetAudioDurationStage", ["a"], r"parameters is \['a'\]"),
    ],
)
def test_a_stage_that_cannot_be_made_is_told_in_a_line(stage, parameters, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        CuratorStage(stage, parameters)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sound": "wav"}, "sound is 'wav'; give file or waveform, or null"),
        ({"adds": {"a": "double"}}, "adds.a is 'double'"),
        ({"adds": {"a": "int"}, "removes": ["a"]}, "'a' is in adds and in removes"),
        ({"removes": [1]}, "removes is"),
        ({"sound": "file", "sound_from": ""}, "sound_from is ''"),
    ],
)
def test_a_parameter_that_cannot_be_is_told(parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        CuratorStage(f"{COMMON}.GetAudioDurationStage", **parameters)
