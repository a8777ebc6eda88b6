"""What completes an output once all its parts are there."""

from curator_audio.finalizers.hub.publish import PublishToHub
from curator_audio.finalizers.join_parts import JoinParts
from curator_audio.finalizers.save_to_disk import SaveToDisk

__all__ = ["JoinParts", "PublishToHub", "SaveToDisk"]
