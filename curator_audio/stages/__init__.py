"""What is done to a task: base classes here, then a folder per job."""

from curator_audio.stages.base import CompositeStage, ProcessingStage, WorkerInfo
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.resources import Resources

__all__ = ["CompositeStage", "ProcessingStage", "RecordStage", "Resources", "WorkerInfo"]
