"""Where modules are found: what is installed goes first, and the current folder is looked in for what is named only.

Python puts the folder of the script, or the current one, in front of all others: a file ``av.py`` in a folder with data
would be run instead of the library.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

_own_folders: list[str] = []


def take_from_front(folder: str) -> None:
    """Take a folder that Python put in front of the path out of it; modules that are named are still found there."""
    folder = os.path.abspath(folder)
    if sys.path and os.path.abspath(sys.path[0]) == folder:
        del sys.path[0]
        look_in(folder)


def look_in(*folders: str) -> None:
    """Have ``module_named`` look into these folders too, before those it was told of earlier."""
    new = [os.path.abspath(os.path.expanduser(folder)) for folder in folders]
    _own_folders[:] = dict.fromkeys([*new, *_own_folders])


def module_named(name: str) -> ModuleType:
    """The module of a dotted name: an installed one, else one's own, whose folders stay at the end of the path.

    Raises:
        ImportError: there is none; it says so where an installed one hides one's own.

    Example:
        >>> module_named("json").__name__
        'json'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        new = [folder for folder in _own_folders if folder not in sys.path]
        if not new or not f"{name}.".startswith(f"{error.name}."):
            raise ImportError(f"{error}{hidden(name)}") from None
    sys.path.extend(new)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(f"{error}{hidden(name)}") from None


def hidden(name: str) -> str:
    """What to tell of a module of one's own that an installed one of the same name goes before; empty if none does."""
    top = name.partition(".")[0]
    there = getattr(sys.modules.get(top), "__file__", None) or ""
    for folder in _own_folders:
        own = os.path.join(folder, top)
        if there and not there.startswith(own) and (os.path.isdir(own) or os.path.isfile(f"{own}.py")):
            return f"; {there} goes before {own}, rename yours"
    return ""
