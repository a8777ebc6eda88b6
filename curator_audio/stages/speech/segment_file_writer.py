"""The name that the base of writers of files had before."""

from curator_audio.stages.io.file_writer import FileWriterStage as SegmentFileWriterStage

__all__ = ["SegmentFileWriterStage"]
