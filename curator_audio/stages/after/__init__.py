"""Steps that run after all partitions are done."""

from curator_audio.stages.after.join_parts import JoinParts
from curator_audio.stages.after.save_to_disk import SaveToDisk

__all__ = ["JoinParts", "SaveToDisk"]
