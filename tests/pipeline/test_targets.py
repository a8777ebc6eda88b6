"""Executors and stages that other packages offer by entry points."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curator_audio.cli import main
from curator_audio.errors import ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.config import build_executor, build_pipeline, load_config
from curator_audio.pipeline.targets import class_named
from tests.packages import install

MODULE = """
from dataclasses import dataclass
from curator_audio.executors.local import LocalExecutor
from curator_audio.stages.record_stage import RecordStage

@dataclass
class Theirs(LocalExecutor):
    num_workers: int = 1
    name = "theirs"

@dataclass
class Shout(RecordStage):
    field: str
    times: int = 1

    def process_record(self, record):
        return {**record, self.field: record[self.field].upper() + "!" * self.times}

class NoStage: ...
"""
ENTRY_POINTS = """
[curator_audio.executors]
theirs = their_package:Theirs
gone = their_package:Gone
unimportable = no_such_module_of_theirs:Executor
local = their_package:Theirs

[curator_audio.stages]
shout = their_package:Shout
none = their_package:NoStage
"""
PIPELINE = """
executor: theirs
stages:
  - {_target_: curator_audio.stages.io.ManifestReaderStage, manifest_path: "???"}
  - {_target_: shout, field: text}
  - {_target_: curator_audio.stages.io.ManifestWriterStage, output_path: "${output_dir}/out.jsonl"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a pipeline of one's own, and their package installed."""
    install(tmp_path / "site", monkeypatch, ENTRY_POINTS, module=MODULE)
    (tmp_path / "mine.yaml").write_text(PIPELINE)
    yield tmp_path
    sys.modules.pop("their_package", None)


def test_a_run_with_their_executor_and_their_stage(folder: Path, capsys: Any) -> None:
    (folder / "in.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    words = ["--config-path", str(folder), "--config-name", "mine", f"stages.0.manifest_path={folder}/in.jsonl"]
    assert main([*words, f"output_dir={folder}/out", "stages.1.times=2"]) == 0
    assert [json.loads(line)["text"] for line in (folder / "out" / "out.jsonl").read_text().splitlines()] == [
        "A!!",
        "B!!",
    ]
    assert json.loads((folder / "out" / "metrics.json").read_text())["executor"] == "theirs"


@pytest.mark.parametrize("defaults", ["", "defaults: [run, {override executor: theirs}, _self_]"])
def test_their_executor_is_chosen_and_set_like_ours(defaults: str, folder: Path) -> None:
    (folder / "other.yaml").write_text(f"{defaults}\nname: other\n")
    words = [] if defaults else ["executor=theirs"]
    executor = build_executor(load_config("other", str(folder), [*words, "executor.num_workers=3"]))
    assert (executor.name, executor.num_workers) == ("theirs", 3)
    ours = load_config("pipeline", None, ["manifest_path=in.jsonl", "executor=theirs"])
    assert build_executor(ours).name == "theirs"
    assert (
        type(build_executor(load_config("other", str(folder), ["executor=local"]))) is LocalExecutor
    )  # ours goes first


def said(folder: Path, *overrides: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        config = load_config("mine", str(folder), ["stages.0.manifest_path=in.jsonl", "output_dir=out", *overrides])
        build_executor(config)
        build_pipeline(config)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("executor=thiers", "executor=thiers: there is no such executor; did you mean 'theirs'?"),
        ("executor.num_worker=2", "there is no 'num_worker' in executor; did you mean 'num_workers'?"),
        ("executor.num_workers=two", "executor: num_workers is 'two'; give a whole number"),
        ("stages.1.time=2", "there is no 'time' in stages.1; did you mean 'times'?"),
        ("stages.1.times=two", "stages.1: times is 'two'; give a whole number"),
        ("stages.1._target_=shuot", "stages.1: no installed package has a stage 'shuot'; did you mean 'shout'?"),
        ("stages.1._target_=none", "stages.1: none, of their-package 1.2, is not a subclass of ProcessingStage"),
        (
            "executor=gone",
            "executor: the executor 'gone' of package their-package 1.2 cannot be loaded: "
            "AttributeError: module 'their_package' has no attribute 'Gone'",
        ),
        ("executor=unimportable", "the executor 'unimportable' of package their-package 1.2 cannot be loaded: "),
    ],
)
def test_mistakes_are_told_in_a_line(override: str, expected: str, folder: Path) -> None:
    assert expected in said(folder, override)


def test_a_broken_package_does_not_hide_behind_its_parameters(folder: Path) -> None:
    assert "of package their-package 1.2 cannot be loaded" in said(folder, "executor=gone", "executor.num_workers=2")
    assert said(folder, "executor=gone").endswith("; mend the package, or uninstall it")


def test_two_packages_with_one_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(folder / "more", monkeypatch, "[curator_audio.stages]\nshout = b:Shout\n", name="another-one")
    with pytest.raises(ConfigurationError, match=r"another-one 1\.2 and their-package 1\.2 both have a stage 'shout'"):
        class_named("shout", "stages.1")


def test_they_are_listed(folder: Path, capsys: Any) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "executor=theirs        of their-package 1.2" in lines
    assert "_target_: shout        of their-package 1.2" in lines
    assert main(["--show", "pipeline"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("executor "))
    assert "; theirs, of their-package 1.2" in line
