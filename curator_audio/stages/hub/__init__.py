"""Publishing files to a dataset repository on the Hugging Face Hub."""

from curator_audio.stages.hub.file_hasher import FileHasherStage
from curator_audio.stages.hub.file_reader import PublishedFileReaderStage
from curator_audio.stages.hub.publish import PublishToHub

__all__ = ["FileHasherStage", "PublishToHub", "PublishedFileReaderStage"]
