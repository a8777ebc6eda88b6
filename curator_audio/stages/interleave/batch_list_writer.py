"""Writes batch lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.stages.interleave.batch_list import SUFFIX
from curator_audio.stages.io.appended_writer import AppendedWriterStage
from curator_audio.tasks import AudioBatch


@dataclass
class BatchListWriterStage(AppendedWriterStage[AudioBatch]):
    """Writes a text file a partition, with the ``folder`` of every record as a line.

    Args:
        output_path: the folder or prefix of the lists.

    Raises:
        ConfigurationError: a file instead of a folder.

    Example:
        >>> BatchListWriterStage("lists").encode(AudioBatch([{"folder": "1472-1437"}, {"folder": "1472-1438"}]))
        b'1472-1437\\n1472-1438\\n'
    """

    output_path: str

    name = "batch_list_writer"
    suffix: ClassVar[str] = SUFFIX

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_path.endswith(self.suffix):
            raise ConfigurationError(f"output_path is {self.output_path}; give a folder, a batch is a file in it")

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["folder"]

    def encode(self, task: AudioBatch) -> bytes:
        return "".join(f"{record['folder']}\n" for record in task.records).encode()
