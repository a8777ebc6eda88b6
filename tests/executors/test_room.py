"""How much may be on its way between Ray workers before another partition is started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from curator_audio.executors.ray_actors import _Job, _Room
from curator_audio.tasks import AudioBatch, Partition


def pool(*sizes: int) -> Any:
    """A pool with jobs of these sizes; 0 for one that is not read yet."""
    return SimpleNamespace(jobs=[_Job(Partition("p", "p", 0, 1), None, num_bytes=size) for size in sizes])


def test_the_first_partition_is_always_started() -> None:
    assert _Room(1).for_another([pool(), pool()])


def test_what_is_known_and_what_is_expected_must_fit() -> None:
    room = _Room(100)
    assert room.for_another([pool(), pool(30, 20)])  # 50 and another of at most 30
    assert not room.for_another([pool(0), pool(30, 20)])  # the one that is being read will have 30 too
    assert not room.for_another([pool(), pool(60)])


def test_the_largest_partition_so_far_is_remembered() -> None:
    room = _Room(100)
    assert not room.for_another([pool(), pool(90)])
    assert not room.for_another([pool(0), pool()])
    assert room.for_another([pool(), pool()])


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(50, 400))
def test_started_partitions_no_larger_than_the_largest_stay_within_the_room(sizes: list[int], limit: int) -> None:
    room = _Room(limit)
    if sizes and room.for_another([pool(*sizes)]):
        largest = max(sizes)
        assert sum(size or largest for size in sizes) + largest <= limit


def test_the_size_of_a_batch_is_that_of_its_sound() -> None:
    batch = AudioBatch([{"audio": {"bytes": b"12345", "path": None}, "text": "so"}, {"audio": None, "codes": [1, 2]}])
    assert batch.memory_bytes == 5
