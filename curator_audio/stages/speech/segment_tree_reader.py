"""The base of the readers of segments: what is taken from files of others, and what is not."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.fields import Fields
from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.stages.optional import Ignored
from curator_audio.stages.speech.foreign_fields import Sources, check_fields, is_label, local_speaker, sources_of, taken
from curator_audio.stages.speech.optional_fields import with_usable_fields
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, SEGMENT_TYPES, foreign_segment
from curator_audio.storage.ledger import StageMetrics
from curator_audio.tasks import AudioBatch, Record

LOOKED_AT = 3
"""Files that are looked into before a run, to say what will not be taken from them."""
MAX_NAMED = 20
"""Fields that a worker counts one by one; a file may have any number of them."""


@dataclass
class SegmentTreeReaderStage(TreeReaderStage[AudioBatch]):
    """Reads segments from the files below a folder or prefix; a container is its ``kinds_in`` and its ``process``.

    Fields are found by the names they have in known datasets (``foreign_fields.py``), and by those that ``fields``
    gives. What is not taken is named before the run, and counted by name (``not_taken_…``).

    Args:
        fields: names of fields by what they are of a segment, as ``{"text": "transcript"}``; goes before what is known.

    Raises:
        ConfigurationError: a field that segments do not have.
    """

    fields: dict[str, str] = field(default_factory=dict, kw_only=True)

    if_none_is_read: ClassVar[str] = "check the path, or choose input=parquet, npz or webdataset"
    looks_at_all_names: ClassVar[bool] = False
    """Whether ``kinds_in`` tells all names that a file has."""

    _named: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _looked: dict[str, str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self.fields)

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._named, self._looked = set(), None  # of an earlier run

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return ["records"], dict(SEGMENT_TYPES)

    def sampled_fields(self) -> Fields:
        return Fields.of(SEGMENT_TYPES)

    @abstractmethod
    def kinds_in(self, path: str) -> dict[str, str]:
        """Return what the first segments of a file have, by name, as ``sources_of`` takes it; reads little of it.

        Raises:
            RecordError: the file is not of this kind.
        """

    def sources_in(self, kinds: Mapping[str, str]) -> Sources:
        """Find where the fields of segments come from."""
        return sources_of(kinds, self.fields)

    def wanted(self) -> Collection[str]:
        """Return the fields that are asked for."""
        return SEGMENT_FIELDS

    def segment_of(self, values: Mapping[str, Any], sources: Sources, segment_id: str) -> Record:
        """Return the record of a segment that a file of others tells of."""
        record = self.usable(foreign_segment(taken(values, sources), segment_id))
        return self.checked(record, values, sources, record["audio_id"])

    def usable(self, record: Record) -> Record:
        """Return a record without values of another kind than their optional fields; they are counted."""
        ignored = Ignored()
        record = with_usable_fields(record, ignored)
        self.log_metrics(ignored.as_metrics())
        return record

    def checked(self, record: Record, values: Mapping[str, Any], sources: Sources, recording: str | None) -> Record:
        """Return a record with its speaker, and count what it lacks, and what was there and is not taken.

        Args:
            record: of a segment, with its channel.
            values: of the file it was made of.
            sources: what was taken of these.
            recording: its recording, if it is known.
        """
        label = values.get(sources.of.get("speaker_id", ""))
        if not record["speaker_id"] and is_label(label):
            record["speaker_id"] = local_speaker(str(label), record["channel"], recording)
            if not record["speaker_id"]:
                self.log_metric("speaker_labels_not_taken", 1)
        if record["audio"] is None and values.get(sources.of.get("audio", "")) is not None:
            self.log_metric("sound_elsewhere", 1)
        if not record["text"] and "text" in self.wanted():
            self.log_metric("segments_without_text", 1)
        if not record["speaker_id"] and "speaker_id" in self.wanted():
            self.log_metric("segments_without_speaker", 1)
        for name in sources.not_taken:
            if len(self._named) < MAX_NAMED:
                self._named.add(name)
            self.log_metric(_metric(name) if name in self._named else "not_taken_others", 1)
        return record

    # What a user should know ---------------------------------------------------------------------------------

    def remarks(self) -> list[str]:
        kinds = self._look()
        lines = []
        for name, other in self.fields.items():
            if kinds and other not in kinds:
                there = ", ".join(sorted(kinds))
                line = f"fields has {name}: {other}, and {self.input_path} begins without '{other}', it has {there}"
                if self.looks_at_all_names:
                    raise ConfigurationError(f"{line}; check the name")
                lines.append(line)
        if not_taken := self.sources_in(kinds).not_taken:
            named = ", ".join(f"'{name}'" for name in not_taken)
            lines.append(f"not taken from {self.input_path}: {named}; 'fields={{FIELD: NAME}}' takes one as a field")
        return lines

    def remarks_after(self, metrics: StageMetrics) -> list[str]:
        lines = []
        num_segments = metrics.items_out
        candidates = [n for n in self.sources_in(self._look()).not_taken if self._look()[n] == "text"]
        for name, what in (("text", "text"), ("speaker_id", "speaker")):
            if candidates and num_segments and metrics.custom.get(f"segments_without_{what}") == num_segments:
                named = ", ".join(f"'{other}'" for other in candidates)
                chosen = candidates[0] if len(candidates) == 1 else "NAME"
                lines.append(
                    f"none of the {num_segments} segments has a {what}, and {named} would be there; "
                    f"'fields={{{name}: {chosen}}}' takes one"
                )
        if num_labels := metrics.custom.get("speaker_labels_not_taken"):
            name = self.sources_in(self._look()).of.get("speaker_id", "speaker")
            lines.append(
                f"{num_labels:.0f} segments name their speaker as diarization does (SPEAKER_00) or as nobody (N/A), "
                f"and tell no recording; this is not taken, and 'fields={{speaker_id: {name}}}' takes it as one person"
            )
        if num_elsewhere := metrics.custom.get("sound_elsewhere"):
            lines.append(
                f"the sound of {num_elsewhere:.0f} segments lies elsewhere: their 'audio' has a path and no bytes; "
                "put the bytes into the files, as datasets does when it pushes them to the Hub"
            )
        return lines

    def _look(self) -> dict[str, str]:
        """What is there in the first files, by name; looked for once."""
        if self._looked is None:
            self._looked = {}
            for file in islice(self._files(), LOOKED_AT):
                try:
                    kinds = self.kinds_in(file.path)
                except (RecordError, AccessError):
                    continue  # which the run will quarantine
                self._looked |= {n: kind for n, kind in kinds.items() if self._looked.get(n, "none") == "none"}
        return self._looked


@lru_cache(maxsize=1024)
def _metric(name: str) -> str:
    """What counts a field of others: their names may hold anything."""
    return f"not_taken_{re.sub(r'[^0-9A-Za-z_.-]', '_', name)[:40]}"


def kinds_of(segments: Iterator[Mapping[str, str]]) -> dict[str, str]:
    """Put together what each of some segments has; a value goes before a null.

    Example:
        >>> kinds_of(iter([{"text": "none"}, {"text": "text", "snr": "number"}]))
        {'text': 'text', 'snr': 'number'}
    """
    kinds: dict[str, str] = {}
    for segment in segments:
        kinds |= {name: kind for name, kind in segment.items() if kinds.get(name, "none") == "none"}
    return kinds
