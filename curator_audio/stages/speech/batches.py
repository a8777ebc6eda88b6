"""Segments in batches of some minutes of sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from curator_audio.tasks import AudioBatch, Record

BATCH_DURATION_SEC = 1800.0  # some 30 MB of FLAC: enough clips to make full batches of like lengths for a GPU
MAX_SEGMENTS = 2000


def segment_batches(records: Iterable[tuple[Record, int]], source_path: str) -> Iterator[AudioBatch]:
    """Segments and their positions in the source as batches of about half an hour of sound.

    Example:
        >>> segments = (({"duration_sec": 1000.0}, position) for position in range(3))
        >>> [batch.offsets for batch in segment_batches(segments, "a.parquet")]
        [[0, 1], [2]]
    """
    batch: list[Record] = []
    offsets: list[int] = []
    duration = 0.0
    for record, offset in records:
        batch.append(record)
        offsets.append(offset)
        duration += record.get("duration_sec") or 0.0
        if duration >= BATCH_DURATION_SEC or len(batch) >= MAX_SEGMENTS:
            yield AudioBatch(batch, source_path, offsets)
            batch, offsets, duration = [], [], 0.0
    if batch:
        yield AudioBatch(batch, source_path, offsets)
