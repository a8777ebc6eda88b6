from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from curator_audio.executors.quarantine import quarantine_lines
from curator_audio.stages.base import QuarantinedRecord
from tests.segments import segment


def line(record: Any) -> dict[str, Any]:
    """The line of a record, as a reader of the quarantine has it."""
    data = quarantine_lines([QuarantinedRecord("s3://bucket/a.parquet", -1, "writer", "wrong_type", "why", record)])
    assert data.count(b"\n") == 1 and data.endswith(b"\n")
    found: dict[str, Any] = json.loads(data)
    return found


def test_a_segment_is_told_without_its_sound() -> None:
    record = segment("a_seg_0", duration_sec=20.0, codes=[1, 2])
    told = line(record)
    num_bytes = len(record["audio"]["bytes"])
    assert told == {
        "source": "s3://bucket/a.parquet",
        "offset": -1,
        "stage": "writer",
        "reason": "wrong_type",
        "message": "why",
        "record": {**record, "audio": {"bytes": f"<{num_bytes} bytes>", "path": "a_seg_0.flac"}},
    }


@pytest.mark.parametrize("data", [bytes(10**6), bytearray(10**6), memoryview(bytes(10**6))])
def test_bytes_anywhere_are_told_by_their_length(data: Any) -> None:
    told = line({"a": data, "b": [{"c": data}, [data], 1], "d": (1, 2), "e": {"f": {"g": data}}})
    length = "<1000000 bytes>"
    assert told["record"] == {"a": length, "b": [{"c": length}, [length], 1], "d": [1, 2], "e": {"f": {"g": length}}}


def test_the_record_itself_is_left_alone() -> None:
    record = {"segments": [{"audio": b"sound"}], "codes": [1, 2]}
    line(record)
    assert record == {"segments": [{"audio": b"sound"}], "codes": [1, 2]}


def test_what_json_cannot_hold_is_told_in_few_words() -> None:
    told = line({"samples": np.zeros(10**6, np.float32), "text": "a"})
    assert told["record"] is None and "array([0., 0., 0., ..., 0., 0., 0.]" in told["record_repr"]
    assert len(json.dumps(told)) < 1000


def test_a_record_that_is_nested_too_deeply_is_told_all_the_same() -> None:
    nested: Any = "core"
    for _ in range(5000):
        nested = {"a": [nested]}
    told = line({"text": "so be it", "nested": nested})
    assert told["record"] is None and told["record_repr"].startswith("{'nested': {'a': [{'a': [{")
