"""Which files are looked through for tests and examples, and what a test may say that it needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TESTS = Path(__file__).parent / "tests"

# Examples in docstrings: not those of files whose library is not installed.
NEED = {"torch": ["stages/codec/*", "training/*"], "nemo_curator": ["interop/*"]}
collect_ignore_glob = [
    f"curator_audio/{files}" for library, of in NEED.items() if not importlib.util.find_spec(library) for files in of
]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Pass over the helpers of tests: they hold neither tests nor examples, and some need a library of an extra."""
    is_helper = collection_path.suffix == ".py" and not collection_path.name.startswith(("test_", "conftest"))
    return True if is_helper and TESTS in collection_path.parents else None
