"""Keep records by the value of a field."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.record_stage import RecordStage
from curator_audio.tasks import Record

OPERATORS = {name: getattr(operator, name) for name in ("lt", "le", "eq", "ne", "ge", "gt")}


@dataclass
class PreserveByValueStage(RecordStage):
    """Keep the records whose field compares as asked with a value, and drop the others.

    Args:
        input_value_key: the field.
        target_value: the value it is compared with.
        operator: ``lt``, ``le``, ``eq``, ``ne``, ``ge`` or ``gt``: ``field operator target_value`` must hold.

    Raises:
        ConfigurationError: the operator is another one.

    Example:
        >>> stage = PreserveByValueStage("duration", 1.0, "ge")
        >>> stage.process_record({"duration": 0.5}) is None
        True
    """

    input_value_key: str
    target_value: Any
    operator: str = "eq"

    name = "preserve_by_value"

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise ConfigurationError(f"operator is {self.operator!r}; give one of {', '.join(OPERATORS)}")

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], [self.input_value_key]

    def outputs(self) -> tuple[list[str], list[str]]:
        return [], [self.input_value_key]

    def process_record(self, record: Record) -> Record | None:
        value = record[self.input_value_key]
        try:
            kept = OPERATORS[self.operator](value, self.target_value)
        except TypeError:
            raise RecordError(
                "not_comparable",
                f"{self.input_value_key} is {value!r:.80}, which cannot be compared with {self.target_value!r:.80}",
            ) from None
        return record if kept else None
