"""Pipelines in YAML: what may be written, and what is said about mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.executors.ray_actors import RayActorsExecutor
from curator_audio.finalizers import JoinParts, PublishToHub, SaveToDisk
from curator_audio.pipeline.config import (
    available,
    build_executor,
    build_pipeline,
    load_config,
    pipelines_folder,
)
from curator_audio.stages.resources import Resources


def load(*overrides: str) -> dict[str, Any]:
    return load_config("pipeline", None, ["manifest_path=in.jsonl", *overrides])


def message(*overrides: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        config = load(*overrides)
        build_executor(config)
        build_pipeline(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_defaults() -> None:
    config = load()
    assert config["output_dir"] == "./alm_output"
    assert isinstance(build_executor(config), RayActorsExecutor)
    pipeline = build_pipeline(config)
    assert [stage.name for stage in pipeline.stages] == [
        "alm_manifest_reader",
        "alm_data_builder",
        "alm_data_overlap",
        "alm_manifest_writer",
    ]
    assert pipeline.stages[2].overlap_percentage == 50  # type: ignore[attr-defined]


def test_overrides_reach_stages_by_their_place() -> None:
    config = load(
        "stages.1.min_speakers=3", "stages.1.max_speakers=6", "stages.2.overlap_percentage=30", "executor=local"
    )
    stages: Any = build_pipeline(config).stages
    assert (stages[1].min_speakers, stages[1].max_speakers, stages[2].overlap_percentage) == (3, 6, 30)
    assert isinstance(build_executor(config), LocalExecutor)


def test_resources_and_workers_may_stand_on_any_stage() -> None:
    config = load(
        "stages.1.num_workers=4", "stages.1.resources.cpus=0.5", "stages.2.name=overlap", "executor.num_workers=2"
    )
    stages = build_pipeline(config).stages
    assert stages[1].num_workers() == 4
    assert stages[1].resources == Resources(cpus=0.5)
    assert stages[2].name == "overlap"
    assert build_executor(config).num_workers == 2


def test_keys_can_be_added_and_taken_out() -> None:
    added = load("+stages.1.resources.cpus=2", "++stages.2.name=overlap", "~stages.1.tolerance")
    assert added["stages"][1]["resources"] == {"cpus": 2}
    assert added["stages"][2]["name"] == "overlap"
    assert "tolerance" in load()["stages"][1] and "tolerance" not in added["stages"][1]


def test_an_empty_mapping_takes_any_key() -> None:
    config = load_config(
        "dataset",
        None,
        [
            "input_path=in",
            "channel_mapping={Atheer_-: Atheer, b c: d}",
            "storage_options={endpoint_url: 'http://a:9000'}",
        ],
    )
    assert config["channel_mapping"] == {"Atheer_-": "Atheer", "b c": "d"}
    assert config["storage_options"] == {"endpoint_url": "http://a:9000"}
    config = load_config("dataset", None, ["input_path=in", "channel_mapping.Atheer_-=Atheer"])
    assert config["channel_mapping"] == {"Atheer_-": "Atheer"}


@pytest.mark.parametrize(
    "path", ["data/*.jsonl", "a b/c=d.jsonl", "s3://bucket/x,y/(1).jsonl", "it's.jsonl", "données.jsonl"]
)
def test_paths_need_no_quoting(path: str) -> None:
    assert load(f"manifest_path={path}")["stages"][0]["manifest_path"] == path


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("stages.1.min_speekers=3", "there is no 'min_speekers' in stages.1; did you mean 'min_speakers'?"),
        ("manifst_path=x", "there is no 'manifst_path'; did you mean 'manifest_path'?"),
        ("executor=ray_actor", "executor=ray_actor: there is no such executor; did you mean 'ray_actors'?"),
        ("executor.num_worker=2", "there is no 'num_worker' in executor; did you mean 'num_workers'?"),
        ("min_speakers=3", "there is no 'min_speakers' at the top; write stages.1.min_speakers=3"),
        ("resources={cpus: 1}", "there is no 'resources'; there are executor, "),
        ("stages.4.name=x", "'stages' has the items 0 to 3, not '4'"),
        ("stages.builder.name=x", "'stages' has the items 0 to 3, not 'builder'"),
        ("stages.1.tolerance.x=1", "'stages.1.tolerance' is a value and has no 'x'"),
        ("input.jsonl", "'input.jsonl' is not an override; write key=value"),
        ("segment", "'segment' is not an override; write --config-name segment"),
        ("stages.1._target_=curator_audio.stages.alm.Nothing", "stages.1: 'Nothing' is not there in module"),
        ("stages.1._target_=no.such.Stage", "stages.1: 'no.such.Stage' cannot be imported"),
        ("stages.1._target_=pathlib.Path", "stages.1: pathlib.Path is not a subclass of ProcessingStage"),
        ("stages.1._target_=os.system", "stages.1: os.system is not a subclass of ProcessingStage"),
        ("stages.1.resources.gpu=1", "stages.1.resources.gpu is not known; did you mean 'gpus'?"),
        ("stages.1.target_window_duration=-1", "stages.1: target_window_duration"),
        ("stages=[]", "the configuration has no stages"),
        ("~stages.0.manifest_path", "stages.0: ManifestReaderStage needs 'manifest_path'"),
        ("~stages.0.nothing", "~stages.0.nothing: there is no 'stages.0.nothing' to take out"),
        ("~stages.9.name", "~stages.9.name: there is no 'stages.9.name' to take out"),
    ],
)
def test_mistakes_are_told_in_a_line(override: str, expected: str) -> None:
    assert expected in message(override)


def test_a_missing_value_names_the_key() -> None:
    with pytest.raises(ConfigurationError, match="manifest_path is not set; add manifest_path=…"):
        load_config("pipeline", None, [])


def test_the_reader_is_chosen_by_a_name() -> None:
    overrides = ["input_path=in", "input=npz", "input.sample_rate=24000", "input.num_workers=3"]
    reader: Any = build_pipeline(load_config("dataset", None, overrides)).stages[0]
    assert (type(reader).__name__, reader.sample_rate, reader.num_workers()) == ("NpzReaderStage", 24000, 3)
    reader = build_pipeline(load_config("dataset", None, ["input_path=in", "input.columns=[text]"])).stages[0]
    assert (type(reader).__name__, reader.columns) == ("SegmentParquetReaderStage", ["text"])


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sample_rate=24000", "there is no 'sample_rate'; there are "),
        ("input=nps", "input=nps: there is no such input; did you mean 'npz'?"),
        ("input.colums=[text]", "input.colums=[text]: there is no 'colums' in input; did you mean 'columns'?"),
        ("input.sample_rate=24000", "there is no 'sample_rate' in input"),
        ("stages.0.columns=[text]", "stages.0.columns=[text]: 'stages.0' is ${input}; set input.columns instead"),
        ("stages.0.resources.cpus=2", "'stages.0' is ${input}; set input.resources.cpus instead"),
        ("input.partition_size_mb=-1", "stages.0: partition_size_mb is -1; give a number of MB"),
    ],
)
def test_mistakes_about_a_chosen_reader(override: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        build_pipeline(load_config("dataset", None, ["input_path=in", override]))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_a_missing_value_that_others_take_up_names_its_key() -> None:
    with pytest.raises(ConfigurationError, match=r"^input_path is not set; add input_path=…"):
        load_config("dataset", None, [])


def test_a_choice_that_a_pipeline_does_not_have() -> None:
    with pytest.raises(ConfigurationError, match="pipeline 'pipeline' has no 'input' to choose; leave input=… out"):
        load("input=npz")


def test_a_pipeline_of_ones_own_finds_the_executors(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [{executor: local}, _self_]\nname: mine\nstages: []\n")
    assert isinstance(build_executor(load_config("mine", str(tmp_path), [])), LocalExecutor)
    assert isinstance(build_executor(load_config("mine", str(tmp_path), ["executor=ray_actors"])), RayActorsExecutor)


def test_a_limit_reaches_the_reader_of_ones_own_pipeline(tmp_path: Path) -> None:
    reader = "_target_: curator_audio.stages.io.ManifestReaderStage, manifest_path: in.jsonl"
    (tmp_path / "mine.yaml").write_text(f"stages: [{{{reader}}}]\n")
    (tmp_path / "other.yaml").write_text("stages: [{_target_: curator_audio.stages.general.DropFieldsStage}]\n")
    stage: Any = build_pipeline(load_config("mine", str(tmp_path), ["limit=3"])).stages[0]
    assert stage.limit == 3
    with pytest.raises(ConfigurationError, match=r"limit is 3, and .*DropFieldsStage has none"):
        build_pipeline(load_config("other", str(tmp_path), ["limit=3"]))


@pytest.mark.parametrize(
    "defaults",
    [
        "defaults: [run, {override executor: local}, _self_]",
        "defaults: [{executor: local}, _self_]",
        "executor: local",
        "executor: {_target_: curator_audio.executors.local.LocalExecutor}",
    ],
)
def test_a_pipeline_of_ones_own_takes_the_run_options(defaults: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"{defaults}\non_error: raise\noutput_path: x\n")
    given = ["dry_run=true", "storage_options.region=eu", "scratch_budget_gb=3"]
    config = load_config("mine", str(tmp_path), given)
    assert config["name"] == "mine"
    assert isinstance(build_executor(config), LocalExecutor)
    assert {
        key: config[key] for key in config if key not in ("executor", "name", "output_path", "publish", "after")
    } == {
        "limit": None,
        "on_error": "raise",
        "overwrite": False,
        "dry_run": True,
        "scratch_budget_gb": 3,
        "storage_options": {"region": "eu"},
    }
    config = load_config("mine", str(tmp_path), ["executor=ray_actors", "executor.num_workers=2", "output_dir=out"])
    assert (build_executor(config).num_workers, config["output_dir"]) == (2, "out")
    with pytest.raises(ConfigurationError, match="there is no 'dryrun'; did you mean 'dry_run'"):
        load_config("mine", str(tmp_path), ["dryrun=true"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("executor: locl", "executor=locl: there is no such executor; did you mean 'local'?"),
        ("defaults: [run, {executor: local}, _self_]", "To override a value use 'override executor: local'"),
        ("output_path: ${output_dir}/data", "output_dir is None; give a folder, as output_dir=… in the command"),
        ("output_path: ${nowhere}/data", "'nowhere' not found"),
        ("executor: 3", "executor is 3; give one by its name, such as executor=ray_actors"),
        ("3", "Invalid loaded object type: int"),
    ],
)
def test_mistakes_in_a_pipeline_of_ones_own(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as error:
        build_executor(load_config("mine", str(tmp_path), []))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_the_file_of_run_options_is_no_pipeline(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no pipeline 'run'"):
        load_config("run", None, [])
    assert "run" not in available(pipelines_folder())
    (tmp_path / "run.yaml").write_text("defaults: [run, _self_]\nstages: []\n")  # one's own pipeline of that name
    assert available(tmp_path) == ["run"]
    with pytest.raises(ConfigurationError, match=r"lead back to itself; a file run\.yaml beside it .* rename it"):
        load_config("run", str(tmp_path), [])


def test_our_pipelines_repeat_no_run_option_that_says_the_same() -> None:
    def lines(name: str) -> list[str]:
        return (pipelines_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()

    options = {line for line in lines("run") if re.match(r"\w+: ", line)}
    for name in available(pipelines_folder()):
        assert lines(name)[lines(name).index("defaults:") + 1].startswith("  - run #")
        assert not options.intersection(lines(name))


def test_pipelines_and_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no pipeline 'pipelin' .*; did you mean 'pipeline'\?"):
        load_config("pipelin", None, [])
    with pytest.raises(ConfigurationError, match=r"--config-path .*/nowhere is not a folder"):
        load_config("pipeline", str(tmp_path / "nowhere"), [])
    for name, folder in (("./mine.yaml", "."), ("tutorials/a/mine", "tutorials/a"), ("/tutorials/mine", "/tutorials")):
        with pytest.raises(ConfigurationError, match=f"; write --config-path {folder} --config-name mine$"):
            load_config(name, None, [])


def test_broken_yaml_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("stages: [\n")
    with pytest.raises(ConfigurationError) as error:
        load_config("broken", str(tmp_path), [])
    assert "broken" in str(error.value) and "\n" not in str(error.value)


# Completing the output -----------------------------------------------------------------------------------------


def test_any_pipeline_publishes_where_a_repository_is_given() -> None:
    given = ["publish.repo_id=me/talks", "publish.private=false", "publish.tags=[audio]", "save_to_disk=saved"]
    steps = build_pipeline(load_config("pairs", None, ["input_path=in", *given])).after
    assert [type(step) for step in steps] == [SaveToDisk, PublishToHub]
    assert steps[1] == PublishToHub("me/talks", private=False, tags=["audio"])
    for name in ("pairs", "pipeline"):
        source = "input_path=in" if name == "pairs" else "manifest_path=in"
        steps = build_pipeline(load_config(name, None, [source, "publish.license=mit"])).after
        assert not any(isinstance(step, PublishToHub) for step in steps)
    (step,) = build_pipeline(load_config("publish", None, ["input_path=in", "repo_id=me/a", "license=mit"])).after
    assert step == PublishToHub("me/a", license="mit")


@pytest.mark.parametrize("name", available(pipelines_folder()))
def test_every_pipeline_that_makes_a_dataset_names_its_publishing(name: str) -> None:
    others = {"pipeline", "bandwidth", "batch_lists", "transfer"}
    assert ("\npublish:" in (pipelines_folder() / f"{name}.yaml").read_text(encoding="utf-8")) == (name not in others)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("publish=me/talks", "publish is 'me/talks'; give publish.repo_id=namespace/name"),
        ("publish.repo_id=talks", "publish: repo_id is 'talks'; give namespace/name"),
        ("publish.repo=me/talks", "there is no 'repo' in publish; did you mean 'repo_id'?"),
        ("publish.num_files_per_commit=0", "publish: num_files_per_commit is 0"),
    ],
)
def test_mistakes_about_publishing(override: str, expected: str) -> None:
    assert expected in message(override)


@pytest.mark.parametrize(
    ("target", "cls"),
    [
        ("curator_audio.stages.after.JoinParts", JoinParts),
        ("curator_audio.stages.after.join_parts.JoinParts", JoinParts),
        ("curator_audio.stages.after.SaveToDisk", SaveToDisk),
        ("curator_audio.stages.hub.PublishToHub", PublishToHub),
        ("curator_audio.stages.hub.publish.PublishToHub", PublishToHub),
    ],
)
def test_classes_are_found_where_they_were(target: str, cls: type) -> None:
    parameters = {JoinParts: {}, SaveToDisk: {"path": None}, PublishToHub: {"repo_id": "me/talks"}}[cls]
    config = load()
    config["after"] = [{"_target_": target, **parameters}]
    (step,) = build_pipeline(config).after
    assert type(step) is cls


# As pasted from JSON -------------------------------------------------------------------------------------------


def test_mappings_and_lists_may_be_json() -> None:
    overrides = [
        'channel_mapping={"Atheer_-": "Atheer - أثير", "a b": "c"}',
        'channels=["Atheer - أثير", "it\'s {here}"]',
        'stages.1.resources={"cpus": 0.5}',
        '+storage_options={"region": "eu-west-1"}',
    ]
    config = load_config("segment", None, ["manifest_path=in.jsonl", *overrides])
    assert config["channel_mapping"] == {"Atheer_-": "Atheer - أثير", "a b": "c"}
    assert config["stages"][0]["channel_mapping"] == config["channel_mapping"]
    assert config["channels"] == ["Atheer - أثير", "it's {here}"]
    assert config["stages"][1]["resources"] == {"cpus": 0.5}
    assert config["storage_options"] == {"region": "eu-west-1"}


@pytest.mark.parametrize(
    ("pasted", "expected"),
    [
        ("""{"Atheer_-": "Atheer - أثير", "a.b": "it's {c}"}""", {"Atheer_-": "Atheer - أثير", "a.b": "it's {c}"}),
        ("{'Atheer_-': 'Atheer - أثير', 'a b': \"it's\"}", {"Atheer_-": "Atheer - أثير", "a b": "it's"}),
        ("{أثير: Atheer, a b: c}", {"أثير": "Atheer", "a b": "c"}),
        ('\'{"Atheer_-": "Atheer - أثير"}\'', {"Atheer_-": "Atheer - أثير"}),
        ("{}", {}),
    ],
)
def test_a_mapping_as_json_python_and_yaml_write_it(pasted: str, expected: dict[str, str]) -> None:
    config = load_config("segment", None, ["manifest_path=in.jsonl", f"channel_mapping={pasted}"])
    reader: Any = build_pipeline(config).stages[0]
    assert reader.channel_mapping == expected


def test_json_in_json_and_below_a_key() -> None:
    nested = {"config_kwargs": {"a b": [1, {"ç": None}]}}
    overrides = [f"storage_options={json.dumps(nested)}", '+storage_options.x={"y z": [["w"]]}']
    config = load_config("dataset", None, ["input_path=in", *overrides])
    assert config["storage_options"] == {**nested, "x": {"y z": [["w"]]}}


def test_json_in_a_text_of_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        """stages: [{_target_: curator_audio.stages.general.RenameFieldsStage, names: '{"a b": "أثير"}'}]\n"""
    )
    stage: Any = build_pipeline(load_config("mine", str(tmp_path), [])).stages[0]
    assert stage.names == {"a b": "أثير"}


def test_json_replaces_what_was_there() -> None:
    config = load_config("encode", None, ["input_path=in", 'stages.1.resources={"cpus": 2}'])
    assert config["stages"][1]["resources"] == {"cpus": 2}


def test_json_for_a_name_that_does_not_exist() -> None:
    assert message('channel_maping={"a": "b"}').startswith("channel_maping={")
    assert "there is no 'channel_maping'" in message('channel_maping={"a": "b"}')


def test_brackets_that_are_no_json_are_text() -> None:
    assert load("manifest_path={a,b}")["manifest_path"] == "{a,b}"
    assert load("manifest_path=[ab]*.jsonl")["manifest_path"] == "[ab]*.jsonl"
