"""A process that kills itself as a file is about to appear, or just has."""

from __future__ import annotations

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
