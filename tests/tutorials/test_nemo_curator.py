"""The tutorial on NeMo Curator: its commands, in order, print what it shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.extras import needs, needs_program
from tests.tutorials.blocks import REPOSITORY, comparable, steps

needs("nemo_curator")
needs("silero_vad")


@pytest.mark.ray
@pytest.mark.slow
def test_commands_print_what_the_tutorial_shows(tmp_path: Path) -> None:
    needs_program("espeak-ng")
    for name in ("main.py", "tutorials"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    commands = list(steps("nemo_curator"))
    assert len(commands) == 4
    for command, shown in commands:
        program, *arguments = shlex.split(command)
        assert program == "python"
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=280,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        assert done.returncode == 0, done.stderr
        assert comparable(done.stdout) == comparable(shown or done.stdout)
    assert len((tmp_path / "windows.jsonl").read_text().splitlines()) == 5
