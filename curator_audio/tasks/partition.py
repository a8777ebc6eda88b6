"""A named piece of a source."""

from __future__ import annotations

from dataclasses import dataclass, field

from curator_audio.tasks.task import Task


@dataclass
class Partition(Task):
    """A piece of a source that becomes one task and, at the end, one part.

    Args:
        name: unique in its source and stable between runs; the part is named after it.
        source_path: the file (or prefix) it is a piece of, as it is read.
        start: first byte of the range, in the decompressed file; 0 for a batch of files.
        end: one past the last byte; a line belongs to the partition in which it starts. For a batch of files, their
            size together.
        source_num_bytes: the size of the file when it was listed.
        inputs: what it is made from: a fingerprint, which changes when it is written again, by its place below the root
            of the source.
        data: the lines themselves, where the source can only be read in order (compressed manifests).
        is_cut: whether a limit left out some of what belongs in it; a later run may do it anew with more.
        overlong_num_bytes: the whole length of the last line of ``data`` where it was cut short, else 0.

    Example:
        >>> Partition(name="dev-000000000000", source_path="dev.jsonl", start=0, end=4096).num_items
        1
    """

    name: str
    source_path: str
    start: int
    end: int
    source_num_bytes: int = 0
    inputs: dict[str, str] = field(default_factory=dict, repr=False)
    data: bytes | None = field(default=None, repr=False)
    overlong_num_bytes: int = 0
    is_cut: bool = False
