"""Which record fields exist at a point of a pipeline, as far as that is known before running."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fields:
    """A set of record fields, possibly open: a manifest may carry fields nobody declared.

    Args:
        known: fields that are certainly there.
        open: whether there may be others.
        removed: fields that are certainly not there although the set is open.
        unknown: whether a stage may have added anything, as a function of one's own may.

    Example:
        >>> fields = Fields.any().plus(["windows"]).minus(["segments"])
        >>> "windows" in fields, "segments" in fields, "text" in fields
        (True, False, True)
    """

    known: frozenset[str] = frozenset()
    open: bool = False
    removed: frozenset[str] = frozenset()
    unknown: bool = False

    @classmethod
    def any(cls) -> Fields:
        """The fields of a manifest nobody has looked into."""
        return cls(open=True)

    def plus(self, names: Iterable[str]) -> Fields:
        names = frozenset(names)
        return Fields(self.known | names, self.open, self.removed - names, self.unknown)

    def minus(self, names: Iterable[str]) -> Fields:
        names = frozenset(names)
        return Fields(self.known - names, self.open, self.removed | names if self.open else frozenset(), self.unknown)

    def only(self, names: Iterable[str]) -> Fields:
        return Fields(frozenset(name for name in names if name in self))

    def __contains__(self, name: object) -> bool:
        return name in self.known or (self.open and name not in self.removed)
