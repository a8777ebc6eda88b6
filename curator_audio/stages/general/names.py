"""Check lists of field names."""

from __future__ import annotations

from typing import Any

from curator_audio.errors import ConfigurationError


def field_names(parameter: str, names: Any) -> list[str]:
    """Return a list of field names, given as a list or as text with commas.

    Raises:
        ConfigurationError: it is something else, or empty.

    Example:
        >>> field_names("fields", "text, duration")
        ['text', 'duration']
    """
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(n, str) and n for n in names):
        raise ConfigurationError(f"{parameter} is {names!r}; give a list of field names")
    return list(names)
