"""Which record fields exist at a point of a pipeline, and of what type, as far as that is known before running."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

UNTYPED = ""
"""The type of a field of which only the name is known."""

FieldTypes = Mapping[str, str]
"""Types by the names of fields: ``string``, ``bool``, ``int``, ``int32``, ``float``, ``float32``, ``binary``,
``audio``, ``object``, or ``list<…>`` of one of them; ``UNTYPED`` where the records will tell (``field_types.py``)."""


@dataclass(frozen=True)
class Fields:
    """A set of record fields, possibly open: a manifest may carry fields nobody declared.

    Args:
        types: the fields that are certainly there, with the types that were declared for them.
        open: whether there may be others.
        removed: fields that are certainly not there although the set is open.
        unknown: whether a stage may have added anything, as a function of one's own may.
        unsaid: whether a stage of another package may have added more than it says.
        seen: fields that the source has where it was looked into, with the types of their values.

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
    unsaid: bool = False
    seen: FieldTypes = field(default_factory=dict)

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

    @property
    def may_be_more(self) -> bool:
        """Tell whether records may have fields that are not known."""
        return self.open or self.unknown or self.unsaid

    @property
    def kinds(self) -> dict[str, str]:
        """Return all fields that are known, those that were seen first, with the type that was declared or else seen.

        Example:
            >>> fields = Fields({"loudness_db": "float", "score": ""}, seen={"text": "string", "score": "int"})
            >>> fields.kinds
            {'text': 'string', 'score': 'int', 'loudness_db': 'float'}
        """
        return {**self.seen, **{name: kind or self.seen.get(name, UNTYPED) for name, kind in self.types.items()}}

    def seeing(self, sampled: Fields) -> Fields:
        """Return the same with what a look into the source tells: its fields, and whether there may be others."""
        found = {name: kind for name, kind in sampled.kinds.items() if name in self and not self.types.get(name)}
        return replace(self, seen={**self.seen, **found}, open=self.open and sampled.open)

    def plus(self, names: Iterable[str] | FieldTypes) -> Fields:
        """Return the same with fields added; one without a type has that of the field it replaces."""
        added = {name: kind or self.types.get(name, UNTYPED) for name, kind in typed(names).items()}
        seen = {name: kind for name, kind in self.seen.items() if not added.get(name)}
        return replace(self, types={**self.types, **added}, removed=self.removed - added.keys(), seen=seen)

    def minus(self, names: Iterable[str]) -> Fields:
        gone = frozenset(names)
        kept, seen = ({name: kind for name, kind in of.items() if name not in gone} for of in (self.types, self.seen))
        return replace(self, types=kept, seen=seen, removed=self.removed | gone if self.open else frozenset())

    def only(self, names: Iterable[str]) -> Fields:
        """Just these of the fields, as far as they are or may be there."""
        there = [name for name in names if name in self]
        seen = {name: self.seen[name] for name in there if name in self.seen}
        return Fields({name: self.types.get(name, UNTYPED) for name in there if name not in seen}, seen=seen)

    def renamed(self, names: Mapping[str, str]) -> Fields:
        """Return the same with other names for some fields, by their old ones."""
        before = self.minus([*names, *names.values()])
        new = {names.get(name, name): kind for name, kind in self.types.items()}
        seen = {names.get(name, name): kind for name, kind in self.seen.items()}
        given = {other: UNTYPED for other in names.values() if other not in seen}
        return replace(before, types={**given, **new}, seen=seen, removed=before.removed - set(names.values()))

    def __contains__(self, name: object) -> bool:
        return name in self.types or name in self.seen or (self.open and name not in self.removed)


def typed(names: Iterable[str] | FieldTypes) -> dict[str, str]:
    """Types by name, ``UNTYPED`` where names alone are given.

    Example:
        >>> typed(["text"]), typed({"loudness_db": "float"})
        ({'text': ''}, {'loudness_db': 'float'})
    """
    return dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, UNTYPED)
