"""Files that exist, looked at and hashed for publishing."""

from curator_audio.stages.hub.file_hasher import FileHasherStage
from curator_audio.stages.hub.file_reader import PublishedFileReaderStage

__all__ = ["FileHasherStage", "PublishedFileReaderStage"]
