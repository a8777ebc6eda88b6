"""What is done to a task: base classes here, then a folder per job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.base import CompositeStage as CompositeStage
    from curator_audio.stages.base import ProcessingStage as ProcessingStage
    from curator_audio.stages.base import WorkerInfo as WorkerInfo
    from curator_audio.stages.record_stage import RecordStage as RecordStage
    from curator_audio.stages.resources import Resources as Resources
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "base": ["CompositeStage", "ProcessingStage", "WorkerInfo"],
            "record_stage": ["RecordStage"],
            "resources": ["Resources"],
        },
    )
