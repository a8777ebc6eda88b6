"""Headers that tell how much sound a file holds, and how much is there."""

from curator_audio.stages.speech.headers.asf import mended_asf_head
from curator_audio.stages.speech.headers.ogg import MAX_PAGE_BYTES, is_cut_page, mended_last_page
from curator_audio.stages.speech.headers.sound_bytes import SoundBytes, sound_bytes

__all__ = ["MAX_PAGE_BYTES", "SoundBytes", "is_cut_page", "mended_asf_head", "mended_last_page", "sound_bytes"]
