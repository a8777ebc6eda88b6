"""Writing segments as sound files to listen to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curator_audio.stages.fields import Fields
from curator_audio.stages.io.file_writer import Files, FileWriterStage
from curator_audio.stages.speech.segments import SEGMENT_TYPES, sound_of
from curator_audio.stages.speech.sound import decode_sound, encode_wav
from curator_audio.tasks import Record


@dataclass
class WavWriterStage(FileWriterStage):
    """Writes the sound of every segment to ``{output_path}/{channel}/{name}.wav``, 16 bits, mono.

    The name is the segment's id without its channel. A segment without sound, or with the name of another of its
    partition, is quarantined.

    Args:
        output_path: the folder or prefix.

    Raises:
        ConfigurationError: a file instead of a folder.
    """

    name = "wav_writer"
    version = 2
    suffix: ClassVar[str] = ".wav"

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id", "audio"]

    def lost(self, fields: Fields) -> list[str]:
        """Name the fields that stages add beyond those of a segment: whoever adds one wants it kept."""
        return [name for name in fields.types if name not in SEGMENT_TYPES]

    def keeps(self) -> list[str]:
        return ["the sound alone"]

    def files_of(self, record: Record) -> Files:
        return {".wav": encode_wav(*decode_sound(sound_of(record)))}
