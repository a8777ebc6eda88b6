"""Interleaves texts and audio codes of recordings into documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.base import ProcessingStage
from curator_audio.stages.fields import Fields
from curator_audio.stages.interleave.tokens import Tokens, TokenSearch
from curator_audio.stages.names import index_of
from curator_audio.stages.times import is_time
from curator_audio.storage.valid_text import is_valid, valid_text
from curator_audio.tasks import AudioBatch, Record

DOCUMENT_TYPES = {
    "original_path": "string",
    "text_first": "string",
    "audio_first": "string",
    "num_segments": "int32",
    "speaker_id": "string",
    "book_id": "string",
}
"""The fields of a document's record, in order, and their types."""

NEEDED_FIELDS = ("id_field", "recording_field", "text_field", "audio_field", "begin_field")
OPTIONAL_FIELDS = ("speaker_field", "book_field", "end_field", "duration_field")
"""The parameters that name fields."""

ON_TOKEN = ("quarantine", "escape")
DIGITS = "0123456789"

_Recording = tuple[str, str, str]
"""Path, speaker and book: the recordings of a batch are in this order."""


class _Segment(NamedTuple):
    """What a document needs of a segment, and where that stands in the batch."""

    begin: float | None
    id: str
    text: str
    audio: str
    place: int


