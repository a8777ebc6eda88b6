"""By whose fault a file that data names cannot be opened: its record's, the store's, or that of the whole run."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from loguru import logger

from curator_audio.errors import ConfigurationError, CuratorError, RecordError, UnreachableError
from curator_audio.storage.failures import without_secrets

FIRST = 20
MANY = 100
UNREACHABLE = "unreachable_host"
UNREACHABLE_FOR_SEC = 60.0
"""How long a host that could not be reached is not asked again: thousands of lines may name it."""


class ReferenceFault(RecordError):
    """A reference that cannot be opened, which is its record's own fault.

    Args:
        reason: as of ``RecordError``.
        message: as of ``RecordError``.
        cause: what several references may have in common that the user can mend at once; empty for none.
        of_store: whether it is a whole store that cannot be used.
    """

    def __init__(self, reason: str, message: str, cause: str = "", of_store: bool = False) -> None:
        super().__init__(reason, without_secrets(message))
        self.cause = cause
        self.of_store = of_store


class SameCause:
    """Ends a run where one cause, which the user can mend, meets its references alike.

    That is so where it meets the first 20 of them, or half or more of the first hundred or any larger number, or all
    there are where it is a whole store that cannot be used. Names that are none never end a run.

    Example:
        >>> same = SameCause()
        >>> for number in range(20):
        ...     same.add(ReferenceFault("scheme_not_allowed", f"ftp://host/{number}.wav: …", "ftp"))
        Traceback (most recent call last):
        curator_audio.errors.ConfigurationError: the first 20 references cannot be read, all for one reason: \
ftp://host/19.wav: …
    """

    def __init__(self) -> None:
        self._num = 0
        self._met: Counter[str] = Counter()
        self._last: ReferenceFault | None = None

    def add(self, fault: RecordError | None) -> None:
        """Note a reference and what is wrong with it.

        Raises:
            ConfigurationError: the run is to end.
            UnreachableError: the same, because of a store that cannot be reached.
        """
        self._num += 1
        cause = getattr(fault, "cause", "")
        if not isinstance(fault, ReferenceFault) or not cause:
            return
        self._met[cause] += 1
        self._last = fault
        if self._met[cause] == self._num == FIRST:
            raise _end(f"the first {FIRST} references cannot be read, all for one reason", fault)
        if self._num >= MANY and 2 * self._met[cause] >= self._num:
            raise _end(f"{self._met[cause]} of {self._num} references cannot be read for one reason", fault)

    def finish(self) -> None:
        """Note that there are no more; where they are too few to end the run, but all alike, the user is told.

        Raises:
            ConfigurationError: the run is to end.
            UnreachableError: the same, because of a store that cannot be reached.
        """
        if self._last is None or self._met[self._last.cause] < self._num:
            return
        if self._last.of_store:
            raise _end("no reference can be read", self._last)
        logger.warning(f"no reference can be read: {self._last.message}")


def _end(what: str, fault: ReferenceFault) -> CuratorError:
    """The error that ends a run; where a store cannot be reached, the same command may do later."""
    kind = UnreachableError if fault.reason == UNREACHABLE else ConfigurationError
    return kind(f"{what}: {fault.message}")


class Stores:
    """What a process has learnt about the stores that references name: which answer, and which do not."""

    def __init__(self) -> None:
        self.answered: set[str] = set()
        self.looked_up = False
        """Whether each reference was found a moment ago: a store that fails then is no fault of a record."""
        self._unreachable: dict[str, tuple[float, ReferenceFault]] = {}

    def check(self, store: str, path: str) -> None:
        """Fail at once where the store of ``path`` could not be reached a moment ago."""
        until, fault = self._unreachable.get(store, (0.0, None))
        if fault is not None and time.monotonic() < until:
            message = f"cannot read {path}: {fault.message.partition(': ')[2]}"
            raise ReferenceFault(fault.reason, message, fault.cause, fault.of_store)

    def cannot_be_reached(self, store: str, fault: ReferenceFault) -> None:
        """Note that a store could not be reached just now."""
        self._unreachable[store] = time.monotonic() + UNREACHABLE_FOR_SEC, fault

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_unreachable": {}}
