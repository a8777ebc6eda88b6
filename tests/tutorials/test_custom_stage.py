"""The tutorial on a stage of one's own: from YAML, from Python, from wherever one stands."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from curator_audio.cli import main
from tests.extras import needs
from tests.tutorials.blocks import PYTHON, REPOSITORY, steps, text_of

TUTORIAL = REPOSITORY / "tutorials" / "custom_stage"


def printed_by(command: str) -> str:
    """What ``python FILE …`` prints, run in this process."""
    python, file, *arguments = shlex.split(command)
    assert python == "python"
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", [file, *arguments])
        if file == "main.py":
            assert main(arguments) == 0
        else:
            try:
                runpy.run_path(file, run_name="__main__")
            except SystemExit as error:
                assert not error.code
    return printed.getvalue()


def without_times(summary: str) -> str:
    return re.sub(r"(mean|total)=[\d.]+s", r"\1=…", summary)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tutorial's commands make in a folder with a checkout; its own tests run where ours do."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("main.py", "tutorials"):
        (folder / name).symlink_to(REPOSITORY / name)
    tests, *commands = steps("custom_stage")
    assert tests == ("pytest tutorials/custom_stage", "") and len(commands) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command, summary in commands:
            printed = printed_by(command)
            assert without_times(printed) == without_times(summary)
    return folder / "loudness"


def test_commands_print_what_the_tutorial_shows(output: Path) -> None:
    skipped = json.loads((output / "skipped.jsonl").read_text())
    assert skipped == {"recording": "whisper", "stage": "loudness", "skipped": {"quiet": 2}}


def test_the_field_is_a_column_of_the_output(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = needs("datasets")
    example = PYTHON.search(text_of("custom_stage"))
    assert example is not None
    monkeypatch.chdir(output.parent)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", output.parent / "cache")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(example[1], {})
    assert printed.getvalue() == example[2]


def test_code_in_the_tutorial_is_that_of_its_files() -> None:
    """But for docstrings, which the tutorial leaves out."""
    code = "".join(path.read_text(encoding="utf-8") for path in sorted(TUTORIAL.glob("*.py")))
    shown = [block.split("```")[0] for block in text_of("custom_stage").split("```python\n")[1:]]
    lines = [line for block in shown if "load_dataset" not in block for line in block.splitlines()]
    assert len(lines) > 30 and [line for line in lines if line not in code] == []


def test_parameters_are_overridden_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(TUTORIAL / "make_recordings.py"))["main"](str(tmp_path))
    command = ["--config-path", str(TUTORIAL), "--config-name", "pipeline", "executor=local"]
    command += [f"manifest_path={tmp_path}/manifest.jsonl", f"output_dir={tmp_path}/out", "output=webdataset"]
    assert main([*command, "stages.2.min_db=-20"]) == 0
    assert "skipped_quiet: 4" in capsys.readouterr().out
    for value, expected in (("3", "is 3; give a number of dB from -120 to 0"), ("loud", "is 'loud'; give a number")):
        assert main([*command, f"stages.2.min_db={value}"]) == 2
        assert capsys.readouterr().err == f"error: stages.2: min_db {expected}\n"


def test_workers_find_the_stage_too(tmp_path: Path, ray_session: None, ray_cluster: Any) -> None:
    runpy.run_path(str(TUTORIAL / "make_recordings.py"))["main"](str(tmp_path))
    options = ["--config-path", "tutorials/custom_stage", "--config-name", "pipeline"]
    values = [f"manifest_path={tmp_path}/manifest.jsonl", f"output_dir={tmp_path}/out"]
    values += ["executor=ray_actors", "executor.num_workers=1", f"executor.ray_address={ray_cluster.address}"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "curator_audio", *options, *values]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=REPOSITORY, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Output entries: 4" in done.stdout
