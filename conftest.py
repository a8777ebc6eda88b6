"""Which files are looked through for tests and examples, and what a test may say that it needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TESTS = Path(__file__).parent / "tests"

# Examples in docstrings: not those of files whose library is not installed.
collect_ignore_glob = (
    [] if importlib.util.find_spec("torch") else ["curator_audio/stages/codec/*", "curator_audio/training/*"]
)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Pass over the helpers of tests: they hold neither tests nor examples, and some need a library of an extra."""
    is_helper = collection_path.suffix == ".py" and not collection_path.name.startswith(("test_", "conftest"))
    return True if is_helper and TESTS in collection_path.parents else None
