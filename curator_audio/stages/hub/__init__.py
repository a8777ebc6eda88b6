"""Files that exist, looked at and hashed for publishing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.hub.file_hasher import FileHasherStage as FileHasherStage
    from curator_audio.stages.hub.file_reader import PublishedFileReaderStage as PublishedFileReaderStage
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "file_hasher": ["FileHasherStage"],
            "file_reader": ["PublishedFileReaderStage"],
        },
    )
