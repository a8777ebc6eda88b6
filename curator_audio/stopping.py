"""SIGTERM stops a run as Ctrl-C does, wherever the run is when it comes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `KeyboardInterrupt` for SIGTERM too, and again where Python has dropped it.

    What is raised inside a destructor or the callback of a weak reference goes to `sys.unraisablehook`
    and no further: a signal that happens to come just then would be lost, and the run go on.
    """
    again: threading.Timer | None = None
    is_dropping = False

    def interrupt(number: int, frame: Any) -> None:
        if not is_dropping:
            raise KeyboardInterrupt

    def interrupt_again(dropped: sys.UnraisableHookArgs) -> None:
        nonlocal again, is_dropping
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            hook(dropped)
            return
        is_dropping = True  # what comes in here would be dropped as well
        if again is not None:
            again.cancel()
        again = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGTERM))
        again.daemon = True
        again.start()
        is_dropping = False

    handlers, hook = {number: signal.getsignal(number) for number in SIGNALS}, sys.unraisablehook
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:  # as it is in a process that is started in the background
            signal.signal(number, interrupt)
    sys.unraisablehook = interrupt_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if again is not None:
            again.cancel()
            again.join()
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)


def ignore_signals() -> None:
    """Let nothing come between the end of a run and that of its process: what it tells is then how it ended."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
