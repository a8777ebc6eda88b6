"""Interleaved text-audio documents, and the lists that say which segments go into which file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.interleave.batch_list_writer import BatchListWriterStage as BatchListWriterStage
    from curator_audio.stages.interleave.interleaver import InterleaverStage as InterleaverStage
    from curator_audio.stages.interleave.segment_json_reader import SegmentJsonReaderStage as SegmentJsonReaderStage
    from curator_audio.stages.interleave.speaker_batch_reader import SpeakerBatchReaderStage as SpeakerBatchReaderStage
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "batch_list_writer": ["BatchListWriterStage"],
            "interleaver": ["InterleaverStage"],
            "segment_json_reader": ["SegmentJsonReaderStage"],
            "speaker_batch_reader": ["SpeakerBatchReaderStage"],
        },
    )
