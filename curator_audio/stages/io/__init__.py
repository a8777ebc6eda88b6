"""Reading and writing manifests."""

from curator_audio.stages.io.manifest_reader import ManifestReaderStage
from curator_audio.stages.io.manifest_writer import ManifestWriterStage

__all__ = ["ManifestReaderStage", "ManifestWriterStage"]
