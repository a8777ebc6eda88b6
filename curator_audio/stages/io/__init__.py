"""Reading manifests, writing manifests and Parquet, and the bases of writers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.io.appended_writer import AppendedWriterStage as AppendedWriterStage
    from curator_audio.stages.io.file_writer import FileWriterStage as FileWriterStage
    from curator_audio.stages.io.manifest_reader import ManifestReaderStage as ManifestReaderStage
    from curator_audio.stages.io.manifest_writer import ManifestWriterStage as ManifestWriterStage
    from curator_audio.stages.io.parquet_writer import ParquetWriterStage as ParquetWriterStage
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "file_writer": ["FileWriterStage"],
            "appended_writer": ["AppendedWriterStage"],
            "manifest_reader": ["ManifestReaderStage"],
            "manifest_writer": ["ManifestWriterStage"],
            "parquet_writer": ["ParquetWriterStage"],
        },
    )
