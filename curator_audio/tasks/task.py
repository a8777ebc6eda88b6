"""The base of everything that flows between stages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Task:
    """A unit of work, which one stage hands to the next."""

    @property
    def num_items(self) -> int:
        """Number of records (or other items) in the task, for progress and metrics."""
        return 1

    @property
    def memory_bytes(self) -> int:
        """Approximate memory of the task on its way to another worker, in bytes; 0 where it is small."""
        return 0
