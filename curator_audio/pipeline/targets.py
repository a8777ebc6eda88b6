"""The classes that a configuration names: by their dotted names, or as other packages offer them by entry points."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from curator_audio.errors import ConfigurationError, describe
from curator_audio.pipeline.old_names import name_now
from curator_audio.pipeline.schema import Schema
from curator_audio.stages.general.call_function import imported

GROUPS = {"executor": "curator_audio.executors", "stage": "curator_audio.stages"}
"""The entry points that are looked for, by what they offer."""


def kind_of(place: str) -> str:
    """Return what a place in a configuration holds: an executor, a stage, or a step.

    Example:
        >>> kind_of("stages.1"), kind_of("executor"), kind_of("after.0")
        ('stage', 'executor', 'step')
    """
    top = place.partition(".")[0]
    return {"executor": "executor", "after": "step", "publish": "step"}.get(top, "stage")


def offered(kind: str) -> list[metadata.EntryPoint]:
    """Return what installed packages offer of a kind, in order of their names; nothing is imported."""
    found = metadata.entry_points(group=GROUPS[kind]) if kind in GROUPS else ()
    return sorted(found, key=lambda entry: entry.name)


def owner_of(target: str, place: str) -> str:
    """Return the package of what a name stands for, for a message; empty for a dotted name."""
    entries = [entry for entry in offered(kind_of(place)) if entry.name == target]
    return f", of {package_of(entries[0])}," if entries else ""


def package_of(entry: metadata.EntryPoint) -> str:
    """Return the name and version of the package that has an entry point."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def class_named(target: str, place: str) -> Any:
    """Return the class that ``_target_`` names in a place of a configuration.

    Args:
        target: ``package.module.Class``, or the name of an entry point.
        place: ``executor``, ``stages.1``.

    Raises:
        ConfigurationError: there is none, or it cannot be imported; of an entry point it names the package.
    """
    kind = kind_of(place)
    if "." in target or kind not in GROUPS:
        return imported(name_now(target))
    entries = [entry for entry in offered(kind) if entry.name == target]
    if not entries:
        names = [entry.name for entry in offered(kind)]
        close = nearest(target, names)
        raise ConfigurationError(
            f"no installed package has {_a(kind)} '{target}'{close}; a class is named package.module.Class"
        )
    packages = sorted({package_of(entry) for entry in entries})
    if len(packages) > 1:
        raise ConfigurationError(f"{' and '.join(packages)} both have {_a(kind)} '{target}'; uninstall one")
    try:
        return entries[0].load()
    except Exception as error:  # the package's own code
        raise ConfigurationError(
            f"the {kind} '{target}' of package {packages[0]} cannot be loaded: {describe(error)}; "
            "mend the package, or uninstall it"
        ) from None


def parameters_of(target: Any, place: str) -> list[str] | None:
    """Return the parameters of what ``_target_`` names; None where that cannot be loaded."""
    try:
        return list(Schema.of(class_named(str(target), place)).parameters)
    except (ConfigurationError, TypeError):  # TypeError: something that is no class
        return None


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean …`` for a name that is not known.

    Example:
        >>> nearest("min_speekers", ["min_speakers", "tolerance"])
        "; did you mean 'min_speakers'?"
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else f"; there are {', '.join(known)}" if known else ""


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
