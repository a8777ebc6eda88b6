"""Steps that run after all partitions are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.after.join_parts import JoinParts as JoinParts
    from curator_audio.stages.after.save_to_disk import SaveToDisk as SaveToDisk
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "join_parts": ["JoinParts"],
            "save_to_disk": ["SaveToDisk"],
        },
    )
