"""A process that kills or stops itself as a file is about to appear, or just has."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLED = """
import os, signal, sys, threading
from curator_audio.storage import atomic_file

calls, fatal, when = 0, int(sys.argv[3]), sys.argv[4] if sys.argv[4:] else "before"
commit, lock = atomic_file.LocalAtomicFile._commit, threading.Lock()

def counted(self):
    global calls
    with lock:
        calls += 1
        if calls == fatal and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        commit(self)
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

atomic_file.LocalAtomicFile._commit = counted
"""
"""What a script begins with whose third argument is the number of that file, counted from 1; 0 for none.

A fourth one says whether it dies ``before`` the file appears, as it does without, or ``after``.
"""


_stopping: dict[str, bool] = {}
"""Whether it is still to stop, by the name."""


def stop_before(name: str, pid_path: str) -> None:
    """Have this process stop when a file whose path holds ``name`` is about to appear, all checks behind it.

    Its id stands in ``pid_path`` by then; SIGCONT wakes it. What it is about to rename is out of the way meanwhile, as
    if it were written when it wakes: another run would find and delete it.
    """
    if name in _stopping:
        return
    _stopping[name] = True
    from s3fs.core import S3File, S3FileSystem

    def stopping(do: Callable[..., Any], position: int) -> Callable[..., Any]:
        def done(*arguments: Any, **options: Any) -> Any:
            if _stopping[name] and name in str(getattr(arguments[position], "path", arguments[position])):
                _stopping[name] = False
                Path(f"{pid_path}.new").write_text(str(os.getpid()))
                if position == 1 and isinstance(arguments[0], str):
                    os.rename(arguments[0], f"{pid_path}.kept")
                os.rename(f"{pid_path}.new", pid_path)
                os.kill(os.getpid(), signal.SIGSTOP)
                if position == 1 and isinstance(arguments[0], str):
                    os.rename(f"{pid_path}.kept", arguments[0])
            return do(*arguments, **options)

        return done

    os.replace = stopping(os.replace, 1)  # to where
    S3File.commit = stopping(S3File.commit, 0)
    S3FileSystem.pipe_file = stopping(S3FileSystem.pipe_file, 1)
