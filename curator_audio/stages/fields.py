"""Which record fields exist at a point of a pipeline, and of what type, as far as that is known before running."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

UNTYPED = ""
"""The type of a field of which only the name is known."""

FieldTypes = Mapping[str, str]
"""Types by the names of fields: ``string``, ``bool``, ``int``, ``int32``, ``float``, ``float32``, ``binary``,
``audio``, ``object``, or ``list<…>`` of one of them; ``UNTYPED`` where the records will tell."""


@dataclass(frozen=True)
class Fields:
    """A set of record fields, possibly open: a manifest may carry fields nobody declared.

    Args:
        types: the fields that are certainly there, with their types.
        open: whether there may be others.
        removed: fields that are certainly not there although the set is open.
        unknown: whether a stage may have added anything, as a function of one's own may.

    Example:
        >>> fields = Fields.any().plus({"windows": "list<object>"}).minus(["segments"])
        >>> "windows" in fields, "segments" in fields, "text" in fields
        (True, False, True)
        >>> fields.types
        {'windows': 'list<object>'}
    """

    types: FieldTypes = field(default_factory=dict)
    open: bool = False
    removed: frozenset[str] = frozenset()
    unknown: bool = False

    @classmethod
    def any(cls) -> Fields:
        """The fields of a manifest nobody has looked into."""
        return cls(open=True)

    @classmethod
    def of(cls, names: Iterable[str] | FieldTypes) -> Fields:
        """Just these fields, given by name, or with their types."""
        return cls(typed(names))

    @property
    def known(self) -> Set[str]:
        """The names of the fields that are certainly there."""
        return self.types.keys()

    def plus(self, names: Iterable[str] | FieldTypes) -> Fields:
        added = typed(names)
        return replace(self, types={**self.types, **added}, removed=self.removed - added.keys())

    def minus(self, names: Iterable[str]) -> Fields:
        gone = frozenset(names)
        kept = {name: kind for name, kind in self.types.items() if name not in gone}
        return replace(self, types=kept, removed=self.removed | gone if self.open else frozenset())

    def only(self, names: Iterable[str]) -> Fields:
        return Fields({name: self.types.get(name, UNTYPED) for name in names if name in self})

    def __contains__(self, name: object) -> bool:
        return name in self.types or (self.open and name not in self.removed)


def typed(names: Iterable[str] | FieldTypes) -> dict[str, str]:
    """Types by name, ``UNTYPED`` where names alone are given.

    Example:
        >>> typed(["text"]), typed({"loudness_db": "float"})
        ({'text': ''}, {'loudness_db': 'float'})
    """
    return dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, UNTYPED)
