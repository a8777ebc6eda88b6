"""What is told of pipelines and their parameters."""

from __future__ import annotations

from pathlib import Path

from curator_audio.pipeline.config import available, pipelines_folder
from curator_audio.report.catalogue import parameter_list, pipeline_list

PIPELINE = """\
# Counts words: of every text. And more
# of that.
#
#   python main.py
defaults:
  - output: plain # plain or fancy
  - _self_

name: words
manifest_path: ??? # what is read
output_path: ${output_dir}/words # where to

stages:
  # 0
  - _target_: my.Reader
    name: reader
    manifest_path: ${manifest_path}
    limit: null # at most so many
    resources: {cpus: 1, gpus: 0} # of a worker
  # 1
  - ${output}
after:
  - _target_: my.Step
    upload: false
"""


def test_a_pipelines_parameters(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text(PIPELINE)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "plain.yaml").write_text("_target_: my.Writer\nwidth: 3 # of a line\n")
    assert pipeline_list(tmp_path) == "words  Counts words"
    assert parameter_list(tmp_path, "words", tmp_path).splitlines() == [
        "words: Counts words",
        "",
        "output              plain                plain or fancy",
        "output.width        3                    of a line",
        "manifest_path       (must be given)      what is read",
        "output_path         ${output_dir}/words  where to",
        "stages.0.limit      null                 at most so many",
        "stages.0.resources  {cpus: 1, gpus: 0}   of a worker",
        "after.0.upload      false",
    ]


def test_run_options_stand_before_the_stages(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("defaults: [{executor: a}]\noutput_dir: null # where\ndry_run: false # stop\n")
    (tmp_path / "executor").mkdir()
    (tmp_path / "executor" / "a.yaml").write_text("_target_: A\nworkers: 3\n")
    (tmp_path / "executor" / "b.yaml").write_text("_target_: B\n")
    (tmp_path / "one.yaml").write_text("defaults: [run]\noutput_dir: x # its own\nstages: [{_target_: S, limit: 1}]\n")
    (tmp_path / "two.yaml").write_text("defaults: [{override executor: b}]\n")
    assert pipeline_list(tmp_path).split() == ["one", "two"]
    assert [line.split() for line in parameter_list(tmp_path, "one", tmp_path).splitlines()[2:]] == [
        ["executor", "a", "a,", "b"],
        ["executor.workers", "3"],
        ["output_dir", "x", "its", "own"],
        ["dry_run", "false", "stop"],
        ["stages.0.limit", "1"],
    ]
    names = [line.split()[0] for line in parameter_list(tmp_path, "two", tmp_path).splitlines()[2:]]
    assert names == ["executor", "output_dir", "dry_run"]


def test_every_pipeline_of_the_package_is_told() -> None:
    folder = pipelines_folder()
    names = [line.split()[0] for line in pipeline_list(folder).splitlines()]
    assert names == available(folder)
    for name in names:
        lines = parameter_list(folder, name, folder).splitlines()
        assert not lines[0].endswith(": ")
        for option in ("output_dir", "executor", "on_error", "overwrite", "dry_run", "storage_options"):
            assert sum(line.startswith(f"{option} ") for line in lines) == 1
