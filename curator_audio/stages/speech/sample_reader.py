"""The base of the readers of segments that are several files of one name: sound, JSON and text."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.stages.speech.foreign_fields import kind_of, taken
from curator_audio.stages.speech.segment_tree_reader import SegmentTreeReaderStage
from curator_audio.stages.speech.segments import foreign_segment, id_in, name_in, recording_of
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.valid_text import decoded_utf8
from curator_audio.tasks import Record

SOUND = ("flac", "wav", "mp3", "ogg", "opus", "m4a")
BESIDE_SOUND = ("json", "txt")
"""What tells of a sound: its fields, and its text."""

BINARY = frozenset(
    ["npy", "npz", "pt", "pth", "pkl", "pickle", "bin", "msgpack", "jpg", "jpeg", "png", "gif", "webp", "mp4", "webm"]
)
"""Of files that are never text, even where their bytes happen to be."""


@dataclass
class SampleReaderStage(SegmentTreeReaderStage):
    """Makes a segment of the files of a key; where these lie says a subclass."""

    def record_of(self, key: str, files: Mapping[str, bytes]) -> Record:
        """Return the record of a segment.

        Args:
            key: the path that its files have in common; the folder is the channel where nothing else tells.
            files: the files by what their names end in, without a dot.

        Raises:
            RecordError: they hold neither sound, text nor codes, or JSON that is none.
        """
        folder, _, name = key.rpartition("/")
        values = values_of_sample(key, files)
        sources = self.sources_in({name: kind_of(value) for name, value in values.items()})
        record = self.usable(foreign_segment(taken(values, sources), ""))
        sound = sound_among(files)
        if sound is not None:
            record["audio"] = {"bytes": files[sound], "path": f"{name}.{sound}"}
        if sound is None and not record["text"] and not record["codes"]:
            there = ", ".join(f"*.{suffix}" for suffix in files)
            raise RecordError(
                "missing_field", f"{key} has neither sound ({', '.join(SOUND)}), text nor codes, only {there}"
            )
        if not record["channel"] and posixpath.basename(folder) not in ("", ".", ".."):
            record["channel"] = posixpath.basename(folder)
        record["segment_id"] = record["segment_id"] or id_in(record["channel"], name)
        stem = name_in(record["channel"], record["segment_id"])
        record["audio_id"] = record["audio_id"] or recording_of(stem)
        return self.checked(record, values, sources, record["audio_id"] if record["audio_id"] != stem else None)


def sound_among(files: Mapping[str, bytes]) -> str | None:
    """Return what the name of the sound ends in, None where there is no sound.

    Example:
        >>> sound_among({"json": b"{}", "mp3": b"", "wav": b""})
        'wav'
    """
    return next((suffix for suffix in SOUND if suffix in files), None)


def values_of_sample(key: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what the files of a key tell, its sound apart.

    The fields of its ``.json`` come first; ``.txt`` is its text. Any other file is a field that is called by what its
    name ends in: a text if it is one in UTF-8 and not of a kind that is never text (``.npy``), else bytes.

    Raises:
        RecordError: the JSON is none, or the text is not UTF-8.

    Example:
        >>> values_of_sample("a/0", {"json": b'{"snr": 9.5}', "txt": b"so be it", "cls": b"3", "npy": b"\\x93NUMPY"})
        {'snr': 9.5, 'text': 'so be it', '.cls': '3', '.npy': b'\\x93NUMPY'}
    """
    values = decode_line(files["json"]) if "json" in files else {}
    if not isinstance(values, dict):
        raise RecordError("not_an_object", f"{key}.json holds a {type(values).__name__}, not a JSON object")
    if "txt" in files:
        text = decoded_utf8(files["txt"], f"{key}.txt").removeprefix("\ufeff").strip()
        name = ".txt" if values.get("text") else "text"
        if text != values.get("text"):
            values[name] = text
    of_their_own = {*BESIDE_SOUND, sound_among(files)}
    for suffix, data in files.items():
        if suffix not in of_their_own:
            values.setdefault(f".{suffix}", data if suffix.rpartition(".")[2] in BINARY else text_or_bytes(data))
    return values


def text_or_bytes(data: bytes) -> str | bytes:
    """Return the text in a file, without white space around it; its bytes where it is something else."""
    if b"\0" in data:
        return data
    try:
        return data.decode().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        return data
