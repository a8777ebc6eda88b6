"""The tutorial from recordings to pairs: its commands, in order, print what it shows."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
README = REPOSITORY / "tutorials" / "voice_cloning" / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng speaks the recordings"),
    pytest.mark.skipif(importlib.util.find_spec("neucodec") is None, reason="the extra codec is not installed"),
]


def steps() -> Iterator[tuple[str, str]]:
    """Every command, and the summary shown behind it, if any; not those to a store that is not here."""
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    for (kind, block), (next_kind, output) in zip(blocks, [*blocks[1:], ("", "")]):
        if kind == "bash" and "s3://" not in block:
            yield block.replace("\\\n", " ").strip(), output if next_kind == "text" else ""


def comparable(summary: str) -> str:
    """A summary without times and durations, which depend on the machine and the version of espeak-ng."""
    summary = re.sub(r"num_batches: \d+", "num_batches: …", summary)
    return re.sub(r"\d+\.\d+", "…", summary)


def test_commands_print_what_the_tutorial_shows(tmp_path: Path) -> None:
    for name in ("main.py", "tutorials"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    commands = list(steps())
    assert len(commands) == 7
    for command, summary in commands:
        program, *arguments = shlex.split(command)
        assert program == "python"
        printed = run(*arguments)
        assert comparable(printed) == comparable(summary or printed)
    script = re.search(r"<!-- python -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert script is not None
    sentence, pairs = run("-c", script[1]).splitlines()
    assert re.fullmatch(r"A bee visits a thousand flowers for one gram of honey\. \d{3} codes", sentence)
    assert pairs.startswith("30 pairs of anna: ") and "→" in pairs
