"""Functions the tests call on records through ``CallFunctionStage``, in whatever process the stage runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def noted(record: Record, log_path: str) -> Record:
    """Leaves a line for every record processed, so that a test can count them over all processes."""
    with open(log_path, "a") as log:
        log.write(record["audio_filepath"] + "\n")
    return record


def killed_once(record: Record, log_path: str, victim: str, marker_path: str) -> Record:
    """Kills the process that works on one certain record, the first time."""
    if record["audio_filepath"] == victim and not Path(marker_path).exists():
        Path(marker_path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return noted(record, log_path)


def killed_always(record: Record, victim: str) -> Record:
    """Kills the process that works on one certain record, every time."""
    if record["audio_filepath"] == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return record


def failing(record: Record, victim: str) -> Record:
    """Fails as a whole on one certain record: not the record's fault, so nothing is quarantined."""
    if record["audio_filepath"] == victim:
        raise MemoryError("no room for the model")
    return record


def marked(record: Record, mark: str, stops_before: str = "", pid_path: str = "") -> Record:
    """Marks a record; the process it is in stops itself later, see ``stop_before``."""
    if stops_before:
        from curator_audio.storage import lock
        from tests.killing import stop_before

        lock.FRESH_SEC = 0.0  # what was checked before it stops may not count when it wakes
        stop_before(stops_before, pid_path)
    return {**record, "mark": mark}


def interrupted(record: Record, victim: str, marker_path: str) -> Record:
    """Is as if Ctrl-C were pressed on one certain record, the first time."""
    if record["audio_filepath"] == victim and not Path(marker_path).exists():
        Path(marker_path).touch()
        raise KeyboardInterrupt
    return record


def held(record: Record, gate_path: str) -> Record:
    """Waits until a file appears."""
    import time

    while not Path(gate_path).exists():
        time.sleep(0.02)
    return record


def waiting_for(record: Record, log_path: str, gate_path: str, open_for: int) -> Record:
    """Lets a number of records pass, and holds the others until a file appears."""
    import time

    noted(record, log_path)
    while len(Path(log_path).read_text().splitlines()) > open_for and not Path(gate_path).exists():
        time.sleep(0.02)
    return record
