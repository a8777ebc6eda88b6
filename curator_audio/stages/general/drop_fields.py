"""Leave out fields of a record."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.stages.fields import Fields
from curator_audio.stages.general.names import field_names
from curator_audio.stages.record_stage import RecordStage
from curator_audio.tasks import Record


@dataclass
class DropFieldsStage(RecordStage):
    """Leave out the named fields; a field that a record lacks is ignored.

    Args:
        fields: names of the fields to leave out.

    Example:
        >>> DropFieldsStage(["words"]).process_record({"text": "a", "words": []})
        {'text': 'a'}
    """

    fields: str | list[str]

    name = "drop_fields"

    def __post_init__(self) -> None:
        self.fields = field_names("fields", self.fields)

    def fields_after(self, fields: Fields) -> Fields:
        return fields.minus(self.fields)

    def process_record(self, record: Record) -> Record:
        return {name: value for name, value in record.items() if name not in self.fields}
