"""Copying trees of files from any storage to any other."""

from curator_audio.stages.transfer.file_batch import FileBatch
from curator_audio.stages.transfer.file_copier import FileCopierStage
from curator_audio.stages.transfer.file_tree_reader import FileTreeReaderStage

__all__ = ["FileBatch", "FileCopierStage", "FileTreeReaderStage"]
