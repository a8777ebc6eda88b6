"""Records from what a stage of NeMo Curator's makes of one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from curator_audio.errors import RecordError
from curator_audio.interop.nemo_curator.handed import METADATA, Handed, SoundKeys
from curator_audio.interop.nemo_curator.plain import Plain, check_fits
from curator_audio.interop.nemo_curator.sound import given_back, with_sound
from curator_audio.stages.optional import is_number
from curator_audio.tasks import Record


@dataclass
class Results:
    """Turns results into records, by what is declared of a stage.

    Args:
        stage: what messages call it.
        keys: the names by which it takes sound.
        takes_waveform: whether it is handed samples.
        adds: the fields that it adds, with their types.
        removes: the fields that it removes.
        may_lack: fields that it may leave out besides.
        counts: what there is to tell; the caller takes it.
    """

    stage: str
    keys: SoundKeys
    takes_waveform: bool
    adds: Mapping[str, str]
    removes: Collection[str]
    may_lack: Collection[str]
    counts: Counter[str] = field(default_factory=Counter)

    def records(self, handed: Handed, results: list[dict[str, Any]]) -> list[Record]:
        """Return the records of what the stage made of one; several get an id of their own.

        Raises:
            RecordError: a result is other than declared.
        """
        if not results:
            self.counts["skipped_by_stage"] += 1
        records = [self._record(handed, data) for data in results]
        own_id = handed.record.get("segment_id")
        if len(records) > 1 and isinstance(own_id, str):
            for number, record in enumerate(records):
                if record.get("segment_id") == own_id:
                    record["segment_id"] = f"{own_id}_{number}"
        return records

    def _record(self, handed: Handed, data: dict[str, Any]) -> Record:
        record, keys = handed.record, self.keys
        waveform, sample_rate = None, data.get(keys.sample_rate)
        if self.takes_waveform or keys.waveform not in {*record, *self.adds}:
            waveform = data.get(keys.waveform)
            self._put_back(data, keys.waveform, record)
        if self.takes_waveform or waveform is not None:
            self._put_back(data, keys.sample_rate, record)
        if handed.sound is not None and handed.sound.path and data.get(keys.file) == handed.sound.path:
            self._put_back(data, keys.file, record)
        plain = Plain(self.adds, handed.own_names(keys.file))
        found = plain.record({name: value for name, value in data.items() if name not in self.removes})
        self.counts.update({f"left_out_{name}": number for name, number in plain.left_out.items()})
        self._check_removed(record, found)
        if waveform is not None:
            found = self._with_sound(handed, found, waveform, sample_rate)
        return self._checked(found)

    def _put_back(self, data: dict[str, Any], name: str, record: Record) -> None:
        """Give a field the value that the record has, or take it off."""
        if name in record:
            data[name] = record[name]
        elif name not in self.adds:
            data.pop(name, None)

    def _check_removed(self, record: Record, found: Record) -> None:
        kept = (found, self.adds, self.removes, self.may_lack, (METADATA,))
        gone = [name for name in record if not any(name in names for names in kept)]
        if gone:
            raise RecordError(
                "not_declared", f"{self.stage} removes '{gone[0]}'; name it in removes: [{','.join(gone)}]"
            )

    def _with_sound(self, handed: Handed, found: Record, waveform: Any, sample_rate: Any) -> Record:
        """The record with the sound that the stage gave, where ``adds`` wants it, else with its own."""
        is_wanted = "audio" in self.adds
        if not is_wanted and (handed.sound is None or "audio" not in handed.record):
            return found  # the record does not hold the sound, but tells where it lies
        samples, rate = given_back(waveform, sample_rate)
        if handed.sound is not None and handed.sound.is_as_handed(samples, rate):
            return found
        if is_wanted:
            return with_sound(found, samples, rate) | _times_of(handed.record, found)
        raise RecordError(
            "not_declared",
            f"{self.stage} makes other sound than it was handed ({len(samples) / rate:.3f} s at {rate} Hz); give adds: "
            "{audio: audio} to keep it as the record's",
        )

    def _checked(self, found: Record) -> Record:
        for name, kind in self.adds.items():
            if name in found:
                check_fits(name, found[name], kind)
            else:
                self.counts[f"without_{name}"] += 1
        return found


def _times_of(record: Record, found: Record) -> Record:
    """The times in the recording of a piece of a segment, of which a stage told those in the segment."""
    times: list[Any] = [record.get("start"), found.get("start_ms"), found.get("end_ms")]
    start, start_ms, end_ms = (float(time) if is_number(time) else math.nan for time in times)
    piece = {"start": start + start_ms / 1000, "end": start + end_ms / 1000}
    return piece if "end" in record and all(map(math.isfinite, piece.values())) else {}
