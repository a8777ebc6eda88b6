"""Reading manifests, writing manifests and Parquet, and the bases of writers."""

from curator_audio.stages.io.appended_writer import AppendedWriterStage
from curator_audio.stages.io.file_writer import FileWriterStage
from curator_audio.stages.io.manifest_reader import ManifestReaderStage
from curator_audio.stages.io.manifest_writer import ManifestWriterStage
from curator_audio.stages.io.parquet_writer import ParquetWriterStage

__all__ = [
    "AppendedWriterStage",
    "FileWriterStage",
    "ManifestReaderStage",
    "ManifestWriterStage",
    "ParquetWriterStage",
]
