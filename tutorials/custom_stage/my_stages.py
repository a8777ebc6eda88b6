"""A stage of one's own, which tells how loud each segment is, and a function."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from curator_audio import Record, RecordStage
from curator_audio.stages.parameters import check_number
from curator_audio.stages.speech import decode_sound, sound_of


@dataclass
class LoudnessStage(RecordStage):
    """Add how loud a segment is: the root of its mean square, in dB of full scale.

    Args:
        min_db: a quieter segment is left out, and counted as ``skipped_quiet``.

    Raises:
        ConfigurationError: ``min_db`` is not a number from -120 to 0.
    """

    min_db: float = -60.0

    name = "loudness"

    def __post_init__(self) -> None:
        check_number("min_db", self.min_db, "of dB from -120 to 0", -120, 0)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["audio", "audio_id"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"loudness_db": "float"}

    def process_record(self, record: Record) -> Record | None:
        samples, sample_rate = decode_sound(sound_of(record))
        power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
        loudness_db = 10 * math.log10(power) if power else -math.inf
        if loudness_db < self.min_db:
            self.log_skipped(record["audio_id"], "quiet")
            return None
        self.log_metric("measured_duration", len(samples) / sample_rate)
        return {**record, "loudness_db": round(loudness_db, 2)}


def with_num_words(record: Record, field: str = "text") -> Record:
    """Add how many words a text has.

    Example:
        >>> with_num_words({"text": "so be it"})
        {'text': 'so be it', 'num_words': 3}
    """
    return {**record, "num_words": len(record[field].split())}
