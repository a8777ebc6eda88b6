"""The tutorial from segments to a dataset on the Hub: its commands, in order, print what it shows."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.extras import needs
from tests.hub_server import TOKEN, serving_hub
from tests.tutorials.blocks import PYTHON, REPOSITORY, comparable, steps, text_of


def test_commands_print_what_the_tutorial_shows(tmp_path: Path) -> None:
    needs("huggingface_hub")
    for name in ("main.py", "tutorials"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    with serving_hub() as hub:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HOME": str(tmp_path / "hub")}
        environment |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}

        def run(*arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, *arguments], capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        commands = {command: shown for command, shown in steps("interleaved") if "interleaved_codes" not in command}
        (publish,) = (command for command in commands if "publish" in command)
        shown = commands.pop(publish)
        assert len(commands) == 3
        for command, summary in commands.items():
            printed = run(*shlex.split(command)[1:])
            assert comparable(printed) == comparable(summary or printed)
        script = PYTHON.search(text_of("interleaved"))
        assert script is not None and run("-c", script[1]) == script[2]
        assert "send data/train-0000-of-0002.parquet" in run(*shlex.split(publish)[1:])
        assert hub.repos == {}
        assert comparable(run(*shlex.split(publish.replace("dry_run=true", ""))[1:])) == comparable(shown)
        assert sorted(hub.files("me/my-dataset")) == [
            "README.md",
            "data/train-0000-of-0002.parquet",
            "data/train-0001-of-0002.parquet",
        ]
