"""Where the segments of each speaker are, in shards of many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from curator_audio.ledger import sha256_of

NOBODY = ""
"""Whose segments those are that name no speaker."""

Speakers = tuple[Sequence[str], npt.NDArray[np.int64]]
"""Speakers by their keys, and for each row of a piece of a shard the number of its speaker among these."""


@lru_cache(maxsize=4096)
def speaker_key(channel: str | None, speaker_id: str | None) -> str:
    """Return what tells a speaker from all others: a ``speaker_id`` is unique within a channel and no further.

    Example:
        >>> speaker_key("news", "ep1/SPEAKER_00"), speaker_key(None, "anna"), speaker_key("news", None)
        ('["news", "ep1/SPEAKER_00"]', '["", "anna"]', '')
    """
    return json.dumps([channel or "", speaker_id], ensure_ascii=False) if speaker_id else NOBODY


def speaker_of(key: str) -> tuple[str, str]:
    """Return the channel and the ``speaker_id`` of a key; both are empty for ``NOBODY``.

    Example:
        >>> speaker_of(speaker_key("news", "anna"))
        ('news', 'anna')
    """
    channel, speaker_id = json.loads(key) if key else ("", "")
    return channel, speaker_id


def speakers_of(speaker_ids: Any, channels: Any) -> Speakers:
    """Return the speakers of the rows of two columns, in the order of their first ones.

    Args:
        speaker_ids: a ``pyarrow.DictionaryArray`` of text.
        channels: another, as long.

    Example:
        >>> import pyarrow
        >>> ids, channels = pyarrow.array(["b", "a", None, "b"]), pyarrow.array(["x", "x", "x", "y"])
        >>> keys, numbers = speakers_of(ids.dictionary_encode(), channels.dictionary_encode())
        >>> keys, numbers.tolist()
        (['["x", "b"]', '["x", "a"]', '', '["y", "b"]'], [0, 1, 2, 3])
    """
    names, of_row = _names(speaker_ids)
    folders, folder_of_row = _names(channels)
    both, first, inverse = np.unique(of_row * len(folders) + folder_of_row, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    keys = [speaker_key(folders[number % len(folders)], names[number // len(folders)]) for number in both[order]]
    return keys, rank[inverse]


def _names(column: Any) -> tuple[list[str | None], npt.NDArray[np.int64]]:
    names = [*column.dictionary.to_pylist(), None]
    return names, column.indices.fill_null(len(names) - 1).to_numpy().astype(np.int64)


class SpeakerIndex:
    """The rows of every speaker, in 8 bytes a segment.

    Args:
        shards: the shards in order, and a mark of each that changes when it is written again.
        columns: of each shard the speakers of its rows, in pieces.

    Example:
        >>> index = SpeakerIndex({"0.parquet": "x"}, [[(["b", "a", ""], np.array([0, 1, 2, 0]))]])
        >>> {speaker: index.rows(speaker) for speaker in index.speakers}
        {'': {'0.parquet': [2]}, 'b': {'0.parquet': [0, 3]}, 'a': {'0.parquet': [1]}}
    """

    def __init__(self, shards: Mapping[str, str], columns: Iterable[Iterable[Speakers]]) -> None:
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

    def _numbered(self, piece: Speakers) -> npt.NDArray[np.int32]:
        """The number of each row's speaker; new ones get the next."""
        keys, of_row = piece
        numbers = np.array([self._numbers.setdefault(key, len(self._numbers)) for key in keys], np.int32)
        taken: npt.NDArray[np.int32] = numbers[of_row]
        return taken
