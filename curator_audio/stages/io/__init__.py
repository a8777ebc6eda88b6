"""Reading manifests, writing manifests and Parquet."""

from curator_audio.stages.io.manifest_reader import ManifestReaderStage
from curator_audio.stages.io.manifest_writer import ManifestWriterStage
from curator_audio.stages.io.parquet_writer import ParquetWriterStage

__all__ = ["ManifestReaderStage", "ManifestWriterStage", "ParquetWriterStage"]
