"""Headers that tell how much sound a file holds, and how much is there."""

from curator_audio.stages.speech.headers.sound_bytes import SoundBytes, sound_bytes

__all__ = ["SoundBytes", "sound_bytes"]
