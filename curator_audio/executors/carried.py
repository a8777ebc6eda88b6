"""For engines that carry data of their own kind between functions of their own kind (Ray Data, xenna).

An item travels as bytes, and an error travels like an item, past the stages that follow.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from curator_audio.executors.base import WorkerError, attempt
from curator_audio.executors.context import RunContext, WorkItem
from curator_audio.executors.worker import Worker
from curator_audio.pipeline.plan import StageGroup
from curator_audio.tasks import Partition

WINDOW_BYTES = 256 * 2**20


class CarriedGroup:
    """A group of stages as a function from bytes to bytes, set up where it is made.

    The bytes are this run's own items on their way between its own workers, never input.
    """

    def __init__(self, group: StageGroup, context: RunContext) -> None:
        self._worker = Worker(group, context)
        self._worker.setup()

    def __call__(self, carried: Sequence[bytes]) -> list[bytes]:
        items = [pickle.loads(data) for data in carried]
        errors = [item for item in items if isinstance(item, WorkerError)]
        good = [item for item in items if isinstance(item, WorkItem)]
        results: list[Any] = attempt(self._worker, good) if good else []
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
