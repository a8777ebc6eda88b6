"""The columns of a dataset in Parquet, settled before its first shard is written: those of all its shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from curator_audio.errors import ConfigurationError
from curator_audio.stages.dataset_features import with_features
from curator_audio.stages.field_types import arrow_type, is_type, short, type_of_arrow
from curator_audio.stages.fields import UNTYPED, Fields, FieldTypes
from curator_audio.stages.io.extra_column import EXTRA, has_extra
from curator_audio.storage.valid_text import is_valid

MAX_FURTHER = 1000
"""Further columns; where names of fields are made of data, as ids of speakers are, there could be any number."""

Others = Literal["extra", "left out", "none"]
"""What becomes of fields without a column: they stand in ``extra``, are left out as asked for, or none are to come."""


@dataclass(frozen=True)
class Columns:
    """The columns of a dataset, in order, and what becomes of fields that have none.

    Args:
        types: the types of the columns by name; without ``extra``.
        declared: the columns whose records must fit; what does not fit another one goes to ``extra``.
        others: what becomes of fields without a column.
        not_chosen: fields that are left out as the user chose others.

    Example:
        >>> fields = Fields.of({"loudness_db": "float", "notes": "object"})
        >>> columns = Columns.settled({"text": "string"}, fields)
        >>> columns.types, columns.others
        ({'text': 'string', 'loudness_db': 'float'}, 'extra')
        >>> Columns.settled({"text": "string"}, Fields.of({"loudness_db": "float"})).others
        'none'
    """

    types: FieldTypes
    declared: frozenset[str] = frozenset()
    others: Others = "none"
    not_chosen: frozenset[str] = frozenset()

    @classmethod
    def settled(cls, core: FieldTypes, fields: Fields, chosen: Sequence[str] | None = None) -> Columns:
        """Settle the columns: the core ones, then further fields that have a type, then ``extra`` where it is needed.

        It is not where every field is declared, and no other can come.

        Args:
            core: the types of the core columns.
            fields: of the records, as far as they are known.
            chosen: the columns that the user wants, in order; None for all. ``extra`` may be one.

        Raises:
            ConfigurationError: a column is wanted that there is not.
        """
        core = {name: kind for name, kind in core.items() if name != EXTRA}
        further = {name: kind for name, kind in fields.kinds.items() if name not in core and name != EXTRA}
        has_column = [name for name, kind in further.items() if _may_be_named(name) and arrow_type(kind) is not None]
        typed = {name: further[name] for name in has_column[:MAX_FURTHER]}
        types = {**core, **typed}
        declared = frozenset(core).union(name for name in typed if fields.types.get(name))
        is_all_declared = declared.issuperset(further) and EXTRA not in fields.kinds and bool(types)
        needs_extra = fields.may_be_more or not is_all_declared or len(typed) < len(further)
        if chosen is None:
            return cls(types, declared, "extra" if needs_extra else "none")
        for name in chosen:
            if name != EXTRA and name not in types:
                raise ConfigurationError(_no_such_column(name, types, further))
        not_chosen = frozenset(types).difference(chosen)
        kept = {name: types[name] for name in chosen if name != EXTRA}
        if EXTRA in chosen:
            return cls(kept, declared.intersection(kept), "extra", not_chosen)
        return cls(kept, frozenset(kept), "left out", not_chosen)  # what does not fit has no other place

    @classmethod
    def of_shard(cls, schema: Any, now: Columns) -> Columns:
        """Return the columns that a shard was written with; of them, those are declared that would be now.

        Args:
            schema: of the shard, a ``pyarrow.Schema``.
            now: what would be settled now.

        Raises:
            ValueError: it has a column that none of ours is.

        Example:
            >>> import pyarrow
            >>> schema = pyarrow.schema({"text": pyarrow.string(), "snr": pyarrow.int64()})
            >>> Columns.of_shard(schema, Columns({"text": "string", "snr": "float"}, others="extra"))
            Columns(types={'text': 'string', 'snr': 'int'}, declared=frozenset(), others='none', not_chosen=frozenset())
        """
        with_extra = has_extra(schema)
        found = {column.name: column.type for column in schema if not (with_extra and column.name == EXTRA)}
        types = {name: _type_in_shard(kind, now.types.get(name, UNTYPED)) for name, kind in found.items()}
        without: Others = "left out" if now.others == "left out" else "none"
        not_chosen = now.not_chosen.difference(types)
        return cls(types, now.declared.intersection(types), "extra" if with_extra else without, not_chosen)

    def left_out_of(self, fields: Fields) -> list[str]:
        """Return the known fields that are not written."""
        written = set(fields.kinds) - self.not_chosen if self.others == "extra" else self.types
        return [name for name in fields.kinds if name not in written]

    @property
    def named(self) -> frozenset[str]:
        """Return the fields that are not for ``extra``."""
        return self.not_chosen.union(self.types)

    @property
    def undeclared(self) -> dict[str, str]:
        """Return the types of the columns whose records need not fit."""
        return {name: kind for name, kind in self.types.items() if name not in self.declared}

    def schema(self, has_features: bool = True) -> Any:
        """Return the ``pyarrow.Schema``.

        Args:
            has_features: whether it has the features for ``datasets`` in its metadata.
        """
        import pyarrow

        extra = [(EXTRA, pyarrow.string())] if self.others == "extra" else []
        schema = pyarrow.schema([*((name, arrow_type(kind)) for name, kind in self.types.items()), *extra])
        return with_features(schema) if has_features else schema

    def to_json(self) -> dict[str, Any]:
        """Return what is noted of them, as JSON can hold it."""
        return {
            "columns": dict(self.types),
            "declared": [name for name in self.types if name in self.declared],
            "others": self.others,
            "not_chosen": sorted(self.not_chosen),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Columns:
        """Return the columns that were noted.

        Raises:
            ValueError: they are no columns.
        """
        types, others = values["columns"], values["others"]
        names = [*values["declared"], *values["not_chosen"]]
        if not isinstance(types, dict) or others not in get_args(Others) or not all(isinstance(n, str) for n in names):
            raise ValueError(values)
        if any(not isinstance(kind, str) or arrow_type(kind) is None for kind in types.values()):
            raise ValueError(values)
        return cls(types, frozenset(values["declared"]), others, frozenset(values["not_chosen"]))


def described(columns: Columns) -> list[str]:
    """Return the columns with their types, for people to read.

    Example:
        >>> described(Columns({"text": "string", "snr": "float"}, others="extra"))
        ['text string', 'snr float', 'extra string (JSON of fields without a column)']
    """
    extra = [f"{EXTRA} string (JSON of fields without a column)"] if columns.others == "extra" else []
    return [*(f"{name} {short(kind)}" for name, kind in columns.types.items()), *extra]


def _type_in_shard(kind: Any, now: str) -> str:
    for name in (now, type_of_arrow(kind), str(kind)):
        if is_type(name) and arrow_type(name) == kind:
            return name
    raise ValueError(kind)


def _may_be_named(name: str) -> bool:
    """Tell whether a column can have the name: half of a character is none that Arrow could write."""
    return bool(name) and is_valid(name)


def _no_such_column(name: str, types: Iterable[str], further: FieldTypes) -> str:
    if name in further:
        return (
            f"columns has {name!r}, which has no type that a column could have; declare one in outputs() of the stage "
            f"that adds it, or take it within '{EXTRA}'"
        )
    return f"columns has {name!r}, which records here do not have; there are {', '.join(types)}, and {EXTRA} for others"
