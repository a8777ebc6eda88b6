"""Writing segments as mp3 files, each with a JSON file beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.stages.fields import Fields
from curator_audio.stages.io.file_writer import Files, FileWriterStage
from curator_audio.stages.io.json_form import without_json_form
from curator_audio.stages.parameters import check_count
from curator_audio.stages.speech.segments import sound_of
from curator_audio.stages.speech.sound import MP3_BITRATES_KBPS, decode_sound, encode_mp3, mp3_rate
from curator_audio.storage.json_codec import encode_fields
from curator_audio.tasks import Record


@dataclass
class Mp3WriterStage(FileWriterStage):
    """Writes the sound of every segment to ``{output_path}/{channel}/{name}.mp3``, and its fields to ``….json``.

    The name is the segment's id without its channel; the JSON has all fields but the sound. A segment without sound,
    with a value that has no JSON form, or with the name of another of its partition, is quarantined.

    Args:
        output_path: the folder or prefix.
        bitrate: of the sound, kbit/s; mp3 has no more than 160 at rates up to 24 kHz and 64 up to 12 kHz, and no less
            than 32 from 32 kHz on, and these are used there.

    Raises:
        ConfigurationError: a file instead of a folder, or a bitrate that mp3 does not have.
    """

    bitrate: int = 64

    name = "mp3_writer"
    suffix: ClassVar[str] = ".mp3"

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = MP3_BITRATES_KBPS
        check_count("bitrate", self.bitrate, f"of kbit/s, from {low} to {high}", low, high)
        try:
            import av  # noqa: F401
            import soundfile  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                f"Mp3WriterStage needs {error.name}, which is not installed; pip install 'curator-audio[audio]'"
            ) from None

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], ["segment_id", "audio"]

    def lost(self, fields: Fields) -> list[str]:
        """Name the fields of bytes: JSON has no form for them."""
        return [name for name in without_json_form(fields.kinds) if name != "audio"]

    def files_of(self, record: Record) -> Files:
        samples, sample_rate = decode_sound(sound_of(record))
        fields = {name: value for name, value in record.items() if name != "audio"}
        fields["sample_rate"] = mp3_rate(sample_rate)
        return {".mp3": encode_mp3(samples, sample_rate, self.bitrate), ".json": encode_fields(fields)}
