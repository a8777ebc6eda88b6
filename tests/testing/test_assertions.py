"""What ``assert_stage`` lets pass, and what it says of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from curator_audio import Record, RecordError, RecordStage
from curator_audio.testing import assert_stage


@dataclass
class Halved(RecordStage):
    """Halves ``n``, drops 0, and quarantines what is negative."""

    forgets: bool = False

    name = "halved"

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"half": "float"}

    def process_record(self, record: Record) -> Record | None:
        if record["n"] < 0:
            raise RecordError("negative", f"n is {record['n']}")
        if record["n"] == 0:
            self.log_skipped("show", "zero")
            return None
        self.log_metric("halves", 1)
        return record if self.forgets else {**record, "half": record["n"] / 2}


RECORDS = [{"n": 3}, {"n": 0}, {"n": -1}]


def test_what_passes() -> None:
    expected = [{"n": 3, "half": pytest.approx(1.5001, abs=0.001)}]
    counts: dict[str, Any] = {"quarantined": {"negative": 1}, "skipped": {"zero": 1}}
    result = assert_stage(Halved(), RECORDS, expected, **counts, metrics={"halves": 1})
    assert result.records == [{"n": 3, "half": 1.5}]


def failed(*arguments: Any, **expected: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        assert_stage(*arguments, **expected)
    first, *lines = str(caught.value).splitlines()
    assert first == "'halved' did not do what was expected:"
    return lines


def test_everything_that_differs_is_told() -> None:
    assert failed(Halved(), RECORDS, [{"n": 3, "half": 2.0}], quarantined={"negative": 2}, metrics={"x": 1}) == [
        "  record 0: 'half' is 1.5, expected 2.0",
        "  quarantined: 'negative' is 1, expected 2",
        "    halved: negative: n is -1",
        "  skipped: 'zero' is not expected: 1",
        "  metrics: 'x' is missing, expected 1",
    ]


def test_more_or_fewer_records_than_expected() -> None:
    assert failed(Halved(), [{"n": 4}]) == [
        "  there are 1 records, expected 0",
        "  record 0 is not expected: {'n': 4, 'half': 2.0}",
    ]
    assert failed(Halved(), [], [{"n": 4}]) == ["  there are 0 records, expected 1", "  record 0 is missing: {'n': 4}"]
    many = failed(Halved(), [{"n": 4}] * 9, [{"n": 4, "half": 2.5}] * 9)
    assert (len(many), many[-1]) == (6, "  and 4 other records differ")


def test_a_declared_field_that_is_not_given() -> None:
    assert failed(Halved(forgets=True), [{"n": 4}], [{"n": 4}]) == [
        "  record 0: 'half' is missing, which outputs() declares"
    ]


class Numpy(RecordStage):
    """Leaves NumPy's scalars in its records, which JSON does not take."""

    name = "halved"

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"half": "float32", "double": "float"}

    def process_record(self, record: Record) -> Record:
        return {"half": np.float32(record["n"] / 2), "double": np.float64(2 * record["n"])}


def test_a_field_that_not_every_writer_takes() -> None:
    assert failed(Numpy(), [{"n": 4}, {"n": 4}], [{"half": 2.0, "double": 8.0}] * 2) == [
        "  record 0: 'half' is a numpy.float32; give a Python value, such as float(x) or x.tolist()"
    ]


def test_a_bug_is_told_with_its_line() -> None:
    quarantined, told = failed(Halved(), [{"m": 4}])
    assert quarantined == "  quarantined: 'KeyError' is not expected: 1"
    assert told.startswith("    halved: KeyError: 'n' (") and "test_assertions.py:" in told
