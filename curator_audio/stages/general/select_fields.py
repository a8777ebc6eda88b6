"""Keep only some fields of a record."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.stages.fields import Fields
from curator_audio.stages.general.names import field_names
from curator_audio.stages.record_stage import RecordStage
from curator_audio.tasks import Record


@dataclass
class SelectFieldsStage(RecordStage):
    """Keep the named fields, in the order named; a field that a record lacks is ignored.

    Args:
        fields: names of the fields to keep.

    Example:
        >>> SelectFieldsStage(["text", "duration"]).process_record({"duration": 2.5, "words": [], "text": "a"})
        {'text': 'a', 'duration': 2.5}
    """

    fields: str | list[str]

    name = "select_fields"

    def __post_init__(self) -> None:
        self.fields = field_names("fields", self.fields)

    def fields_after(self, fields: Fields) -> Fields:
        return fields.only(self.fields)

    def process_record(self, record: Record) -> Record:
        return {name: record[name] for name in self.fields if name in record}
