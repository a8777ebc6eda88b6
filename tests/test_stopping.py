import signal
import subprocess
import sys

import pytest

HEARD = """
from curator_audio.stopping import stoppable
import os, signal, time, weakref
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background has not
"""

IN_A_DESTRUCTOR = """
class Closing:
    def __del__(self):
        os.kill(os.getpid(), {signal})
        for _ in range(1000): pass
with stoppable():
    Closing()
    time.sleep(30)
"""

IN_A_CALLBACK = """
def gone(reference):
    os.kill(os.getpid(), {signal})
    for _ in range(1000): pass
class Thing: pass
with stoppable():
    thing = Thing()
    reference = weakref.ref(thing, gone)
    del thing
    time.sleep(30)
"""

IN_A_FORGOTTEN_FILE = """
import io
class File(io.IOBase):
    @property
    def closed(self):
        os.kill(os.getpid(), {signal})
        for _ in range(1000): pass
        return True
with stoppable():
    File()
    time.sleep(30)
"""

IN_WHAT_C_CALLS = """
from curator_audio.stopping import called_back, raise_put_off
@called_back
def called():
    os.kill(os.getpid(), {signal})
    for _ in range(1000): pass
    return "at its end"
with stoppable():
    assert called() == "at its end"
    raise_put_off()
    assert False
"""

IN_A_CALL_OF_IT = """
from curator_audio.stopping import called_back
def reading():
    os.kill(os.getpid(), {signal})
    time.sleep(30)
@called_back
def called():
    try:
        reading()
    except KeyboardInterrupt as error:
        return error
with stoppable():
    raise called()
"""

WHILE_HELD_BACK = """
from curator_audio.stopping import held_back
with stoppable():
    done = []
    with held_back(), held_back():
        os.kill(os.getpid(), {signal})
        for _ in range(1000): pass
        done.append(1)
    assert False
"""

ANYWHERE_ELSE = """
with stoppable():
    os.kill(os.getpid(), {signal})
    time.sleep(30)
"""


PLACES = {
    "destructor": IN_A_DESTRUCTOR,
    "callback": IN_A_CALLBACK,
    "forgotten file": IN_A_FORGOTTEN_FILE,
    "what C calls": IN_WHAT_C_CALLS,
    "a call of it": IN_A_CALL_OF_IT,
    "held back": WHILE_HELD_BACK,
    "elsewhere": ANYWHERE_ELSE,
}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_signal_is_heard_wherever_it_comes(place: str, name: str) -> None:
    run = f"try:\n{_indented(place.format(signal=f'signal.{name}'))}\nexcept KeyboardInterrupt:\n    print('stopped')"
    stopped = subprocess.run([sys.executable, "-c", HEARD + run], capture_output=True, text=True)
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "stopped\n", "")


def test_other_mistakes_in_a_destructor_are_shown_as_ever() -> None:
    run = "class Closing:\n    def __del__(self): 1 / 0\nwith stoppable(): Closing()"
    shown = subprocess.run([sys.executable, "-c", HEARD + run], capture_output=True, text=True)
    assert shown.returncode == 0 and "ZeroDivisionError" in shown.stderr


def test_what_was_set_before_is_set_again() -> None:
    from curator_audio.stopping import stoppable

    handler, hook = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) != handler
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == (handler, hook)


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.splitlines())


LEAVING = """
class Closing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
try:
    with stoppable():
        Closing()
except KeyboardInterrupt:  # where the computer is slow
    pass
time.sleep(0.3)
print("went on")
"""

MANY_AT_ONCE = """
class Closing:
    def __del__(self):
        for _ in range(20):
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(100): pass
try:
    with stoppable():
        for _ in range(3): Closing()
        time.sleep(30)
except KeyboardInterrupt:
    print("went on")
"""


@pytest.mark.parametrize("what", [LEAVING, MANY_AT_ONCE])
def test_what_comes_late_or_often_does_no_harm(what: str) -> None:
    done = subprocess.run([sys.executable, "-c", HEARD + what], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")
