"""What the fields of segments are called in datasets of others; all others of theirs go along as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from types import MappingProxyType
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, TIME_FIELDS, id_in

NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "segment_id": ("segment_id", "utt_id", "utterance_id", "id", "_id", "uid", "__key__"),
        "audio_id": ("audio_id", "recording_id", "video_id", "original_path", "audio_filepath", "path", "file"),
        "text": (
            "text",
            "transcript",
            "transcription",
            "sentence",
            "text_normalized",
            "normalized_text",
            "text_original",
            "raw_transcription",
            "raw_text",
            *(".normalized.txt", ".transcript.txt", ".transcript", ".text", ".lab"),  # files of a key in a tar
        ),
        "speaker_id": ("speaker_id", "speaker", "client_id", "spk_id", "spk"),
        "gender": ("gender", "sex"),
        "dialect": ("dialect", "accent", "accents"),
        "tone": ("tone", "emotion", "style"),
        "language": ("language", "lang", "locale", "language_code", "lang_code"),
        "channel": ("channel",),
        "start": ("start", "begin_time", "start_time", "begin", "offset", "start_ms"),
        "end": ("end", "end_time", "end_ms"),
        "duration_sec": ("duration_sec", "duration", "audio_duration", "duration_seconds", "duration_s", "duration_ms"),
        "sample_rate": ("sample_rate", "sampling_rate", "audio_sample_rate", "sr"),
        "audio": ("audio", "mp3", "wav", "flac", "ogg", "opus", "m4a"),
        "codes": ("codes",),  # those of other codecs have many names, and are others
    }
)
"""For each field of a segment what it may be called, the first that is there being taken.

Multilingual LibriSpeech has ``transcript``, ``begin_time``, ``audio_duration``; Emilia ``id``, ``speaker``,
``duration``; Common Voice ``sentence``, ``client_id``, ``locale``, ``accents``; NeMo ``audio_filepath``, ``offset``,
``lang``; LibriTTS-R ``text_normalized``; YODAS ``utt_id``; FLEURS ``transcription``; VoxPopuli ``raw_text``; People's
Speech ``duration_ms``.
``pred_text`` is a recogniser's guess, and no text.
"""

OWN_NAMES = frozenset(SEGMENT_FIELDS) - {"segment_id", "channel", "audio"}
"""What every segment that these pipelines have written has, though null; the others may stand in a path."""

_KINDS = {**dict.fromkeys(TIME_FIELDS, ("number", "text")), "audio": ("sound",), "codes": ("list",)}
"""What the values of a field may be where it has another name; those not named here are text or numbers."""

_NEVER_ODD = ("segment_id", "audio_id", "speaker_id", "channel", "audio")

UNREADABLE = "unreadable"
"""The kind of what is there and is never read, such as pickled objects."""

NEVER_READ = object()
"""What stands for the value of such a one."""

_LABEL = re.compile(r"(?:speaker|spkr?)[ _-]?\d{1,3}", re.IGNORECASE)
_NOBODY = re.compile(r"n/?a|nan|none|null|unk|unknown|anonymous|no[ _-]speaker", re.IGNORECASE)


@dataclass(frozen=True)
class Sources:
    """Where the fields of segments come from in a file of others.

    Args:
        of: for each field that is there, what it is called.
        further: what is there beside these, and goes along under its own name.
        not_taken: what can go nowhere, sorted: it is called like a field that is another one, or cannot be read.
        claimed: whether ``speaker_id`` is called so, or is what the user says is the speaker.
        said: whether the user says so.
        speaker: what the speaker is called.
    """

    of: Mapping[str, str] = field(default_factory=dict)
    further: tuple[str, ...] = ()
    not_taken: tuple[str, ...] = ()
    claimed: bool = True
    said: bool = False
    speaker: str = "speaker_id"

    def is_person(self, speaker: Any) -> bool:
        """Tell whether a speaker's name stands for one person in all recordings.

        Example:
            >>> [Sources(claimed=claimed).is_person("spk1") for claimed in (True, False)], Sources().is_person("None")
            ([True, False], False)
        """
        return self.said or not is_label(speaker) or (self.claimed and not is_nobody(speaker))


def check_fields(mapping: Any) -> None:
    """Check what a user says that fields are called.

    Raises:
        ConfigurationError: it is no mapping of names, or names a field that segments do not have.

    Example:
        >>> check_fields({"txt": "words"})
        Traceback (most recent call last):
            ...
        curator_audio.errors.ConfigurationError: fields has 'txt', which segments do not have; say which \
