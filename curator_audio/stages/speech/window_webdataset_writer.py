"""Writing windows as WebDataset tar shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curator_audio.stages.speech.webdataset_writer import WebDatasetWriterStage


@dataclass
class WindowWebDatasetWriterStage(WebDatasetWriterStage):
    """Writes windows as tar shards of ``{channel}/{name}.flac`` and ``….json``, a shard a partition.

    The name is the window's id without its channel.

    Args:
        output_path: the folder or prefix of the shards.

    Raises:
        ConfigurationError: a file instead of a folder.
    """

    name = "webdataset_writer"
    id_field: ClassVar[str] = "window_id"
