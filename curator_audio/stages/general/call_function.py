"""Call a Python function on every record."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from curator_audio.errors import ConfigurationError, describe
from curator_audio.modules import hidden, module_named
from curator_audio.stages.fields import Fields
from curator_audio.stages.record_stage import RecordStage
from curator_audio.tasks import Record


@dataclass
class CallFunctionStage(RecordStage):
    """Call a function on every record; it returns the record's replacement, a list of them, or None to drop it.

    Args:
        function: its dotted name (``my_package.my_module.my_function``), importable where the workers run.
        arguments: further arguments, by name.

    Raises:
        ConfigurationError: the function cannot be imported.

    Example:
        >>> CallFunctionStage("builtins.dict", {"language": "en"}).process_record({"text": "a"})
        {'text': 'a', 'language': 'en'}
    """

    function: str
    arguments: dict[str, Any] = field(default_factory=dict)

    name = "call_function"

    def __post_init__(self) -> None:
        self._function = imported(self.function)

    def fields_after(self, fields: Fields) -> Fields:
        """Return any fields: a function does not declare which it adds or removes."""
        return replace(fields, open=True, removed=frozenset(), unknown=True)

    def process_record(self, record: Record) -> Record | list[Record] | None:
        result: Record | list[Record] | None = self._function(record, **self.arguments)
        return result


def imported(name: str) -> Callable[..., Any]:
    """Import the function (or class) of a dotted name.

    Raises:
        ConfigurationError: it cannot be imported, or cannot be called.
    """
    module_name, _, attribute = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if not module_name:
        raise ConfigurationError(f"{name!r} is not a dotted name; give package.module.function")
    try:
        module = module_named(module_name)
        found = getattr(module, attribute, None)  # which a package may import only now
    except ImportError as error:
        raise ConfigurationError(f"'{name}' cannot be imported: {error}; check the name and the Python path") from None
    except Exception as error:  # the module's own code
        raise ConfigurationError(f"'{name}' cannot be imported: {describe(error)}") from None
    if not callable(found):
        what = "is not there" if found is None else f"is a {type(found).__name__}"
        close = difflib.get_close_matches(attribute, dir(module), 1) if found is None else []
        meant = f"; did you mean '{close[0]}'?" if close else "; give the name of a function or class"
        remedy = hidden(module_name) or meant
        raise ConfigurationError(f"'{attribute}' {what} in module {module_name}{remedy}")
    return found  # type: ignore[no-any-return]