field is called what, such as {text: transcript}; there are segment_id, audio_id, text, speaker_id, gender, dialect, \
tone, language, channel, start, end, duration_sec, sample_rate, audio, codes
    """
    remedy = f"say which field is called what, such as {{text: transcript}}; there are {', '.join(SEGMENT_FIELDS)}"
    if not isinstance(mapping, Mapping):
        raise ConfigurationError(f"fields is {mapping!r}; {remedy}")
    for name, other in mapping.items():
        if name not in SEGMENT_FIELDS:
            raise ConfigurationError(f"fields has {name!r}, which segments do not have; {remedy}")
        if not isinstance(other, str) or not other:
            raise ConfigurationError(f"fields has {name}: {other!r}; {remedy}")


def sources_of(kinds: Mapping[str, str], mapping: Mapping[str, str]) -> Sources:
    """Find the fields of segments among the names in a file of others.

    What the user says goes first, then a field's own name, then the others of ``NAMES``. Where all fields of a segment
    are there by their own names, though null, none is looked for under another one: it is a segment of ours, and
    what is called ``emotion`` in it is a field beside ``tone``.

    Args:
        kinds: what is there by name: ``text``, ``number``, ``list``, ``sound``, ``other``, ``unreadable``, or ``none``
            for nulls alone.
        mapping: what the user says fields are called.

    Example:
        >>> sources = sources_of({"transcript": "text", "who": "text", "snr": "number"}, {"speaker_id": "who"})
        >>> dict(sources.of), sources.further, sources.not_taken
        ({'text': 'transcript', 'speaker_id': 'who'}, ('snr',), ())
    """
    return _sources_of(tuple(kinds.items()), tuple(mapping.items()))


@lru_cache(maxsize=1024)
def _sources_of(kinds: tuple[tuple[str, str], ...], mapping: tuple[tuple[str, str], ...]) -> Sources:
    there = dict(kinds)
    said = dict(mapping)
    of: dict[str, str] = {}
    found: str | None
    is_ours = there.keys() >= OWN_NAMES
    for name, names in NAMES.items():
        if name in said:
            found, kind = said[name], there.get(said[name])
            found = found if kind == "none" or _has_unit(name, found, kind) else None
        else:
            free = [other for other in names[: 1 if is_ours else None] if other == name or other not in said.values()]
            usable = (other for other in free if _may_be(name, other, there.get(other)))
            # A null under another name is the field's, too: in the next segment it may be a text.
            nulls = (other for other in free if there.get(other) == "none")
            found = next(chain(usable, nulls), None)
        if found is not None:
            of[name] = found
    others = [name for name in there if name not in of.values() and not (name in NAMES and there[name] == "none")]
    not_taken = tuple(sorted(name for name in others if name in NAMES or there[name] == UNREADABLE))
    further = tuple(name for name in others if name not in not_taken)
    speaker = of.get("speaker_id", "speaker_id")
    claimed = said.get("speaker_id", "speaker_id") == speaker
    return Sources(of, further, not_taken, claimed, claimed and "speaker_id" in said, speaker)


def _may_be(name: str, other: str, kind: str | None) -> bool:
    """Whether values of a kind may be a field; what is called like it may be odd, and be set aside for it later."""
    if name == other and name not in _NEVER_ODD:
        return kind not in (None, "none", UNREADABLE)
    return kind in _KINDS.get(name, ("text", "number")) and _has_unit(name, other, kind)


def _has_unit(name: str, other: str, kind: str | None) -> bool:
    """Whether values can become seconds, if they are milliseconds."""
    if kind in (None, "none", UNREADABLE):
        return False
    return kind == "number" or not (name in TIME_FIELDS and other.endswith("_ms"))


def kind_of(value: Any) -> str:
    """What a value is, as ``sources_of`` wants to know it.

    Example:
        >>> [kind_of(value) for value in ("a", 0.5, [1], {"bytes": b"fLaC"}, None)]
        ['text', 'number', 'list', 'sound', 'none']
    """
    if value is None:
        return "none"
    if isinstance(value, str):
        return "text"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, list):
        return "list"
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is NEVER_READ:
        return UNREADABLE
    return "sound" if isinstance(data, bytes) else "other"


def taken(values: Mapping[str, Any], sources: Sources) -> dict[str, Any]:
    """Return the fields of a segment from the values of a file of others, and its further ones behind them.

    Times that their name says to be in milliseconds become seconds. What a diarization calls somebody
    (``local_speaker``) is no ``speaker_id`` unless it is called so, or the user says so; what stands for nobody only
    where the user says so.

    Example:
        >>> values = {"duration_ms": 2500, "speaker": "SPEAKER_00", "id": "a", "snr": 9.5}
        >>> taken(values, sources_of({name: kind_of(value) for name, value in values.items()}, {}))
        {'segment_id': 'a', 'speaker_id': None, 'duration_sec': 2.5, 'snr': 9.5}
    """
    found = {name: values[other] for name, other in sources.of.items()}
    found |= {name: values[name] for name in sources.further}
    for name in TIME_FIELDS:
        if name in found and sources.of[name].endswith("_ms") and isinstance(found[name], (int, float)):
            found[name] = found[name] / 1000
    if not sources.is_person(found.get("speaker_id")):
        found["speaker_id"] = None
    return found


def is_label(speaker: Any) -> bool:
    """Tell whether a name says nothing of who speaks: it stands for nobody, or is one that every recording has.

    Example:
        >>> [is_label(name) for name in ("SPEAKER_00", "spk1", "N/A", "EN_B00000_S00000", "p225", 7)]
        [True, True, True, False, False, False]
    """
    return (isinstance(speaker, str) and bool(_LABEL.fullmatch(speaker))) or is_nobody(speaker)


def is_nobody(speaker: Any) -> bool:
    """Tell whether a name stands for nobody.

    Example:
        >>> [is_nobody(name) for name in ("unknown", "None", "N/A", "SPEAKER_00", "ann", None)]
        [True, True, True, False, False, False]
    """
    return isinstance(speaker, str) and _NOBODY.fullmatch(speaker) is not None


def speaker_named(
    record: Mapping[str, Any], values: Mapping[str, Any], sources: Sources, recording: str | None
) -> dict[str, Any]:
    """Return what a label that is no person tells of who speaks: a person of the recording, else the label as it is.

    Args:
        record: of a segment, with its channel.
        values: of the file it was made of.
        sources: what was taken of these.
        recording: its recording, if it is known.

    Example:
        >>> sources = sources_of({"speaker": "text"}, {})
        >>> speaker_named({"speaker_id": None, "channel": "news"}, {"speaker": "SPEAKER_00"}, sources, "ep1")
        {'speaker_id': 'news/ep1/SPEAKER_00'}
        >>> speaker_named({"speaker_id": None, "channel": "news"}, {"speaker": "SPEAKER_00"}, sources, None)
        {'speaker_id': None, 'speaker': 'SPEAKER_00'}
    """
    label = values.get(sources.of.get("speaker_id", ""))
    if record["speaker_id"] or not is_label(label):
        return {}
    speaker = local_speaker(str(label), record["channel"], recording)
    return {"speaker_id": speaker, **({} if speaker or sources.claimed else {sources.speaker: label})}


def local_speaker(label: str, channel: str | None, audio_id: str | None) -> str | None:
    """Return the id of one whom a label names within a recording; None where it names nobody, or none is known.

    Example:
        >>> local_speaker("SPEAKER_00", "news", "ep1"), local_speaker("N/A", "news", "ep1")
        ('news/ep1/SPEAKER_00', None)
    """
    return f"{id_in(channel, audio_id)}/{label}" if audio_id and _LABEL.fullmatch(label) else None
