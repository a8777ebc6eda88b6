"""Run the commands of the README as they stand there, each block in a virtual environment of its own.

    python3 .ci/readme.py list              # the names of the blocks, in order
    python3 .ci/readme.py run NAME WORK     # one of them, in the root of a checkout; its environment is WORK/NAME

A block of commands stands behind ``<!-- command: NAME -->``, or ``<!-- elsewhere: WHY -->`` where it is not run. It
gets the package as Set-up installs it, unless the block itself begins with ``pip install``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

BLOCK = re.compile(r"(?:<!-- (command|elsewhere): (.+?) -->\n)?```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SET_UP = "pip install -c constraints.txt -e ."

WITHOUT_GPU = "'stages.1.resources={cpus: 1, gpus: 0}' stages.1.model=random-tiny"
AMENDED = {
    "codes": ("output_dir=s3://bucket/codes", f"output_dir=s3://bucket/codes {WITHOUT_GPU}"),
    "publish": ("export HF_TOKEN=…\n", ""),  # it stands in the environment
}
"""What cannot be done as it stands: a GPU and weights from the Hub, a token that nobody else has."""


def blocks(text: str) -> dict[str, str]:
    """The commands of every block that is run, by its name.

    Raises:
        SystemExit: a block has no mark, or two have the same name.
    """
    found: dict[str, str] = {}
    for kind, name, block in BLOCK.findall(text):
        if not kind:
            sys.exit(f"README.md: a block of commands has no mark: {block.strip().splitlines()[0]}")
        if kind == "command":
            if name in found:
                sys.exit(f"README.md has two commands named {name!r}")
            found[name] = block.strip()
    return found


def run(name: str, command: str, folder: Path) -> int:
    """Run a block in a fresh environment; returns its exit status."""
    venv.create(folder, with_pip=True, symlinks=True)
    environment: Mapping[str, str] = {
        **{key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")},
        "VIRTUAL_ENV": str(folder),
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
    }
    before, after = AMENDED.get(name, ("", ""))
    command = command.replace(before, after) if before else command
    if not command.startswith("pip install"):
        command = f"{SET_UP}\n{command}"
    print(f"\n=== README, {name}:\n{command}", flush=True)
    return subprocess.run(["bash", "-euo", "pipefail", "-c", command], env=environment).returncode


def main(arguments: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    commands = blocks(Path("README.md").read_text(encoding="utf-8"))
    if arguments == ["list"]:
        print("\n".join(commands))
        return 0
    _, name, work = arguments
    return run(name, commands[name], Path(work) / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
