"""Packages that are as good as installed: a module, and the metadata that says what it offers."""

from __future__ import annotations

from pathlib import Path

import pytest


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str, name: str = "their-package", module: str = ""
) -> None:
    """Put a package's metadata into a folder that Python looks in, and a module of it where one is given.

    Args:
        folder: one of the test's own.
        monkeypatch: which takes it off the path again.
        entry_points: as in ``entry_points.txt``.
        name: the package's; the module has it with underscores.
        module: the module's source.
    """
    metadata = folder / f"{name.replace('-', '_')}-1.2.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    if module:
        (folder / f"{name.replace('-', '_')}.py").write_text(module)
    monkeypatch.syspath_prepend(folder)
