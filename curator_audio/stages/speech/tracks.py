"""Which of a container's audio tracks is taken."""

from __future__ import annotations

from typing import Any

from curator_audio.errors import RecordError
from curator_audio.stages.speech.languages import is_same_language
from curator_audio.stages.speech.sound_options import DEFAULT_TRACK, SoundOptions


def chosen_track(container: Any, options: SoundOptions, path: str) -> Any:
    """The audio track of an open container that is asked for; of several that fit the default one that can be decoded.

    Raises:
        RecordError: there is no such track (``no_such_track``), or no sound at all (``no_audio_stream``).
    """
    tracks = container.streams.audio
    if not tracks:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise RecordError("no_audio_stream", f"{path} holds no audio, only {kinds}")
    number, language = options.track_number, str(options.audio_track)
    if number is not None:
        fitting = tracks[number : number + 1]
    elif language == DEFAULT_TRACK:
        fitting = tracks
    else:
        fitting = [track for track in tracks if is_same_language(language, track.metadata.get("language", ""))]
    if not fitting:
        raise RecordError("no_such_track", f"{path} has no audio track {language}; it has {described(tracks)}")
    fitting = [track for track in fitting if track.codec_context is not None] or fitting
    return next(filter(_is_default, fitting), fitting[0])


def described(tracks: Any) -> str:
    """Tracks by their numbers, with language and title, for messages."""
    return ", ".join(f"{number}{_about(track)}" for number, track in enumerate(tracks))


def _about(track: Any) -> str:
    tags = [track.metadata.get("language"), track.metadata.get("title") or track.metadata.get("handler_name")]
    known = [tag for tag in tags if tag and tag not in ("und", "SoundHandler")] + ["default"] * _is_default(track)
    return f" ({', '.join(known)})" if known else ""


def _is_default(track: Any) -> bool:
    import av

    return bool(track.disposition & av.stream.Disposition.default)
