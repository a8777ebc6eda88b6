"""Copying trees of files from any storage to any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.transfer.file_batch import FileBatch as FileBatch
    from curator_audio.stages.transfer.file_copier import FileCopierStage as FileCopierStage
    from curator_audio.stages.transfer.file_tree_reader import FileTreeReaderStage as FileTreeReaderStage
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "file_batch": ["FileBatch"],
            "file_copier": ["FileCopierStage"],
            "file_tree_reader": ["FileTreeReaderStage"],
        },
    )
