"""Records as rows of typed columns: what fits, what goes to ``extra``, and what is set aside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.stages.base import ProcessingStage
from curator_audio.stages.field_types import fits
from curator_audio.stages.io.columns import Columns
from curator_audio.stages.io.extra_column import EXTRA
from curator_audio.stages.io.taken_values import takes
from curator_audio.storage.json_codec import encode_record
from curator_audio.storage.valid_text import Repairs, with_json_values, with_valid_text
from curator_audio.tasks import Record

MAX_NAMED = 20
"""Fields of a shard that are counted one by one where they go to ``extra``; records may have any number of them."""
MAX_NAME_LENGTH = 100
"""Of a field that is."""

NOTHING: Mapping[int, set[str]] = MappingProxyType({})

Row = tuple[Record, str, int]
"""A record, and the path and position it was read from."""


class TypedRows:
    """Makes tables of records, a row group at a time.

    Args:
        schema: of the shard, a ``pyarrow.Schema``.
        columns: what of it is declared, and what becomes of other fields.
        stage: the writer, which counts and sets aside.
    """

    def __init__(self, schema: Any, columns: Columns, stage: ProcessingStage[Any, Any]) -> None:
        self._schema, self._columns, self.stage = schema, columns, stage
        self._types = dict(zip(schema.names, schema.types))
        self._named, self._undeclared = columns.named, columns.undeclared
        self._counted: set[str] = set()

    def table(self, rows: list[Row]) -> Any:
        """Return the rows as one table, without those that do not fit a declared column."""
        records = [record for record, _, _ in rows]
        try:
            ready = self._ready(records)
            table = self._as_table(ready.records)
        except misfits():
            records = list(map(self._with_valid_text, records))
            ready = self._ready(records, self.misfits_of(records))
            table = self._table_of_some(rows, ready)
        self.stage.log_metrics(ready.repairs.as_metrics())
        for name, count in ready.moved.items():
            self.stage.log_metric(self._metric(name), count)
        for index, error in sorted(ready.bad.items()):
            self._set_aside(rows[index], error)
        return table

    def _table_of_some(self, rows: list[Row], ready: _Ready) -> Any:
        """Return the records that fit, as one table; the others are added to ``ready.bad``."""
        import pyarrow

        try:
            return self._as_table(ready.records)
        except misfits():
            tables = [self._schema.empty_table()]
            indices = [index for index in range(len(rows)) if index not in ready.bad]
            for index, record in zip(indices, ready.records):
                try:
                    tables.append(self._as_table([record]))
                except misfits() as error:
                    message = f"it does not fit the columns: {self._misfit_in(record) or error}"
                    ready.bad[index] = RecordError("wrong_type", message)
            return pyarrow.concat_tables(tables).combine_chunks()

    def _ready(self, records: list[Record], misfits: Mapping[int, set[str]] = NOTHING) -> _Ready:
        """Return the records with what has no column in ``extra``.

        Args:
            records: the records.
            misfits: by the number of a record, the columns that its values do not fit.
        """
        if not misfits and (self._columns.others == "left out" or all(r.keys() <= self._named for r in records)):
            return _Ready(records)
        ready = _Ready([])
        for index, record in enumerate(records):
            wrong = misfits.get(index, ())
            rest = {n: v for n, v in record.items() if v is not None and (n not in self._named or n in wrong)}
            if rest and self._columns.others != "left out":
                try:
                    text = self._encoded(rest, ready.repairs)
                except RecordError as error:
                    ready.bad[index] = error
                    continue
                ready.moved.update(rest.keys())
                record = {**record, **dict.fromkeys(wrong), EXTRA: text}
            elif EXTRA in record:
                record = {**record, EXTRA: None}
            ready.records.append(record)
        return ready

    def _encoded(self, rest: Record, repairs: Repairs) -> str:
        """Fields without a column as the text in ``extra``."""
        if self._columns.others == "none":
            name = next(iter(rest))
            if name in self._named:
                message = f"'{name}' is {rest[name]!r:.80}, which does not fit its column, {self._types[name]}"
                raise RecordError("wrong_type", message)
            message = f"'{name}' has no column, as nothing said before the run that it would come"
            remedy = "name it in outputs() of the stage that adds it, and run with overwrite=true"
            raise RecordError("unknown_field", f"{message}; {remedy}")
        try:
            return encode_record({name: _as_json(value, repairs) for name, value in rest.items()}, repairs).decode()
        except RecordError as error:
            for name, value in rest.items():
                try:
                    encode_record({name: _as_json(value, Repairs())})
                except RecordError:
                    remedy = "give it a type in outputs() of the stage that adds it, such as binary or audio"
                    message = f"'{name}' has no column of its own, and {error.message.partition(';')[0]}; {remedy}"
                    raise RecordError(error.reason, message) from None
            raise

    def misfits_of(self, records: list[Record]) -> dict[int, set[str]]:
        """Return the columns, of those that are not declared, that values do not fit, by the number of the record."""
        found: dict[int, set[str]] = {}
        for name in self._undeclared:
            values = [record.get(name) for record in records]
            if self._fits(name, values):
                continue
            for index, value in enumerate(values):
                if value is not None and not self._fits(name, [value]):
                    found.setdefault(index, set()).add(name)
        return found

    def _misfit_in(self, record: Record) -> str:
        """Say which value of a record its column cannot hold."""
        for name, kind in self._types.items():
            try:
                self._column(name, [record.get(name)], Repairs())
            except misfits():
                return f"'{name}' is {record[name]!r:.80}, which is no {kind}"
        return ""

    def _fits(self, name: str, values: list[Any]) -> bool:
        try:
            self._column(name, values, Repairs())
        except misfits():
            return False
        return True

    def _metric(self, name: str) -> str:
        if len(self._counted) < MAX_NAMED and len(name) <= MAX_NAME_LENGTH:
            self._counted.add(name)
        return f"extra_{re.sub(r'[^0-9A-Za-z_.-]', '_', name)}" if name in self._counted else "extra_others"

    def _set_aside(self, row: Row, error: RecordError) -> None:
        record, source_path, offset = row
        self.stage.set_aside(source_path, error, record, offset)

    def _with_valid_text(self, record: Record) -> Record:
        repairs = Repairs()
        valid: Record = with_valid_text(record, repairs)
        self.stage.log_metrics(repairs.as_metrics())
        return valid

    def _as_table(self, records: list[Record]) -> Any:
        import pyarrow

        repairs = Repairs()
        columns = [self._column(name, [record.get(name) for record in records], repairs) for name in self._types]
        table = pyarrow.Table.from_arrays(columns, schema=self._schema)
        self.stage.log_metrics(repairs.as_metrics())
        return table

    def _column(self, name: str, values: list[Any], repairs: Repairs) -> Any:
        """Return values as a column; raises one of ``misfits`` where it would not give them back."""
        kind = self._types[name]
        is_one = fits(values, self._undeclared[name]) if name in self._undeclared else _takes(values, kind)
        if not is_one:
            raise TypeError(f"'{name}' has values that are not {kind}")
        column = _as_column(values, kind)
        if _is_finite(column):
            return column
        column = _as_column(with_json_values(values, repairs), kind)
        if not _is_finite(column):
            raise OverflowError(f"'{name}' has numbers beyond the range of {kind}")
        return column


@dataclass
class _Ready:
    """Records that are about to be rows, those that cannot by their number, and what went to ``extra``."""

    records: list[Record]
    bad: dict[int, RecordError] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)
    repairs: Repairs = field(default_factory=Repairs)


def _as_json(value: Any, repairs: Repairs) -> Any:
    try:
        return with_json_values(value, repairs)
    except RecordError:  # nested deeper than that looks, which may be written all the same
        return value


def _takes(values: list[Any], kind: Any) -> bool:
    from pyarrow import types

    return types.is_integer(_item(kind)) or takes(values, kind)  # of integers ``_as_column`` finds it out, faster


def _as_column(values: list[Any], kind: Any) -> Any:
    import pyarrow

    if not pyarrow.types.is_integer(_item(kind)):
        return pyarrow.array(values, kind)
    found = pyarrow.array(values)  # told to make integers, pyarrow would cut decimals off
    types = pyarrow.types
    if not any(is_kind(_item(found.type)) for is_kind in (types.is_integer, types.is_floating, types.is_null)):
        raise TypeError(f"{_item(found.type)} is no whole number")
    return found.cast(kind)


def _is_finite(column: Any) -> bool:
    """Tell whether no number in a column, or in lists and objects of it, is NaN or infinite."""
    import pyarrow
    import pyarrow.compute

    if pyarrow.types.is_floating(column.type):
        return pyarrow.compute.all(pyarrow.compute.is_finite(column), min_count=0).as_py() is not False
    if pyarrow.types.is_list(column.type):
        return _is_finite(column.flatten())
    return not pyarrow.types.is_struct(column.type) or all(map(_is_finite, column.flatten()))


def _item(kind: Any) -> Any:
    """Return the type of the items of a list, any other as it is."""
    import pyarrow

    return kind.value_type if pyarrow.types.is_list(kind) else kind


def misfits() -> tuple[type[Exception], ...]:
    """Return what pyarrow raises for a value that a column cannot hold."""
    import pyarrow

    return pyarrow.ArrowException, OverflowError, TypeError, ValueError, AttributeError
