"""A stage and a function of one's own: how fast each speaker of a recording talks."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages import RecordStage
from curator_audio.tasks import Record


@dataclass
class WordsPerMinuteStage(RecordStage):
    """Adds how fast people talk: words per minute of speech, over all segments of a record.

    Args:
        text_key: the field of a segment that holds its text.
        min_speech_sec: records with less speech than this are dropped; no figure can be had from them.

    Raises:
        ConfigurationError: ``min_speech_sec`` is not above 0.

    Example:
        >>> segment = {"start": 0.0, "end": 30.0, "text": "one two three"}
        >>> WordsPerMinuteStage().process_record({"segments": [segment]})["words_per_minute"]
        6.0
    """

    text_key: str = "text"
    min_speech_sec: float = 1.0

    name = "words_per_minute"

    def __post_init__(self) -> None:
        if not self.min_speech_sec > 0:
            raise ConfigurationError(f"min_speech_sec is {self.min_speech_sec}; give a number of seconds above 0")

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["segments"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"speech_sec": "float", "words_per_minute": "float"}

    def process_record(self, record: Record) -> Record | None:
        speech_sec, num_words = 0.0, 0
        for index, segment in enumerate(record["segments"]):
            if self.text_key not in segment:
                raise RecordError("missing_field", f"segments[{index}] has no '{self.text_key}'")
            speech_sec += segment["end"] - segment["start"]
            num_words += len(segment[self.text_key].split())
        if speech_sec < self.min_speech_sec:
            return None
        self.log_metric("words", num_words)
        self.log_metric("speech_duration", speech_sec)
        per_minute = round(60 * num_words / speech_sec, 1)
        return {**record, "speech_sec": round(speech_sec, 2), "words_per_minute": per_minute}


def one_record_per_speaker(record: Record, min_turns: int = 1) -> list[Record]:
    """The record once for every speaker, in order of appearance, with that speaker's segments only.

    Example:
        >>> segments = [{"speaker": "ann"}, {"speaker": "bob"}, {"speaker": "ann"}]
        >>> [(one["speaker"], one["num_turns"]) for one in one_record_per_speaker({"segments": segments})]
        [('ann', 2), ('bob', 1)]
    """
    turns: dict[str, list[Record]] = {}
    for segment in record["segments"]:
        turns.setdefault(segment["speaker"], []).append(segment)
    return [
        {**record, "segments": segments, "speaker": speaker, "num_turns": len(segments)}
        for speaker, segments in turns.items()
        if len(segments) >= min_turns
    ]
