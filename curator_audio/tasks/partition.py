"""A named piece of a source."""

from __future__ import annotations

from dataclasses import dataclass, field

from curator_audio.tasks.task import Task


@dataclass
class Partition(Task):
    """A piece of a source that becomes one task and, at the end, one part.

    Args:
        name: unique in its source and stable between runs; the part is named after it.
        source_path: the file (or prefix) it is a piece of.
        start: first byte of the range, in the decompressed file.
        end: one past the last byte; a line belongs to the partition in which it starts.
        source_num_bytes: the size of the file when it was listed.
        version: size and mtime or etag of the source, for a cheap check for changes; empty where not known.
        data: the lines themselves, where the source can only be read in order (compressed manifests).
        overlong_num_bytes: the whole length of the last line of ``data`` where it was cut short, else 0.
        keys: for a batch of files, each one's path below ``source_path`` and a mark that changes when it is written
            again; ``start`` is then 0 and ``end`` their size together.

    Example:
        >>> Partition(name="dev-000000000000", source_path="dev.jsonl", start=0, end=4096).num_items
        1
    """

    name: str
    source_path: str
    start: int
    end: int
    source_num_bytes: int = 0
    version: str = ""
    data: bytes | None = field(default=None, repr=False)
    overlong_num_bytes: int = 0
    keys: dict[str, str] = field(default_factory=dict, repr=False)
