"""Steps that run after all partitions are done."""

from curator_audio.stages.after.join_parts import JoinParts

__all__ = ["JoinParts"]
