"""Pieces of files that an earlier run has done, and those that a run meets."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping

from curator_audio.tasks import Inputs


class Pieces:
    """What is known of pieces of files, whatever the path of the file was and however far a limit let them reach.

    Args:
        known: what partitions were made from, by their names.
        piece_of: the file, the first byte and the end of a place; None where a place is no piece of a file.

    Example:
        >>> from curator_audio.stages.io import ManifestReaderStage
        >>> from curator_audio.tasks import Input
        >>> places = {"a-0": "a.jsonl[0:80]", "a-1": "a.jsonl[80:120]", "a-2": "a.jsonl[300:350]"}
        >>> known = {name: Inputs.of({place: Input("1")}) for name, place in places.items()}
        >>> pieces = Pieces(known, ManifestReaderStage("a.jsonl").piece_of)
        >>> [pieces.met(place) for place in ("a.jsonl[0:80]", "a.jsonl[80:160]", "a.jsonl[160:240]")]
        ['a-0', 'a-1', None]
        >>> sorted(pieces.overlapped())
        ['a-0', 'a-1']
    """

    def __init__(self, known: Mapping[str, Inputs], piece_of: Callable[[str], tuple[str, int, int] | None]) -> None:
        self._piece_of = piece_of
        places = ((place, name) for name, inputs in known.items() for place in inputs.unpacked())
        self._known = [(piece, name) for place, name in places if (piece := piece_of(place)) is not None]
        self._names = {piece[:2]: name for piece, name in self._known}
        self._met: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))

    def met(self, place: str) -> str | None:
        """Take in a place of this run, those of a file in order; returns the known partition that begins there."""
        piece = self._piece_of(place)
        if piece is None:
            return None
        file, start, end = piece
        starts, ends = self._met[file]
        starts.append(start)
        ends.append(end)
        return self._names.get((file, start))

    def overlapped(self) -> set[str]:
        """Return the known partitions of which something is in a piece that was met."""
        names = set()
        for (file, start, end), name in self._known:
            starts, ends = self._met.get(file, ([], []))
            before = bisect_left(starts, end)
            if before and ends[before - 1] > start:
                names.add(name)
        return names
