"""What the planner accepts, refuses, fuses and fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.pipeline.plan import Capacity, Plan, make_plan
from curator_audio.stages.alm import ALMDataBuilderStage, ALMDataOverlapStage
from curator_audio.stages.base import CompositeStage, ProcessingStage
from curator_audio.stages.general import (
    CallFunctionStage,
    DropFieldsStage,
    PreserveByValueStage,
    RenameFieldsStage,
    SelectFieldsStage,
)
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.resources import Resources
from curator_audio.tasks import AudioBatch, Partition, Task


@dataclass
class Spectrogram(Task):
    """A kind of task no stage here takes."""


class ToSpectrogram(ProcessingStage[AudioBatch, Spectrogram]):
    name = "to_spectrogram"

    def process(self, task: AudioBatch) -> Spectrogram:
        return Spectrogram()


class Encoder(ProcessingStage[AudioBatch, AudioBatch]):
    name = "encoder"
    resources = Resources(cpus=1, gpus=1)

    def process(self, task: AudioBatch) -> AudioBatch:
        return task


@dataclass
class Windows(CompositeStage[AudioBatch, AudioBatch]):
    """Builder and overlap filter in one."""

    overlap_percentage: float = 50

    name = "windows"

    def decompose(self) -> list[ProcessingStage[Any, Any]]:
        return [ALMDataBuilderStage(), ALMDataOverlapStage(self.overlap_percentage)]


@pytest.fixture
def plan(manifest: Path) -> Any:
    def make(*stages: Any) -> Plan:
        return make_plan("test", [ManifestReaderStage(str(manifest)), *stages, ManifestWriterStage("/tmp/out.jsonl")])

    return make


def names(plan: Plan) -> list[list[str]]:
    return [[stage.name for stage in group.stages] for group in plan.groups]


def test_cpu_stages_share_a_worker(plan: Any) -> None:
    assert names(plan(ALMDataBuilderStage(), ALMDataOverlapStage())) == [
        ["manifest_reader", "alm_data_builder", "alm_data_overlap", "manifest_writer"]
    ]


def test_another_kind_of_worker_splits_the_chain(plan: Any) -> None:
    split = plan(DropFieldsStage(["text"]), Encoder(), ALMDataBuilderStage().with_(num_workers=3))
    assert names(split) == [["manifest_reader", "drop_fields"], ["encoder"], ["alm_data_builder"], ["manifest_writer"]]


def test_composites_are_decomposed(plan: Any) -> None:
    stages = plan(Windows(overlap_percentage=30)).stages
    assert [stage.name for stage in stages[1:-1]] == ["alm_data_builder", "alm_data_overlap"]
    assert stages[2].overlap_percentage == 30


def refused(plan: Any, *stages: Any) -> str:
    with pytest.raises(ConfigurationError) as error:
        plan(*stages)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_types_that_do_not_fit_name_both_stages(plan: Any) -> None:
    message = refused(plan, ToSpectrogram(), ALMDataBuilderStage())
    assert "'alm_data_builder' takes AudioBatch, but 'to_spectrogram' before it gives Spectrogram" in message


def test_wrong_order_names_the_stage_that_comes_too_late(plan: Any) -> None:
    message = refused(plan, ALMDataOverlapStage(), ALMDataBuilderStage())
    assert "'alm_data_overlap' needs the field 'windows', which 'alm_data_builder' adds only later" in message


def test_a_field_that_nobody_makes(plan: Any) -> None:
    message = refused(plan, ALMDataOverlapStage())
    assert "'alm_data_overlap' needs the field 'windows', which no stage before it adds" in message


@pytest.mark.parametrize(
    "remover",
    [
        DropFieldsStage(["segments"]),
        SelectFieldsStage(["audio_filepath"]),
        RenameFieldsStage({"segments": "turns"}),
        ALMDataBuilderStage(drop_fields_top_level="segments").with_(name="first_builder"),
    ],
    ids=lambda stage: stage.name,
)
def test_a_field_that_was_removed_names_who_removed_it(plan: Any, remover: Any) -> None:
    message = refused(plan, remover, ALMDataBuilderStage())
    assert f"'alm_data_builder' needs the field 'segments', which '{remover.name}' has removed" in message


def test_fields_found_in_the_manifest_are_enough(manifest: Path, plan: Any) -> None:
    plan(RenameFieldsStage({"audio_filepath": "path"}))
    assert "no record at the start of the source has" in refused(plan, RenameFieldsStage({"audio": "path"}))


def test_a_function_may_add_and_remove_any_field(plan: Any) -> None:
    function = CallFunctionStage("builtins.dict")
    plan(function, PreserveByValueStage("num_turns", 3))
    plan(DropFieldsStage(["segments"]), function, ALMDataBuilderStage())
    assert "which 'drop_fields' has removed" in refused(
        plan, function, DropFieldsStage(["segments"]), ALMDataBuilderStage()
    )


def test_a_class_instead_of_a_stage(plan: Any) -> None:
    assert "stage 1 of pipeline 'test' is the class ALMDataBuilderStage, not an instance" in refused(
        plan, ALMDataBuilderStage
    )
    assert "stage 1 of pipeline 'test' is a str" in refused(plan, "alm")


def test_two_stages_of_one_name(plan: Any) -> None:
    message = refused(plan, DropFieldsStage(["a"]), DropFieldsStage(["b"]))
    assert "two stages named 'drop_fields'" in message


def test_ends(manifest: Path) -> None:
    reader, writer = ManifestReaderStage(str(manifest)), ManifestWriterStage("/tmp/out.jsonl")
    for stages, message in (
        ([], "has no stages"),
        ([DropFieldsStage(["a"]), writer], "starts with 'drop_fields'"),
        ([reader, DropFieldsStage(["a"])], "ends with 'drop_fields', which writes nothing"),
        ([reader, writer, writer.with_(name="second")], "'manifest_writer' stands in the middle"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            make_plan("test", stages)


# Fitting --------------------------------------------------------------------------------------------------------------


def workers(plan: Plan, capacity: Capacity, default: int | None = None) -> list[int]:
    return [group.num_workers for group in plan.fitted(capacity, default).groups]


def test_one_group_takes_all_cpus(plan: Any) -> None:
    assert workers(plan(), Capacity(cpus=8)) == [8]


def test_groups_share_what_is_there(plan: Any) -> None:
    split = plan(Encoder())
    assert workers(split, Capacity(cpus=8, gpus=2)) == [3, 2, 3]
    assert workers(split, Capacity(cpus=3, gpus=1)) == [1, 1, 1]


def test_a_fixed_number_is_kept(plan: Any) -> None:
    assert workers(plan(DropFieldsStage(["text"]).with_(num_workers=5)), Capacity(cpus=8)) == [2, 5, 1]
    assert workers(plan(), Capacity(cpus=8), default=3) == [3]


def test_a_gpu_the_cluster_lacks_is_an_error(plan: Any) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"'encoder' asks for 1 GPUs a worker, and there are 0; give stages\.1\.resources\.gpus=0",
    ):
        plan(Encoder()).fitted(Capacity(cpus=8))


def test_more_than_there_is(plan: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"together they ask for more CPUs than the 2 there are"):
        plan(Encoder()).fitted(Capacity(cpus=2, gpus=1))
    assert workers(plan(Encoder()), Capacity(cpus=2, gpus=1, oversubscribed=True)) == [1, 1, 1]
    with pytest.raises(ConfigurationError, match="more GPUs than the 2 there are"):
        plan(Encoder().with_(num_workers=3)).fitted(Capacity(cpus=16, gpus=2))
    with pytest.raises(ConfigurationError, match="'encoder' asks for 900 GB of memory"):
        plan(Encoder().with_(resources=Resources(memory_gb=900))).fitted(Capacity(cpus=2, memory_gb=16))


def test_gpu_memory_becomes_a_share_of_a_gpu(plan: Any) -> None:
    encoder = Encoder().with_(resources=Resources(cpus=1, gpu_memory_gb=20))
    fitted = plan(encoder).fitted(Capacity(cpus=8, gpus=1, gpu_memory_gb=80))
    assert fitted.groups[1].resources.gpus == 0.25
    assert [group.num_workers for group in fitted.groups] == [2, 4, 2]


def test_worker_numbers_are_whole(plan: Any) -> None:
    assert "num_workers of 'encoder' is 0" in refused(plan, Encoder().with_(num_workers=0))
    with pytest.raises(ConfigurationError, match=r"resources\.cpus is -1"):
        Resources(cpus=-1)


def test_readers_are_the_only_ones_to_take_partitions(plan: Any) -> None:
    class FromPartition(ProcessingStage[Partition, AudioBatch]):
        def process(self, task: Partition) -> AudioBatch:
            return AudioBatch([])

    assert "'FromPartition' takes Partition, but 'manifest_reader' before it gives AudioBatch" in refused(
        plan, FromPartition()
    )