@dataclass
class InterleaverStage(ProcessingStage[AudioBatch, AudioBatch]):
    """Makes documents of the segments in a batch: one of every recording, in which texts and audio take turns.

    The segments of one speaker, book and recording are put in order of their starts, and of their ids where they start
    together. Where one of them has no start, they are put in order of the numbers that their ids end in
    (``show_seg_12``), and counted (``segments_ordered_by_number``). ``text_first`` has the text of each before its
    audio, ``audio_first`` after it. A batch must have all segments of its recordings, as those of
    ``SegmentJsonReaderStage`` and ``GroupRecordsStage`` do.

    Quarantined: a segment without one of its fields or without audio, without a start where ids do not tell the order
    either, with a time that is none, with an id that another one in the batch has, or with text or audio that contains
    one of the tokens. Its text may be empty. Halves of surrogate pairs become U+FFFD and are counted
    (``texts_repaired``).

    Args:
        id_field: the field with the segment's id.
        recording_field: with the path or name of its recording.
        speaker_field: with its speaker; None for recordings that have none of their own.
        book_field: with what the recording is a part of; None likewise.
        text_field: with its text.
        audio_field: with its audio: a string of tokens, or a list of codes.
        begin_field: with its start in the recording, seconds.
        end_field: with its end, seconds; None where there is none.
        duration_field: with its length, seconds, which the summary adds up; None where there is none.
        code_template: what becomes of a code, with ``{code}`` for its number.
        document_begin: the token before a document; an empty string for none, as for the others.
        document_end: the token behind it.
        text_start: the token before a text.
        text_end: the token behind it.
        audio_start: the token before the audio.
        audio_end: the token behind it.
        on_token: what to do about text or audio that contains one of the tokens: ``quarantine`` the segment, or
            ``escape`` it, with a backslash behind the token's first character.

    Raises:
        ConfigurationError: a parameter out of range.

    Example:
        >>> shared = {"original_path": "a.mp3", "speaker_id": "7", "book_id": "1", "end_time": 2, "audio_duration": 1}
        >>> batch = AudioBatch([
        ...     {**shared, "entry_id": "b", "begin_time": 1.0, "transcript": "be it", "audio_str": "<|speech_2|>"},
        ...     {**shared, "entry_id": "a", "begin_time": 0.0, "transcript": "so", "audio_str": "<|speech_1|>"}])
        >>> (document,) = InterleaverStage(document_begin="", document_end="").process(batch).records
        >>> document["num_segments"], document["audio_first"][:57]
        (2, '<|audio_start|><|speech_1|><|audio_end|><|text_start|>so<')
    """

    id_field: str = "entry_id"
    recording_field: str = "original_path"
    speaker_field: str | None = "speaker_id"
    book_field: str | None = "book_id"
    text_field: str = "transcript"
    audio_field: str = "audio_str"
    begin_field: str = "begin_time"
    end_field: str | None = "end_time"
    duration_field: str | None = "audio_duration"
    code_template: str = "<|speech_{code}|>"
    document_begin: str = Tokens.document_begin
    document_end: str = Tokens.document_end
    text_start: str = Tokens.text_start
    text_end: str = Tokens.text_end
    audio_start: str = Tokens.audio_start
    audio_end: str = Tokens.audio_end
    on_token: str = "quarantine"

    name = "interleaver"
    version = 3

    def __post_init__(self) -> None:
        for name in (*NEEDED_FIELDS, *OPTIONAL_FIELDS):
            value = getattr(self, name)
            if not (isinstance(value, str) and value) and not (value is None and name in OPTIONAL_FIELDS):
                or_none = ", or null" if name in OPTIONAL_FIELDS else ""
                raise ConfigurationError(f"{name} is {value!r}; give the name of a field{or_none}")
        for name in Tokens.__dataclass_fields__:
            if not isinstance(getattr(self, name), str):
                raise ConfigurationError(f"{name} is {getattr(self, name)!r}; give a token, or '' for none")
        if not isinstance(self.code_template, str) or self.code_template.count("{code}") != 1:
            raise ConfigurationError(
                f"code_template is {self.code_template!r}; give a text with {{code}} in it, once, such as "
                "<|speech_{code}|>"
            )
        if self.on_token not in ON_TOKEN:
            raise ConfigurationError(f"on_token is {self.on_token!r}; give one of {', '.join(ON_TOKEN)}")
        self._tokens = Tokens(*(getattr(self, name) for name in Tokens.__dataclass_fields__))
        self._search = TokenSearch(self._tokens, usual=self.code_template.replace("{code}", DIGITS))
        self._codes = _Codes(self.code_template)

    def inputs(self) -> tuple[list[str], list[str]]:
        given = [getattr(self, name) for name in (*NEEDED_FIELDS, *OPTIONAL_FIELDS)]
        return ["records"], [name for name in given if name is not None]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return ["records"], dict(DOCUMENT_TYPES)

    def fields_after(self, fields: Fields) -> Fields:
        return Fields.of(DOCUMENT_TYPES)

    def process(self, task: AudioBatch) -> AudioBatch:
        recordings: dict[_Recording, list[_Segment]] = {}
        met: dict[str, int] = {}
        duration = 0.0
        for index, record in enumerate(task.records):
            try:
                recording, segment, segment_duration = self._checked(record, index)
                if (other := met.setdefault(segment.id, index)) != index:
                    there = f"and that of another in {task.path_of(other)}; give each its own"
                    raise RecordError("duplicate_id", f"{self.id_field} is {segment.id!r}, {there}")
            except RecordError as error:
                self.quarantine(task, index, error)
                continue
            recordings.setdefault(recording, []).append(segment)
            duration += segment_duration
        if self.duration_field:
            self.log_metric("audio_duration", duration)
        in_order = ((key, self._in_order(task, segments)) for key, segments in sorted(recordings.items()))
        return AudioBatch([self._document(key, some) for key, some in in_order if some], task.source_path)

    def _in_order(self, task: AudioBatch, segments: list[_Segment]) -> list[_Segment]:
        """The segments of a recording by their starts; where these are not known, by the numbers in their ids."""
        if all(segment.begin is not None for segment in segments):
            return sorted(segments)
        if all(index_of(segment.id) >= 0 for segment in segments):
            self.log_metric("segments_ordered_by_number", len(segments))
            return sorted(segments, key=lambda segment: (index_of(segment.id), segment.id))
        for segment in segments:
            if segment.begin is None:
                place = "and the ids of the recording's segments do not all end in a number (_seg_12) that would tell"
                message = f"the record has no '{self.begin_field}', {place} its place"
                self.quarantine(task, segment.place, RecordError("missing_field", message))
        return sorted(segment for segment in segments if segment.begin is not None)

    def _document(self, recording: _Recording, segments: list[_Segment]) -> Record:
        pairs = [(segment.text, segment.audio) for segment in segments]
        self.log_metric("segments", len(pairs))
        path, speaker, book = recording
        return {
            "original_path": path,
            "text_first": self._tokens.text_first(pairs),
            "audio_first": self._tokens.audio_first(pairs),
            "num_segments": len(pairs),
            "speaker_id": speaker if self.speaker_field else None,
            "book_id": book if self.book_field else None,
        }

    def _checked(self, record: Record, index: int) -> tuple[_Recording, _Segment, float]:
        """What a document needs of a segment, and the segment's length in seconds.

        Raises:
            RecordError: something of it is not there, or is something else.
        """
        recording = (
            self._name(record, self.recording_field),
            self._optional("speaker_field", record),
            self._optional("book_field", record),
        )
        begin = _time(record, self.begin_field) if record.get(self.begin_field) is not None else None
        if self.end_field and begin is not None:
            _time(record, self.end_field)
        duration = _time(record, self.duration_field) if self.duration_field else 0.0
        text = self._framable(self.text_field, _value(record, self.text_field))
        audio = self._framable(self.audio_field, self._as_text(_value(record, self.audio_field)))
        return recording, _Segment(begin, self._name(record, self.id_field), text, audio, index), duration

    def _optional(self, parameter: str, record: Record) -> str:
        """The name in a field that need not be, empty where it is not."""
        field = getattr(self, parameter)
        if field is None:
            return ""
        if record.get(field) is None:
            remedy = f"set {parameter}=null where recordings have none"
            raise RecordError("missing_field", f"the record has no '{field}'; {remedy}")
        return self._name(record, field)

    def _name(self, record: Record, field: str) -> str:
        """What a record, or that which it belongs to, is known by."""
        value = _value(record, field)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value:
            raise RecordError("wrong_type", f"{field} is {value!r:.80}; give a string that is not empty")
        return self._valid(value)

    def _valid(self, text: str) -> str:
        """The text, repaired where it cannot be written."""
        if text.isascii() or is_valid(text):
            return text
        self.log_metric("texts_repaired", 1)
        return valid_text(text)

    def _as_text(self, audio: Any) -> Any:
        """A list of codes as text; what is none, as it is."""
        if not audio and isinstance(audio, (list, str)):
            raise RecordError("no_audio", f"{self.audio_field} is empty; encode the segment first")
        if not isinstance(audio, list):
            return audio
        if set(map(type, audio)) != {int} or min(audio) < 0:
            raise RecordError("wrong_type", f"{self.audio_field} holds more than codes; give whole numbers from 0 on")
        return "".join(map(self._codes.__getitem__, audio))

    def _framable(self, field: str, value: Any) -> str:
        """The text, escaped where that is wanted.

        Raises:
            RecordError: it is no string, or the document could not be taken apart again.
        """
        if not isinstance(value, str):
            raise RecordError("wrong_type", f"{field} is {value!r:.80}; give a string")
        text = self._valid(value)
        token = self._search.first_in(text)
        if not token:
            return text
        escaped = self._search.escaped(text) if self.on_token == "escape" else text
        if self._search.first_in(escaped):
            raise RecordError("contains_token", f"{field} contains {token}, which frames documents; take it out")
        return escaped


class _Codes(dict[int, str]):
    """What becomes of a code, by its number; filled in as they are met."""

    def __init__(self, template: str) -> None:
        super().__init__()
        self._before, self._after = template.split("{code}")

    def __missing__(self, code: int) -> str:
        self[code] = text = f"{self._before}{code}{self._after}"
        return text


def _value(record: Record, field: str) -> Any:
    value = record.get(field)
    if value is None:
        raise RecordError("missing_field", f"the record has no '{field}'")
    return value


def _time(record: Record, field: str) -> float:
    value = _value(record, field)
    if not is_time(value):
        raise RecordError("invalid_time", f"{field} is {value!r:.80}; give a number of seconds")
    return float(value)
