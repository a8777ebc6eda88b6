"""Interleaved text-audio documents, and the lists that say which segments go into which file."""

from curator_audio.stages.interleave.batch_list_writer import BatchListWriterStage
from curator_audio.stages.interleave.interleaver import InterleaverStage
from curator_audio.stages.interleave.segment_json_reader import SegmentJsonReaderStage
from curator_audio.stages.interleave.speaker_batch_reader import SpeakerBatchReaderStage

__all__ = ["BatchListWriterStage", "InterleaverStage", "SegmentJsonReaderStage", "SpeakerBatchReaderStage"]
