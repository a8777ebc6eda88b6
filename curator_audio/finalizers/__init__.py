"""What completes an output once all its parts are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.finalizers.hub.publish import PublishToHub as PublishToHub
    from curator_audio.finalizers.join_parts import JoinParts as JoinParts
    from curator_audio.finalizers.save_to_disk import SaveToDisk as SaveToDisk
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "hub.publish": ["PublishToHub"],
            "join_parts": ["JoinParts"],
            "save_to_disk": ["SaveToDisk"],
        },
    )
