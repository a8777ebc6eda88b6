"""The base of everything that flows between stages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Task:
    """A unit of work: what one stage hands to the next."""

    @property
    def num_items(self) -> int:
        """How many records (or other items) the task holds, for progress and metrics."""
        return 1

    @property
    def memory_bytes(self) -> int:
        """About how much memory what it holds takes on its way to another worker; 0 where that is little."""
        return 0
