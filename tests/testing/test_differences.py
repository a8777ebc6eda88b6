"""Values that are the same, and how others differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curator_audio.testing.differences import difference


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"a": 1, "b": [None, "x"]}, {"b": [None, "x"], "a": 1}),
        (1, 1.0),
        (float("nan"), float("nan")),
        (pytest.approx(0.5, abs=0.01), 0.505),
        (np.array([1.0, np.nan], np.float32), np.array([1.0, np.nan], np.float32)),
        (b"fLaC", b"fLaC"),
        ([(1, 2)], [[1, 2]]),
    ],
)
def test_the_same(expected: Any, found: Any) -> None:
    assert difference(expected, found) == ""


@pytest.mark.parametrize(
    ("expected", "found", "told"),
    [
        (1, True, "it is True, expected 1"),
        (True, 1, "it is 1, expected True"),
        ("1", 1, "it is 1, expected '1'"),
        ({"a": None}, {}, "'a' is missing, expected None"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2, 3]}}, "'a'['b'] is [1, 2, 3], expected [1, 2]"),
        ({"a": b"fLaC"}, {"a": b"fLaX"}, "'a' has other bytes than expected"),
        (b"fLaC", b"fLaCC", "it is <5 bytes>, expected <4 bytes>"),
        (np.zeros(2, np.float32), np.zeros(2), "expected array([0., 0.], dtype=float32)"),
        (0.0, float("nan"), "it is nan, expected 0.0"),
        ("x" * 999, "y", f"it is 'y', expected '{'x' * 199}…"),
    ],
)
def test_another(expected: Any, found: Any, told: str) -> None:
    assert difference(expected, found).endswith(told)
