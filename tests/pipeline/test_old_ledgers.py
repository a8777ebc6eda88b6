"""Ledgers that older versions have written, read by this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.old_ledgers import RECORDED_AT, pipelines, put_back, run

KINDS = list(pipelines(RECORDED_AT))


def output(root: Path) -> dict[str, tuple[bytes, int]]:
    """All files of input and output, with their times of writing, but none of what tells of runs."""
    files = [path for path in root.rglob("*") if path.is_file() and "_ledger" not in path.parts]
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files if p.name != "metrics.json"}


def done_before(name: str) -> tuple[Any, int]:
    result = run(pipelines(RECORDED_AT)[name][1](), RECORDED_AT)
    return result, result.num_done_before


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_done_twice(name: str) -> None:
    root = put_back(name)
    before = output(root)
    for _ in range(2):  # with the ledger as it was, and as the first of them has rewritten it
        result, num_done = done_before(name)
        assert num_done == len(result.entries) > 0 and not result.failures
        assert output(root) == before
