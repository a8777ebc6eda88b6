"""Segments in batches of some minutes of sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from curator_audio.tasks import AudioBatch, Record

BATCH_DURATION_SEC = 1800.0  # some 30 MB of FLAC: enough clips to make full batches of like lengths for a GPU
MAX_SEGMENTS = 2000
MAX_BYTES = 64 * 2**20  # of sound, which may be something else than FLAC, or of unknown length


def segment_batches(records: Iterable[tuple[Record, int]], source_path: str) -> Iterator[AudioBatch]:
    """Segments and their positions in the source as batches of about half an hour of sound.

    Example:
        >>> segments = (({"duration_sec": 1000.0}, position) for position in range(3))
        >>> [batch.offsets for batch in segment_batches(segments, "a.parquet")]
        [[0, 1], [2]]
    """
    batch: list[Record] = []
    offsets: list[int] = []
    duration, num_bytes = 0.0, 0
    for record, offset in records:
        batch.append(record)
        offsets.append(offset)
        duration += _duration_sec(record)
        num_bytes += _num_bytes(record.get("audio"))
        if duration >= BATCH_DURATION_SEC or num_bytes >= MAX_BYTES or len(batch) >= MAX_SEGMENTS:
            yield AudioBatch(batch, source_path, offsets)
            batch, offsets, duration, num_bytes = [], [], 0.0, 0
    if batch:
        yield AudioBatch(batch, source_path, offsets)


def _duration_sec(record: Record) -> float:
    duration = record.get("duration_sec")  # what it is in data of others
    return duration if isinstance(duration, (int, float)) and duration > 0 else 0.0


def _num_bytes(audio: Any) -> int:
    data = audio.get("bytes") if isinstance(audio, dict) else None
    return len(data) if isinstance(data, bytes) else 0
