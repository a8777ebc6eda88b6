"""Tasks, which flow through a pipeline."""

from curator_audio.tasks.audio_batch import AudioBatch, Record
from curator_audio.tasks.inputs import Input, Inputs
from curator_audio.tasks.part import Part
from curator_audio.tasks.partition import Partition
from curator_audio.tasks.task import Task

__all__ = ["AudioBatch", "Input", "Inputs", "Part", "Partition", "Record", "Task"]
