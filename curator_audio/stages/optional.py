"""Fields that need not be there: a value that is none of the kind wanted is taken for absent, and counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass
class Ignored:
    """How many optional fields had a value that could not be used.

    Args:
        num_fields: how many of them.
    """

    num_fields: int = 0

    def as_metrics(self) -> dict[str, float]:
        """The count as a stage logs it; nothing for 0.

        Example:
            >>> Ignored(2).as_metrics(), Ignored().as_metrics()
            ({'optional_fields_ignored': 2}, {})
        """
        return {"optional_fields_ignored": self.num_fields} if self.num_fields else {}


def is_number(value: Any) -> bool:
    """Whether a value is a finite number.

    Example:
        >>> is_number(8000), is_number("8000"), is_number(float("nan")), is_number(True), is_number(10**400)
        (True, False, False, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def as_text(value: Any) -> str | None:
    """A value as text, a number too; None for what is neither.

    Example:
        >>> as_text("7"), as_text(7), as_text(None), as_text(["7"]), as_text(True), as_text(float("nan"))
        ('7', '7', None, None, None, None)
    """
    if isinstance(value, str):
        return value
    return str(value) if is_number(value) else None
