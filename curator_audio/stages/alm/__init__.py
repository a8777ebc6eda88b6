"""Windows of conversation for training audio language models."""

from curator_audio.stages.alm.data_builder import ALMDataBuilderStage
from curator_audio.stages.alm.data_overlap import ALMDataOverlapStage

__all__ = ["ALMDataBuilderStage", "ALMDataOverlapStage"]
