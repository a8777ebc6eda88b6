"""Packages export their names lazily: each is there, a type checker sees it, and asking for one imports no other."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import curator_audio

ROOT = Path(curator_audio.__file__).parent
LAZY = {
    ".".join(path.parent.relative_to(ROOT.parent).parts): path
    for path in sorted(ROOT.rglob("__init__.py"))
    if "lazily(" in path.read_text(encoding="utf-8")
}


def seen_by_type_checkers(package: str) -> dict[str, str]:
    """The module of every name that is imported under ``if TYPE_CHECKING``."""
    tree = ast.parse(LAZY[package].read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        name.asname or "not exported": node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }


def test_the_package_and_all_folders_of_stages_are_lazy() -> None:
    folders = {f"curator_audio.stages.{path.parent.name}" for path in (ROOT / "stages").glob("*/__init__.py")}
    assert {"curator_audio", "curator_audio.stages", *folders} <= set(LAZY)


@pytest.mark.parametrize("package", LAZY)
def test_every_exported_name_is_there_and_listed(package: str) -> None:
    module = importlib.import_module(package)
    seen = seen_by_type_checkers(package)
    in_one = set(seen) ^ set(module.__all__)
    assert not in_one, f"{LAZY[package]} names {in_one} for type checkers or for lazily() only; name it for both"
    exported = {name: getattr(module, name) for name in module.__all__}
    assert set(exported) <= set(dir(module))
    for name, value in exported.items():
        assert value is getattr(importlib.import_module(seen[name]), name)

    star: dict[str, object] = {}
    exec(f"from {package} import *", star)
    assert {name: star[name] for name in exported} == exported


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Piplin' from 'curator_audio'"):
        exec("from curator_audio import Piplin")
    with pytest.raises(AttributeError, match=r"'curator_audio\.stages\.io' has no attribute 'ManifestReader'"):
        curator_audio.stages.io.ManifestReader  # noqa: B018


def test_what_is_not_asked_for_is_not_imported() -> None:
    code = """
import sys
before = set(sys.modules)
import curator_audio
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
print(*sorted(name for name in sys.modules if name.startswith("curator_audio")))
from curator_audio.stages.io import ManifestReaderStage
from curator_audio.stages.speech import SelectChannelsStage
print(*sorted({"pyarrow", "numpy", "av", "soxr", "ray", "hydra", "fsspec"} & set(sys.modules)))
print(*(name for name in sys.modules if name.startswith("curator_audio.stages.io.")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    first, own, heavy, stages = done.stdout.splitlines()
    assert (first, own) == ("curator_audio", "curator_audio curator_audio.lazy")
    assert "curator_audio.stages.io.manifest_reader" in stages and "parquet" not in stages
    assert set(heavy.split()) <= {"fsspec"}
