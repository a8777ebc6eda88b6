"""Files that two partitions of a run have written."""

from __future__ import annotations

from collections.abc import Iterable

from curator_audio.ledger import LedgerEntry


def written_twice(entries: Iterable[LedgerEntry]) -> dict[str, str]:
    """Find partitions of which a file has the path of another's, and other content.

    Where a record is a file that is named after it, records of two partitions may have one name: the file is that of
    the partition which was done last.

    Returns:
        What is wrong by the name of the later partition, in the order of ``entries``.

    Example:
        >>> from curator_audio.tasks import Part
        >>> from curator_audio.tasks.inputs import NOTHING
        >>> one, other = Part("news/a.wav", 10, "x", 1), Part("news/a.wav", 12, "y", 1)
        >>> parts = {"0": one, "1": other}
        >>> written_twice(LedgerEntry(name, "", 0, 0, NOTHING, [part], [], {}, {}) for name, part in parts.items())
        {'1': 'news/a.wav is also what partition 0 has written: two records have one name; rename one'}
    """
    first: dict[str, tuple[str, str]] = {}
    wrong: dict[str, str] = {}
    for entry in entries:
        for part in entry.parts:
            other, sha256 = first.setdefault(part.path, (entry.partition, part.sha256))
            if other != entry.partition and sha256 != part.sha256:
                wrong.setdefault(
                    entry.partition,
                    f"{part.path} is also what partition {other} has written: two records have one name; rename one",
                )
    return wrong
