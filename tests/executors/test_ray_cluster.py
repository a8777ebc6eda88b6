"""Ray on a busy machine, and signals while it starts and stops."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from curator_audio.errors import CuratorError
from curator_audio.executors.ray_cluster import RayCluster, _own_signal_handlers, start_ray_here

LATE = Exception("The current node timed out during startup. This could happen because some raylet failed.")
"""What Ray 2.60 raises where its processes are not up within 30 seconds, a time that nothing changes."""


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Exception | None], list[dict[str, Any]]]:
    """What the next starts of Ray come to, and the arguments of those that there were."""
    import ray

    to_come: list[Exception | None] = []
    given: list[dict[str, Any]] = []

    def init(**arguments: Any) -> None:
        given.append(arguments)
        if error := to_come.pop(0):
            raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return to_come, given


def test_ray_that_is_late_is_started_once_more(starts: Any, warned: list[str]) -> None:
    to_come, given = starts
    to_come += [LATE, None]
    start_ray_here(num_cpus=2)
    assert [(start["address"], start["num_cpus"]) for start in given] == [("local", 2)] * 2
    assert warned == ["Ray was not up in time, as on a busy machine; it is started once more"]


def test_ray_that_is_late_twice_is_an_error_of_one_line(starts: Any) -> None:
    to_come, given = starts
    to_come += [LATE, LATE]
    with pytest.raises(CuratorError, match=r"twice \(The current node timed out.*executor=local$"):
        start_ray_here(num_cpus=2)
    assert len(given) == 2


def test_other_failures_are_not_tried_again(starts: Any) -> None:
    to_come, given = starts
    to_come += [ValueError("num_cpus cannot be negative")]
    with pytest.raises(ValueError, match="negative"):
        start_ray_here(num_cpus=-1)
    assert len(given) == 1


def test_what_ray_makes_of_sigterm_is_an_interrupt() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), _own_signal_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray's core does
        raise SystemExit(signal.SIGTERM)  # as its handler does
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_end_is_one() -> None:
    with pytest.raises(SystemExit, match="1"), _own_signal_handlers():
        raise SystemExit(1)


def test_a_test_without_the_mark_gets_no_ray() -> None:
    """Neither one of its own nor that of the session, so that ``-m "not ray"`` leaves out all that start it."""
    with pytest.raises((OSError, pytest.fail.Exception), match="a test that starts Ray needs the mark ray"):
        RayCluster(None, num_cpus=1).start()
