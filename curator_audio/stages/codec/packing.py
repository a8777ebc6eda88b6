"""Which clips are encoded together."""

from __future__ import annotations

from collections.abc import Sequence

MIN_FILL = 0.75
"""A clip joins a batch only if it is at least this share of the longest in it: the rest would be padding."""


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Batches of clips of similar length, the longest first; depends on the lengths only.

    In a batch all clips are padded to its longest. A clip longer than the budget is a batch of its own.

    Args:
        lengths: of the clips, in any unit.
        budget: how much a batch may be, padding included, in the same unit.

    Returns:
        For each batch the indices of its clips.

    Example:
        >>> pack([3, 10, 9, 3, 25], budget=20)
        [[4], [1, 2], [0, 3]]
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = batches and (len(batches[-1]) + 1) * longest <= budget and lengths[index] >= MIN_FILL * longest
        if fits:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = lengths[index]
    return batches
