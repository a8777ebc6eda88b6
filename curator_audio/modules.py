"""Find modules: installed ones first; the current folder is searched only for modules that a user has named.

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
    """Remove a folder that Python put in front of the path; ``module_named`` still searches it."""
    folder = os.path.abspath(folder)
    if sys.path and os.path.abspath(sys.path[0]) == folder:
        del sys.path[0]
        look_in(folder)


def look_in(*folders: str) -> None:
    """Let ``module_named`` search these folders too, before those given earlier."""
    new = [os.path.abspath(os.path.expanduser(folder)) for folder in folders]
    _own_folders[:] = dict.fromkeys([*new, *_own_folders])


def module_named(name: str) -> ModuleType:
    """Import the module of a dotted name: an installed one, else one's own, whose folders stay at the end of the path.

    Raises:
        ImportError: the module is missing; the message says so where an installed one hides one's own.

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
    """Return the end of a message about an installed module that hides one's own; empty where none is hidden."""
    top = name.partition(".")[0]
    there = getattr(sys.modules.get(top), "__file__", None) or ""
    for folder in _own_folders:
        own = os.path.join(folder, top)
        if there and not there.startswith(own) and (os.path.isdir(own) or os.path.isfile(f"{own}.py")):
            return f"; {there} goes before {own}, rename yours"
    return ""
