"""For engines that carry data of their own kind between functions of their own kind (Ray Data, xenna).

An item travels as bytes, and an error travels like an item, past the stages that follow.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from curator_audio.executors.base import WorkerError, attempt
from curator_audio.executors.blueprint import Blueprint
from curator_audio.executors.context import WorkItem
from curator_audio.executors.worker import Worker
from curator_audio.tasks import Partition

WINDOW_BYTES = 256 * 2**20


class CarriedGroup:
    """A group of stages as a function from bytes to bytes, set up where it is made.

    The bytes are this run's own items on their way between its own workers, never input. A worker that cannot be set
    up says so in place of results: what is raised in a constructor, engines print at length.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._worker: Worker | None = None
        self._failure: Exception | None = None
        try:
            self._worker = blueprint.build()
        except Exception as error:
            self._failure = error

    def __call__(self, carried: Sequence[bytes]) -> list[bytes]:
        items = [pickle.loads(data) for data in carried]
        errors = [item for item in items if isinstance(item, WorkerError)]
        good = [item for item in items if isinstance(item, WorkItem)]
        results: list[Any] = []
        if self._failure is not None:
            results = [WorkerError.of(self._failure, item.partition.name) for item in good]
        elif self._worker is not None and good:
            results = attempt(self._worker, good)
        return [pickle.dumps(result) for result in (*results, *errors)]


def carried(partition: Partition) -> bytes:
    """A partition as it sets out."""
    return pickle.dumps(WorkItem.start(partition))


def arrived(data: bytes) -> Any:
    """What came out at the end: a ledger entry or an error."""
    return pickle.loads(data)


def windows(partitions: Iterator[Partition]) -> Iterator[list[Partition]]:
    """Partitions in lists that fit in memory: those that only name a range all at once, those with data in turn."""
    window: list[Partition] = []
    num_bytes = 0
    for partition in partitions:
        window.append(partition)
        num_bytes += len(partition.data or b"")
        if num_bytes >= WINDOW_BYTES:
            yield window
            window, num_bytes = [], 0
    if window:
        yield window
