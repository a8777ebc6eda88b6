"""Processes of their own for tests, forked from one that has imported already what they all need.

A new interpreter takes a third of a second to import the package, which a hundred tests would each wait for.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent

_forking = multiprocessing.get_context("forkserver")
# Not what reads the environment when it is imported, as the client of the Hub does.
_forking.set_forkserver_preload(
    [
        "tests.processes",
        "curator_audio.cli",
        "curator_audio.executors.local",
        "curator_audio.pipeline.config",
        "curator_audio.pipeline.run",
        "curator_audio.stages.alm",
        "curator_audio.stages.io.parquet_writer",
        "curator_audio.stages.speech",
        "curator_audio.stages.transfer",
        "curator_audio.storage.s3_filesystem",
        "pyarrow.parquet",
    ]
)


def run_python(
    code: str | Path, *arguments: object, env: Mapping[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a script, or code, in a process of its own and in the repository's folder, as ``python`` would.

    Args:
        code: a path, or the code itself.
        arguments: those of its command line.
        env: the environment; None for that of this process.
        timeout: how many seconds it may take.

    Returns:
        What ``subprocess.run`` gives; the status is negative where a signal ended it.
    """
    words = [*map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/out", f"{folder}/err"]
        process = _forking.Process(target=_run, args=(code, words, dict(os.environ if env is None else env), paths))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([str(code), *words], timeout)
        said = [Path(path).read_text() if Path(path).exists() else "" for path in paths]
    assert process.exitcode is not None
    return subprocess.CompletedProcess([str(code), *words], process.exitcode, *said)


def _run(code: str | Path, arguments: list[str], environment: dict[str, str], paths: list[str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(REPOSITORY)
    for stream, path in zip((sys.stdout, sys.stderr), paths):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream.fileno())
        os.close(file)
    if isinstance(code, Path):
        sys.argv = [str(code), *arguments]
        sys.path.insert(0, str(code.parent))
        runpy.run_path(str(code), run_name="__main__")
    else:
        sys.argv = ["-c", *arguments]
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(code, names)
