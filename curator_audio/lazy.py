"""Export names from a package, and import them only when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

Lazy = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazily(package: str, exported: Mapping[str, Sequence[str]]) -> Lazy:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` for a package's ``__init__.py``.

    A name is imported once, by whoever asks for it first: ``from package import Name`` and ``from package import *``
    work as if all were imported, and importing one module of the package does not import the others.

    Args:
        package: its ``__name__``.
        exported: the names, by the module of the package that has them.

    Example:
        >>> get, listed, names = lazily("curator_audio.tasks", {"part": ["Part"], "task": ["Task"]})
        >>> names, get("Task").__module__
        (['Part', 'Task'], 'curator_audio.tasks.task')
        >>> get("Tusk")
        Traceback (most recent call last):
        AttributeError: module 'curator_audio.tasks' has no attribute 'Tusk'
    """
    modules = {name: f"{package}.{module}" for module, names in exported.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in modules:
            # Python says after it which name may be meant, as it does of other modules.
            raise AttributeError(f"module '{package}' has no attribute '{name}'", name=name, obj=sys.modules[package])
        value = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)  # so that it is asked for once
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return __getattr__, __dir__, sorted(modules)
