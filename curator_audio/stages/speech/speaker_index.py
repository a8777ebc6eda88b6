"""Where the segments of each speaker are, in shards of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.storage.ledger import sha256_of

NOBODY = ""
"""Whose segments those are that name no speaker."""


class SpeakerIndex:
    """The rows of every speaker, in 8 bytes a segment.

    Args:
        shards: the shards in order, and a mark of each that changes when it is written again.
        columns: of each shard its ``speaker_id`` column, as ``pyarrow.DictionaryArray`` pieces.

    Example:
        >>> import pyarrow
        >>> column = pyarrow.array(["b", "a", None, "b"]).dictionary_encode()
        >>> index = SpeakerIndex({"0.parquet": "x"}, [[column]])
        >>> {speaker: index.rows(speaker) for speaker in index.speakers}
        {'': {'0.parquet': [2]}, 'b': {'0.parquet': [0, 3]}, 'a': {'0.parquet': [1]}}
    """

    def __init__(self, shards: Mapping[str, str], columns: Iterable[Iterable[Any]]) -> None:
        self._shards = list(shards.items())
        self._numbers = {NOBODY: 0}
        numbers = [[self._numbered(piece) for piece in pieces] for pieces in columns]
        self._starts = np.cumsum([0, *(sum(map(len, pieces)) for pieces in numbers)])
        of_row = np.concatenate([np.empty(0, np.int32), *(piece for pieces in numbers for piece in pieces)])
        del numbers
        self._rows = np.argsort(of_row, kind="stable")
        self._ends = np.cumsum(np.bincount(of_row, minlength=len(self._numbers)))

    @property
    def speakers(self) -> list[str]:
        """The speakers that have segments, in the order of their first ones; ``NOBODY`` comes first."""
        return [speaker for speaker in self._numbers if self.num_segments(speaker)]

    def num_segments(self, speaker: str) -> int:
        return len(self._of(speaker))

    def rows(self, speaker: str) -> dict[str, list[int]]:
        """The rows of a speaker in each shard that has any."""
        of_shard = {}
        rows = self._of(speaker)
        bounds = np.searchsorted(rows, self._starts)
        for number in np.flatnonzero(np.diff(bounds)):
            there = rows[bounds[number] : bounds[number + 1]] - self._starts[number]
            of_shard[self._shards[number][0]] = there.tolist()
        return of_shard

    def mark(self, speaker: str) -> str:
        """Changes when any shard with segments of the speaker does."""
        numbers = np.unique(np.searchsorted(self._starts, self._of(speaker), side="right") - 1)
        return sha256_of([self._shards[number] for number in numbers])[:12]

    def _of(self, speaker: str) -> npt.NDArray[np.int64]:
        number = self._numbers[speaker]
        return self._rows[self._ends[number - 1] if number else 0 : self._ends[number]]

    def _numbered(self, piece: Any) -> npt.NDArray[np.int32]:
        """The number of each row's speaker; new ones get the next."""
        names = [*piece.dictionary.to_pylist(), NOBODY]
        numbers = np.array([self._numbers.setdefault(name or NOBODY, len(self._numbers)) for name in names], np.int32)
        taken: npt.NDArray[np.int32] = numbers[piece.indices.fill_null(len(names) - 1).to_numpy()]
        return taken
