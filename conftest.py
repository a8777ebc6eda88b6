"""Which files are looked through for tests and examples, and what a test may say that it needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TESTS = Path(__file__).parent / "tests"

# Examples in docstrings: not those of files whose library is not installed.
collect_ignore_glob = (
    [] if importlib.util.find_spec("torch") else ["curator_audio/stages/codec/*", "curator_audio/training/*"]
)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Pass over the helpers of tests: they hold neither tests nor examples, and some need a library of an extra."""
    is_helper = collection_path.suffix == ".py" and not collection_path.name.startswith(("test_", "conftest"))
    return True if is_helper and TESTS in collection_path.parents else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the session's Ray, and run those with the mark last, all on that one Ray."""
    for item in items:
        if "ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker("ray")
    items.sort(key=lambda item: item.get_closest_marker("ray") is not None)


@pytest.fixture(autouse=True)
def ray_only_where_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray cannot start in a test without the mark, nor in a process that it starts: there is no room for its files."""
    if request.node.get_closest_marker("ray") is None:
        monkeypatch.setenv("RAY_TMPDIR", "/dev/null/a test that starts Ray needs the mark ray")
