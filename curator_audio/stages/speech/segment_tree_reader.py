"""The base of the readers of segments: what is taken from files of others, and what is not."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.ledger import StageMetrics
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.field_types import types_seen
from curator_audio.stages.fields import UNTYPED, Fields, FieldTypes
from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.stages.optional import Ignored
from curator_audio.stages.speech.foreign_fields import (
    OWN_NAMES,
    UNREADABLE,
    Sources,
    check_fields,
    kind_of,
    sources_of,
    speaker_named,
    taken,
)
from curator_audio.stages.speech.optional_fields import with_usable_fields
from curator_audio.stages.speech.segments import SEGMENT_FIELDS, SEGMENT_TYPES, foreign_segment
from curator_audio.tasks import AudioBatch, Record

LOOKED_AT = 3
"""Files that are looked into before a run, to say what will not be taken from them."""
MAX_NAMED = 20
"""Fields that a worker counts one by one; a file may have any number of them."""


@dataclass
class SegmentTreeReaderStage(TreeReaderStage[AudioBatch]):
    """Reads segments from the files below a folder or prefix; a container is its ``kinds_in`` and its ``process``.

    Fields of a segment are found by the names they have in known datasets (``foreign_fields.py``), and by those that
    ``fields`` gives; all others follow them under their own names. What can go nowhere, as it is called like a field
    that is another one, is named before the run, and counted by name (``not_taken_…``).

    Args:
        fields: names of fields by what they are of a segment, as ``{"text": "transcript"}``; goes before what is known.

    Raises:
        ConfigurationError: a field that segments do not have.
    """

    fields: dict[str, str] = field(default_factory=dict, kw_only=True)

    if_none_is_read: ClassVar[str] = "check the path, or choose input=parquet, npz, webdataset or sound_files"
    looks_at_all_names: ClassVar[bool] = False
    """Whether ``kinds_in`` tells all names that a file has."""
    looked_at: ClassVar[int] = LOOKED_AT
    """How many files are looked into before a run."""

    _named: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _looked: dict[str, str] | None = field(default=None, init=False, repr=False, compare=False)
    _types: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self.fields)

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._named, self._looked = set(), None  # of an earlier run

    def outputs(self) -> tuple[list[str], FieldTypes]:
        return ["records"], SEGMENT_TYPES

    def sampled_fields(self) -> Fields:
        """Return the fields of a segment, and with them those that the first files have beside them."""
        further = self.sources_in(self._look()).further
        types = {name: self._types.get(name, UNTYPED) for name in further}
        return Fields({**SEGMENT_TYPES, **types}, open=self.may_have_more)

    @property
    def may_have_more(self) -> bool:
        """Whether segments may have fields that the first files do not tell of."""
        return True

    @abstractmethod
    def kinds_in(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return what the first segments of a file have, by name: its kind, as ``sources_of`` takes it, and its type.

        Reads little of the file. Where it tells no types but by its values, ``kinds_and_types`` finds them.

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
        if speaker := speaker_named(record, values, sources, recording):
            record.update(speaker)
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
        not_taken = self.sources_in(kinds).not_taken
        if names := [name for name in not_taken if kinds[name] == UNREADABLE]:
            what = "pickled objects, which are never read, or neither text nor numbers"
            lines.append(f"not taken from {self.input_path}: {_listed(names)}, {what}")
        if names := [name for name in not_taken if kinds[name] != UNREADABLE]:
            what = "called like a field of segments that something else is, or that cannot be of this kind"
            remedy = "'fields={FIELD: NAME}' takes one"
            lines.append(f"not taken from {self.input_path}: {_listed(names)}, {what}; {remedy}")
        return lines

    def remarks_after(self, metrics: StageMetrics) -> list[str]:
        lines = []
        num_segments = metrics.items_out
        sources, kinds = self.sources_in(self._look()), self._look()
        candidates = sorted(n for n in (*sources.further, *sources.not_taken) if kinds[n] == "text")
        for name, what in (("text", "text"), ("speaker_id", "speaker")):
            is_known = kinds.keys() >= OWN_NAMES or (sources.of.get(name) == name and kinds[name] != "none")
            if is_known or not candidates:
                continue
            if num_segments and metrics.custom.get(f"segments_without_{what}") == num_segments:
                named = _listed(candidates)
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
            self._looked, self._types = {}, {}
            paths = [file.path for file in islice(self._files(), self.looked_at)]
            for kinds, types in self.storage.each(self._kinds_or_none, paths):
                self._looked |= {n: kind for n, kind in kinds.items() if self._looked.get(n, "none") == "none"}
                self._types |= {name: common_type(self._types.get(name, UNTYPED), kind) for name, kind in types.items()}
        return self._looked

    def _kinds_or_none(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        try:
            return self.kinds_in(path)
        except (RecordError, AccessError):  # which the run will quarantine
            return {}, {}


def kinds_and_types(segments: Sequence[Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Tell kinds and types by name from what some segments have; a value goes before a null.

    Example:
        >>> kinds_and_types([{"text": None}, {"text": "so be it", "snr": 9.5}])
        ({'text': 'text', 'snr': 'number'}, {'text': 'string', 'snr': 'float'})
    """
    kinds: dict[str, str] = {}
    for values in segments:
        kinds |= {name: kind_of(value) for name, value in values.items() if kinds.get(name, "none") == "none"}
    return kinds, types_seen(segments)


def common_type(kind: str, other: str) -> str:
    """The type of a field that has these in two files."""
    if UNTYPED in (kind, other) or kind == other:
        return kind or other
    return "float" if {kind, other} == {"int", "float"} else UNTYPED


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


@lru_cache(maxsize=1024)
def _metric(name: str) -> str:
    """What counts a field of others: their names may hold anything."""
    return f"not_taken_{re.sub(r'[^0-9A-Za-z_.-]', '_', name)[:40]}"
