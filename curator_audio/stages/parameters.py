"""Checks of stages' parameters: every refusal names the parameter, its value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from curator_audio.errors import ConfigurationError


def check_number(name: str, value: Any, allowed: str, low: float, high: float = math.inf, above: bool = False) -> None:
    """Refuse a parameter that is not a finite number in its range.

    Args:
        name: the parameter's name.
        value: what was given for it.
        allowed: the allowed range in words, for the message.
        low: the smallest allowed value.
        high: the largest allowed value.
        above: whether ``low`` itself is not allowed.

    Raises:
        ConfigurationError: not a number, not finite, or out of range.

    Example:
        >>> check_number("tolerance", 1.5, "between 0 and 1", 0, 1)
        Traceback (most recent call last):
            ...
        curator_audio.errors.ConfigurationError: tolerance is 1.5; give a number between 0 and 1
    """
    if _is_finite_number(value) and low <= value <= high and not (above and value == low):
        return
    raise ConfigurationError(f"{name} is {value!r}; give a number {allowed}")


def check_count(name: str, value: Any, allowed: str, low: int, high: float = math.inf) -> None:
    """Refuse a parameter that is not a whole number from ``low`` to ``high``.

    Raises:
        ConfigurationError: not an integer, or out of range.

    Example:
        >>> check_count("min_speakers", 2, "of at least 0", 0)
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigurationError(f"{name} is {value!r}; give a whole number {allowed}")


def check_flag(name: str, value: Any) -> None:
    """Refuse a parameter that is neither true nor false.

    Raises:
        ConfigurationError: not a bool.

    Example:
        >>> check_flag("truncation", True)
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} is {value!r}; give true or false")


def field_names(name: str, value: Any) -> frozenset[str]:
    """The field names in a comma-separated string, or in a list of strings.

    Args:
        name: the parameter's name.
        value: what was given for it.

    Raises:
        ConfigurationError: neither a string nor a list of strings.

    Example:
        >>> sorted(field_names("drop_fields", "words, text,"))
        ['text', 'words']
    """
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, Sequence) or isinstance(value, bytes) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(f"{name} is {value!r}; give a comma-separated string or a list of strings")
    return frozenset(item.strip() for item in value if item.strip())


def _is_finite_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer no double can hold
        return False
