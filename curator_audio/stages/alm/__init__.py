"""Windows of conversation for training audio language models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.alm.data_builder import ALMDataBuilderStage as ALMDataBuilderStage
    from curator_audio.stages.alm.data_overlap import ALMDataOverlapStage as ALMDataOverlapStage
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "data_builder": ["ALMDataBuilderStage"],
            "data_overlap": ["ALMDataOverlapStage"],
        },
    )
