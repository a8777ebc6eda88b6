"""Which files are looked through for tests and examples, and what a test may say that it needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent / "tests"
NO_ROOM = "/dev/null/a test that starts Ray needs the mark ray"

# Examples in docstrings: not those of files whose library is not installed.
NEED = {"torch": ["stages/codec/*", "training/*"], "nemo_curator": ["interop/*"]}
collect_ignore_glob = [
    f"curator_audio/{files}" for library, of in NEED.items() if not importlib.util.find_spec(library) for files in of
]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Pass over the helpers of tests: they hold neither tests nor examples, and some need a library of an extra."""
    is_helper = collection_path.suffix == ".py" and not collection_path.name.startswith(("test_", "conftest"))
    return True if is_helper and TESTS in collection_path.parents else None


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in two processes, where nobody asks for another number; of its parts, one is up sooner."""
    options = config.option
    is_whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    is_alone = options.usepdb or options.trace or options.collectonly or hasattr(config, "workerinput")
    if is_whole and not is_alone and config.pluginmanager.hasplugin("xdist") and options.numprocesses is None:
        options.numprocesses, options.dist = 2, "loadgroup"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that use the session's Ray; those with the mark are run together, by one process, on that Ray."""
    for item in items:
        if "ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker("ray")
        if item.get_closest_marker("ray") and config.pluginmanager.hasplugin("xdist"):
            item.add_marker(pytest.mark.xdist_group("ray"))
    items.sort(key=lambda item: item.get_closest_marker("ray") is not None)


@pytest.fixture(autouse=True)
def ray_only_where_marked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no room for Ray's files in a test without the mark, nor in a process that it starts."""
    if request.node.get_closest_marker("ray") is None:
        monkeypatch.setenv("RAY_TMPDIR", NO_ROOM)
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            monkeypatch.setattr("curator_audio.executors.ray_cluster.RayCluster.start", no_ray)


def no_ray(*_: object, **__: object) -> None:
    """Take the place of what would connect to the session's Ray."""
    pytest.fail(NO_ROOM.rpartition("/")[2])
