"""How far a long piece of work is, said by who does it."""

from __future__ import annotations

import time

from loguru import logger

INTERVAL_SEC = 30.0


class Pace:
    """Say now and then how far a piece of work is, if it takes long.

    Args:
        what: what is worked on.

    Example:
        >>> pace = Pace("partition news-0")
        >>> pace.at("12 records")  # says nothing: this is the first half minute
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = self._said = time.monotonic()

    def at(self, done: str) -> None:
        """Log what is done so far, unless that was done less than half a minute ago."""
        now = time.monotonic()
        if now - self._said >= INTERVAL_SEC:
            self._said = now
            logger.info(f"{self._what}: {done} after {now - self._started:.0f} s, going on")
