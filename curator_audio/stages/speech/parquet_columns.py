"""The columns of a Parquet file of others, as those of segments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from curator_audio.stages.field_types import plain_type, type_of_arrow
from curator_audio.stages.io.extra_column import EXTRA, has_extra
from curator_audio.stages.speech.foreign_fields import sources_of
from curator_audio.stages.speech.segments import TIME_FIELDS

JSON_COLUMN = "json"
"""The column in which ``datasets`` puts what the ``.json`` files of a WebDataset hold, as a struct."""
MAX_LABEL_LENGTH = 1000
"""Of a name that stands for a number in any of many rows."""


class SegmentColumns:
    """Which columns of a Parquet file give the fields of segments, and what becomes of their values.

    Times and decimals in further fields become texts, as JSON has none of them.

    Args:
        schema: of the file, a ``pyarrow.Schema``.
        mapping: what the user says fields are called.
        wanted: the fields to take; None for all there are.

    Attributes:
        sources: which column each field comes from.
        kinds: what there is, by name.
        types: the types of what there is, by name.
        has_extra: whether there is a column of further fields as JSON, which ``columns`` and ``of`` add to all.

    Example:
        >>> import pyarrow
        >>> table = pyarrow.table({"transcript": ["so be it"], "duration_ms": [1500], "snr": [9]})
        >>> columns = SegmentColumns(table.schema, {})
        >>> columns.of(table).to_pylist(), columns.types["snr"]
        ([{'text': 'so be it', 'duration_sec': 1.5, 'snr': 9}], 'int')
    """

    def __init__(self, schema: Any, mapping: Mapping[str, str], wanted: Iterable[str] | None = None) -> None:
        self._paths: dict[str, tuple[str, ...]] = {}
        self.kinds: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.has_extra = has_extra(schema)
        repeated = []
        for column in schema:
            if column.name == JSON_COLUMN and _kind(column.type) == "other":
                for part in column.type:
                    name = part.name if part.name not in schema.names else f"{JSON_COLUMN}.{part.name}"
                    self._add(name, part.type, (JSON_COLUMN, part.name))
            elif column.name in self.kinds:
                repeated.append(column.name)
            elif not (self.has_extra and column.name == EXTRA):
                self._add(column.name, column.type, (column.name,))
        self._labels = _class_labels(schema)
        self.sources = sources_of(self.kinds, mapping)
        self.sources = replace(self.sources, not_taken=(*self.sources.not_taken, *repeated))
        if wanted is not None:
            of = {name: self.sources.of[name] for name in wanted if name in self.sources.of}
            further = tuple(name for name in wanted if name in self.sources.further)
            self.sources = replace(self.sources, of=of, further=further, not_taken=())

    def _add(self, name: str, kind: Any, path: tuple[str, ...]) -> None:
        kind = without_views(kind)
        self.kinds[name], self.types[name], self._paths[name] = _kind(kind), type_of_arrow(kind), path

    def columns(self, wanted: Iterable[str] | None = None) -> list[str]:
        """Return the columns to read for some fields, or for all that are there, ``extra`` among them."""
        paths = [EXTRA if name == EXTRA else ".".join(self._path_of(name)) for name in self._there(wanted)]
        return list(dict.fromkeys(paths))

    def of(self, table: Any, wanted: Iterable[str] | None = None) -> Any:
        """Return the fields of segments, as a table, from one of the file's columns."""
        import pyarrow

        return pyarrow.table({name: self._values(table, name) for name in self._there(wanted)})

    def _there(self, wanted: Iterable[str] | None) -> list[str]:
        names = [*self.sources.of, *self.sources.further]
        if wanted is None:
            return [*names, EXTRA] if self.has_extra else names
        return [name for name in wanted if name in names]

    def _path_of(self, name: str) -> tuple[str, ...]:
        return self._paths[self.sources.of.get(name, name)]

    def _values(self, table: Any, name: str) -> Any:
        import pyarrow
        import pyarrow.compute as compute

        if name == EXTRA:
            return table.column(EXTRA)
        other = self.sources.of.get(name, name)
        first, *inner = self._paths[other]
        values = table.column(table.schema.names.index(first))
        for part in inner:
            values = compute.struct_field(values, part)
        if other in self._labels and pyarrow.types.is_integer(values.type):
            labels = self._labels[other]
            is_one = compute.and_(compute.greater_equal(values, 0), compute.less(values, len(labels)))
            return pyarrow.array(labels, pyarrow.string()).take(compute.if_else(is_one, values, None))
        if name in TIME_FIELDS and other.endswith("_ms") and self.kinds[other] == "number":
            return compute.divide(values.cast(pyarrow.float64()), 1000.0)
        plain = plain_type(without_views(values.type))
        return values if plain == values.type else values.cast(plain)


def without_views(kind: Any) -> Any:
    """Return the type that has the same values, texts and bytes, as Arrow has always held them.

    Example:
        >>> import pyarrow
        >>> without_views(pyarrow.list_(pyarrow.binary_view()))
        ListType(list<item: binary>)
    """
    import pyarrow
    from pyarrow import types

    if types.is_struct(kind):
        return pyarrow.struct([part.with_type(without_views(part.type)) for part in kind])
    if types.is_list(kind):
        return pyarrow.list_(kind.value_field.with_type(without_views(kind.value_type)))
    return {"binary_view": pyarrow.binary(), "string_view": pyarrow.string()}.get(str(kind), kind)


def _kind(of_type: Any) -> str:
    """What ``foreign_fields.kind_of`` says of the values of a type."""
    from pyarrow import types

    if types.is_dictionary(of_type):
        return _kind(of_type.value_type)
    if types.is_null(of_type):
        return "none"
    if types.is_string(of_type) or types.is_large_string(of_type):
        return "text"
    if types.is_binary(of_type) or types.is_large_binary(of_type):
        return "sound"
    if types.is_integer(of_type) or types.is_floating(of_type) or types.is_boolean(of_type):
        return "number"
    if types.is_list(of_type) or types.is_large_list(of_type) or types.is_fixed_size_list(of_type):
        return "list"
    is_sound = types.is_struct(of_type) and any(
        part.name == "bytes" and _kind(part.type) in ("sound", "none") for part in of_type
    )
    return "sound" if is_sound else "other"


def _is_name(label: Any) -> bool:
    return isinstance(label, str) and len(label) <= MAX_LABEL_LENGTH


def _class_labels(schema: Any) -> dict[str, list[str]]:
    """The names that stand for the numbers of a column, where ``datasets`` has noted them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {name: names for name, names in found.items() if all(map(_is_name, names))}
