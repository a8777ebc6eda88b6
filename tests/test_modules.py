"""Nothing that happens to lie in the current folder is run, and a stage of one's own is found there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = REPOSITORY / "tutorials" / "alm_windows" / "sample.jsonl"
TRAPS = ("hydra", "loguru", "orjson", "fsspec", "numpy", "pyarrow", "ray", "simplejson", "brotli", "yaml")
"""Of what is installed, and of what libraries look for if it is."""


PIPELINE = """
defaults: [{executor: local}, _self_]
name: own
manifest_path: ???
output_dir: out
overwrite: true
stages:
  - {_target_: curator_audio.stages.io.ManifestReaderStage, manifest_path: "${manifest_path}"}
  - {_target_: TARGET}
  - {_target_: curator_audio.stages.io.ManifestWriterStage, output_path: "${output_dir}/parts"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a checkout in it, and a trap for every library in both."""
    for place in ("data", "checkout"):
        (tmp_path / place).mkdir()
        for name in TRAPS:
            (tmp_path / place / f"{name}.py").write_text("raise SystemExit(f'{__file__} was run')")
    shutil.copy(REPOSITORY / "main.py", tmp_path / "checkout")
    (tmp_path / "checkout/curator_audio").symlink_to(REPOSITORY / "curator_audio")
    return tmp_path


def run(cwd: Path, *arguments: object, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    values = [f"manifest_path={SAMPLE}", "output_dir=out"]
    command = [sys.executable, *map(str, arguments), *values]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("place", ["data", "checkout"])
@pytest.mark.parametrize("how", ["script", "module"])
def test_the_current_folder_and_that_of_the_script(folder: Path, how: str, place: str) -> None:
    command = [folder / "checkout/main.py"] if how == "script" else ["-m", "curator_audio"]
    path = str(REPOSITORY) if (how, place) == ("module", "data") else ""
    result = run(folder / place, *command, "executor=local", path=path)
    assert (result.returncode, result.stdout[:17]) == (0, "PIPELINE COMPLETE"), result.stderr


@pytest.mark.ray
def test_workers_of_ray(folder: Path) -> None:
    result = run(folder / "data", folder / "checkout/main.py", "executor=ray_actors", "executor.num_cpus=2")
    assert (result.returncode, result.stdout[:17]) == (0, "PIPELINE COMPLETE"), result.stderr


def test_a_stage_of_ones_own_beside_its_pipeline_and_in_the_current_folder(folder: Path) -> None:
    code = """
from mine_too import NAME
from curator_audio.stages.record_stage import RecordStage
class Mine(RecordStage):
    name = NAME
    def process_record(self, record):
        return {"audio_filepath": record["audio_filepath"], "segments": []}
"""
    own = folder / "own"
    (own / "stages").mkdir(parents=True)
    for module, place in (("mine_1", own), ("mine_2", folder / "data"), ("stages.mine_3", own), ("numpy", own)):
        (place / f"{module.replace('.', '/')}.py").write_text(code)
    (folder / "data/mine_too.py").write_text("NAME = 'mine'")
    for number, target in enumerate(("mine_1", "mine_2", "stages.mine_3", "numpy")):
        text = PIPELINE.replace("TARGET", f"{target}.Mine")
        (own / f"p{number}.yaml").write_text(text)
    for number in range(3):
        options = ["--config-path", own, "--config-name", f"p{number}"]
        result = run(folder / "data", REPOSITORY / "main.py", *options)
        assert result.returncode == 0 and "[mine]" in result.stdout, result.stderr
    result = run(folder / "data", REPOSITORY / "main.py", "--config-path", own, "--config-name", "p3")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "'Mine' is not there in module numpy; " in line and "numpy/__init__.py goes before" in line
    assert line.endswith("rename yours")
