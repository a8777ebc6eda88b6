"""Turns recordings into training data for audio language models.

from curator_audio import Pipeline
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curator_audio.pipeline.pipeline import Pipeline

__version__ = "0.1.0"
__all__ = ["Pipeline", "__version__"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """``Pipeline`` is imported when it is asked for, so that importing the package costs nothing."""
    if name == "Pipeline":
        from curator_audio.pipeline.pipeline import Pipeline

        return Pipeline
    raise AttributeError(f"module 'curator_audio' has no attribute '{name}'")
