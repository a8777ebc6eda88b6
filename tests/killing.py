"""A process that kills itself as a file is about to appear."""

from __future__ import annotations

KILLED = """
import os, signal, sys
from curator_audio.storage import atomic_file

calls, fatal = 0, int(sys.argv[3])
commit = atomic_file.LocalAtomicFile._commit

def counted(self):
    global calls
    calls += 1
    if calls == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(self)

atomic_file.LocalAtomicFile._commit = counted
"""
"""What a script begins with whose third argument is the number of that file, counted from 1; 0 for none."""
