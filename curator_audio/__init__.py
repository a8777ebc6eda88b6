"""Turn recordings into training data for audio language models.

from curator_audio import LocalExecutor, Pipeline
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage

Every name is imported when it is asked for, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.errors import AccessError as AccessError
    from curator_audio.errors import BadRecordError as BadRecordError
    from curator_audio.errors import ConfigurationError as ConfigurationError
    from curator_audio.errors import CuratorError as CuratorError
    from curator_audio.errors import LockLostError as LockLostError
    from curator_audio.errors import RecordError as RecordError
    from curator_audio.errors import SetupError as SetupError
    from curator_audio.errors import StorageError as StorageError
    from curator_audio.errors import StorageFullError as StorageFullError
    from curator_audio.errors import UnreachableError as UnreachableError
    from curator_audio.executors.local import LocalExecutor as LocalExecutor
    from curator_audio.executors.ray_actors import RayActorsExecutor as RayActorsExecutor
    from curator_audio.pipeline.pipeline import Pipeline as Pipeline
    from curator_audio.stages.base import CompositeStage as CompositeStage
    from curator_audio.stages.base import ProcessingStage as ProcessingStage
    from curator_audio.stages.base import WorkerInfo as WorkerInfo
    from curator_audio.stages.record_stage import RecordStage as RecordStage
    from curator_audio.stages.resources import Resources as Resources
    from curator_audio.tasks.audio_batch import AudioBatch as AudioBatch
    from curator_audio.tasks.audio_batch import Record as Record
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "errors": [
                "AccessError",
                "BadRecordError",
                "ConfigurationError",
                "CuratorError",
                "LockLostError",
                "RecordError",
                "SetupError",
                "StorageError",
                "StorageFullError",
                "UnreachableError",
            ],
            "executors.local": ["LocalExecutor"],
            "executors.ray_actors": ["RayActorsExecutor"],
            "pipeline.pipeline": ["Pipeline"],
            "stages.base": ["CompositeStage", "ProcessingStage", "WorkerInfo"],
            "stages.record_stage": ["RecordStage"],
            "stages.resources": ["Resources"],
            "tasks.audio_batch": ["AudioBatch", "Record"],
        },
    )

__version__ = "0.1.0"
