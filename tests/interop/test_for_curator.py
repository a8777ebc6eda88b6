"""Our stages in NeMo Curator's pipelines, called as its executors call them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.interop.nemo_curator import for_curator
from curator_audio.stages.alm import ALMDataBuilderStage
from curator_audio.stages.base import CompositeStage, WorkerInfo
from curator_audio.stages.general import GroupRecordsStage, PreserveByValueStage, RenameFieldsStage
from curator_audio.stages.io import ManifestWriterStage
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.resources import Resources
from curator_audio.stages.speech.sound import decode_sound, encode_wav
from curator_audio.tasks import AudioBatch, Record
from tests.extras import needs
from tests.segments import RATE, tone

curator = needs("nemo_curator.tasks")
AudioTask = curator.AudioTask
BaseStageAdapter = needs("nemo_curator.backends.base").BaseStageAdapter
TheirResources = needs("nemo_curator.stages.resources").Resources


@dataclass
class Repeat(RecordStage):
    """Makes ``n`` records of one, and none of what has no number."""

    name = "repeat"
    resources = Resources(cpus=0.5, gpus=0.25)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["n"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"part": "int"}

    def setup(self, worker: WorkerInfo) -> None:
        self.device = "GPU" if self.resources.wants_gpu else "CPU"

    def process_record(self, record: Record) -> Iterator[Record]:
        self.log_metric("repeats", record["n"])
        if record["n"] < 0:
            raise RecordError("negative", f"n is {record['n']}")
        return ({**record, "part": part} for part in range(record["n"]))


@dataclass
class Loudest(RecordStage):
    """Adds the largest sample of ``audio``."""

    name = "loudest"

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["audio"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"loudest": "float"}

    def process_record(self, record: Record) -> Record:
        samples, _ = decode_sound(record["audio"]["bytes"])
        return {**record, "loudest": round(float(samples.max()), 2)}


def tasks(*data: Record) -> list[Any]:
    made = [AudioTask(data=one, dataset_name="show") for one in data]
    for number, task in enumerate(made):
        task._set_task_id("0", number)
    return made


def run(stage: Any, given: list[Any]) -> list[Any]:
    """What an executor of theirs makes of tasks."""
    return list(BaseStageAdapter(stage).process_batch(given))


def test_a_record_stage_works_on_tasks_and_keeps_what_they_carry():
    import torch

    given = tasks({"sentence": "so be it", "waveform": torch.ones(3)})
    given[0]._metadata = {"from": "there"}

    (done,) = run(for_curator(RenameFieldsStage({"sentence": "text"})), given)

    assert dict(done.data) == {"text": "so be it", "waveform": given[0].data["waveform"]}
    assert (done.dataset_name, done._metadata, done.task_id) == ("show", {"from": "there"}, "0_0_0")
    assert done.data.text == "so be it"  # as their stages read it
    assert dict(given[0].data) == {"sentence": "so be it", "waveform": given[0].data["waveform"]}


def test_our_alm_stage_gives_there_what_theirs_gives():
    theirs = needs("nemo_curator.stages.audio.alm").ALMDataBuilderStage()
    entry = {
        "audio_filepath": "show.wav",
        "audio_sample_rate": 16000,
        "segments": [
            {"start": 8.0 * n, "end": 8.0 * n + 7, "speaker": f"s{n % 3}", "text": "a", "metrics": {"bandwidth": 8000}}
            for n in range(40)
        ],
    }

    (ours,) = run(for_curator(ALMDataBuilderStage()), tasks(entry))
    (other,) = run(theirs, tasks(entry))

    assert len(ours.data["windows"]) > 10
    assert ours.data["windows"] == other.data["windows"]
    assert ours.data["stats"] == other.data["stats"]


def test_dropped_split_and_bad_records_are_told_apart():
    stage = for_curator(Repeat()).with_(batch_size=8)

    one_each = run(stage, tasks({"n": 1}, {"n": 0}, {"n": -2}))
    several = run(stage, tasks({"n": 3}, {"n": 0}, {"n": 0}))
    of_one = run(stage, tasks({"n": 2}))

    assert [(task.data["n"], task.task_id) for task in one_each] == [(1, "0_0_0")]
    assert one_each[0]._stage_perf[-1].custom_metrics == {"repeats": -1, "quarantined_negative": 1}
    assert [task.data["part"] for task in several] == [0, 1, 2]
    assert all(task.task_id.startswith("r") for task in several)  # they are not one a task, though as many
    assert [task.task_id for task in of_one] == ["0_0_0", "0_0_1"]


def test_a_bad_record_is_a_failed_task():
    stage = for_curator(Repeat())

    assert [type(result).__name__ for result in stage.process_batch(tasks({"n": -1}, {"text": "a"}, {"n": 0}))] == [
        "FailedTask",
        "FailedTask",
        "NoneType",
    ]
    stage.is_source_stage = True
    with pytest.raises(RecordError, match="negative: n is -1"):
        stage.process_batch(tasks({"n": -1}))


def test_a_stage_of_sound_is_given_it_from_waveform_or_file(tmp_path):
    import torch

    (tmp_path / "a.wav").write_bytes(encode_wav(tone(0.1), RATE))
    stereo = torch.stack([torch.full((160,), 0.5), torch.full((160,), 0.25)])
    stage = for_curator(Loudest())

    done = stage.process_batch(
        tasks(
            {"waveform": stereo, "sample_rate": RATE},
            {"audio_filepath": str(tmp_path / "a.wav")},
            {"audio": {"bytes": encode_wav(np.full(9, 0.75, np.float32), RATE), "path": None}},
            {"audio_filepath": str(tmp_path / "b.wav")},
            {"waveform": "no sound"},
        )
    )

    assert [result.data["loudest"] for result in done[:3]] == [0.38, 0.5, 0.75]
    assert ["audio" in result.data for result in done[:3]] == [False, False, True]
    assert [type(result).__name__ for result in done[3:]] == ["FailedTask", "FailedTask"]


def test_resources_and_workers_are_the_stages_or_what_curator_is_told():
    stage = for_curator(Repeat().with_(num_workers=2))
    on_cpus = stage.with_(resources=TheirResources(cpus=1.0), num_workers=3)
    for one in (stage, on_cpus):
        one.setup_on_node()
        one.setup()
        one.teardown()

    assert (stage.name, stage.resources.cpus, stage.resources.gpus, stage.num_workers()) == ("repeat", 0.5, 0.25, 2)
    assert (stage.inputs(), stage.outputs()) == (([], ["n"]), ([], ["part"]))
    assert (stage.stage.device, on_cpus.stage.device, on_cpus.num_workers()) == ("GPU", "CPU", 3)


class Composite(CompositeStage[AudioBatch, AudioBatch]):
    def decompose(self) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (PreserveByValueStage, "is given the class PreserveByValueStage, not an instance of it"),
        ("preserve", "is given 'preserve'; give a stage"),
        (Composite(), "'Composite' is made of several stages"),
        (ManifestWriterStage("out"), "goes from AudioBatch to Part; for_curator takes stages from AudioBatch"),
        (GroupRecordsStage(["speaker"]), "'group_records' works on all records of a partition together"),
    ],
)
def test_a_stage_of_another_kind_is_refused(stage, message):
    with pytest.raises(ConfigurationError, match=message):
        for_curator(stage)
