"""The tutorial from recordings to pairs: its commands, in order, print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.extras import needs, needs_program
from tests.tutorials.blocks import PYTHON, REPOSITORY, comparable, steps, text_of


def test_commands_print_what_the_tutorial_shows(tmp_path: Path) -> None:
    needs("neucodec")
    needs_program("espeak-ng")
    for name in ("main.py", "tutorials"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    commands = list(steps("voice_cloning"))
    assert len(commands) == 7
    for command, summary in commands:
        program, *arguments = shlex.split(command)
        assert program == "python"
        printed = run(*arguments)
        assert comparable(printed) == comparable(summary or printed)
    script = PYTHON.search(text_of("voice_cloning"))
    assert script is not None
    sentence, pairs = run("-c", script[1]).splitlines()
    assert re.fullmatch(r"A bee visits a thousand flowers for one gram of honey\. \d{3} codes", sentence)
    assert pairs.startswith("30 pairs of anna: ") and "→" in pairs
