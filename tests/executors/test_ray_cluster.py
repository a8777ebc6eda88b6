"""Signals while Ray starts and stops."""

from __future__ import annotations

import signal

import pytest

from curator_audio.executors.ray_cluster import _own_signal_handlers


def test_what_ray_makes_of_sigterm_is_an_interrupt() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), _own_signal_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray's core does
        raise SystemExit(signal.SIGTERM)  # as its handler does
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_end_is_one() -> None:
    with pytest.raises(SystemExit, match="1"), _own_signal_handlers():
        raise SystemExit(1)
