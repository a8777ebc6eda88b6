"""SIGTERM stops a run as Ctrl-C does, wherever the run is when it comes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN_SEC = 0.05
ASKED_BY_FINALIZERS = "closed"
"""A property of files, which `io.IOBase` asks for when one is forgotten; what it raises then is dropped unseen."""

_CALLED_BACK: set[CodeType] = set()
_holding: list[bool] = []
"""One for every ``held_back`` that is going on: whether a signal came meanwhile."""

_is_put_off = False
"""Whether a signal came in a function that is ``called_back``."""

Function = TypeVar("Function", bound=Callable[..., Any])


def called_back(function: Function) -> Function:
    """Mark a function that a library in C calls, and whose exceptions it prints and drops: no signal interrupts it.

    What it calls in turn may be interrupted, so that a read that hangs need not be waited for; the function catches
    `BaseException` around such calls, and whoever called the library raises it afterwards, and what ``raise_put_off``
    raises.
    """
    _CALLED_BACK.add(function.__code__)
    return function


def raise_put_off() -> None:
    """Raise `KeyboardInterrupt` if a signal came in a function that is ``called_back``."""
    global _is_put_off
    if _is_put_off and threading.current_thread() is threading.main_thread():
        _is_put_off = False
        raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal wait until the block ends: for short work of a library that drops what its callbacks raise.

    Example:
        >>> with held_back():
        ...     pass
    """
    if threading.current_thread() is not threading.main_thread():  # signals come to the main one only
        yield
        return
    _holding.append(False)
    try:
        yield
    finally:
        if _holding.pop():
            raise KeyboardInterrupt


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `KeyboardInterrupt` for SIGTERM too, and again where Python has dropped it.

    What is raised inside a destructor or the callback of a weak reference goes to `sys.unraisablehook`
    and no further: a signal that happens to come just then would be lost, and the run go on. For callbacks of
    libraries see ``called_back`` and ``held_back``.
    """
    again: threading.Timer | None = None
    is_dropping = has_come = False

    def interrupt(number: int, frame: Any) -> None:
        nonlocal has_come
        global _is_put_off
        if is_dropping:
            has_come = True
        elif _holding:
            _holding[0] = True
        elif frame is not None and frame.f_code in _CALLED_BACK:
            _is_put_off = True
        elif frame is not None and frame.f_code.co_name == ASKED_BY_FINALIZERS:
            try_again()
        else:
            raise KeyboardInterrupt

    def interrupt_again(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            try_again()
        else:
            hook(dropped)

    def try_again() -> None:
        nonlocal again, is_dropping, has_come
        is_dropping = has_come = True  # what comes in here would be dropped as well
        while has_come:
            has_come = False
            if again is not None:
                again.cancel()
            again = threading.Timer(AGAIN_SEC, signal.pthread_kill, (threading.main_thread().ident, signal.SIGTERM))
            again.daemon = True
            again.start()
        is_dropping = False

    global _is_put_off
    handlers, hook = {number: signal.getsignal(number) for number in SIGNALS}, sys.unraisablehook
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:  # as it is in a process that is started in the background
            signal.signal(number, interrupt)
    sys.unraisablehook = interrupt_again
    try:
        yield
    finally:
        _is_put_off = False
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
