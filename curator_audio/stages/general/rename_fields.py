"""Rename fields of a record."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.fields import Fields
from curator_audio.stages.general.names import field_names
from curator_audio.stages.record_stage import RecordStage
from curator_audio.tasks import Record


@dataclass
class RenameFieldsStage(RecordStage):
    """Rename fields; each stays in its place.

    A record that lacks a field is quarantined, and so is one that has a field of the new name.

    Args:
        names: the new name of each field to rename, by its old one.

    Raises:
        ConfigurationError: two fields would get the same name.

    Example:
        >>> RenameFieldsStage({"audio": "audio_filepath"}).process_record({"audio": "a.wav", "text": "a"})
        {'audio_filepath': 'a.wav', 'text': 'a'}
    """

    names: dict[str, str]

    name = "rename_fields"

    def __post_init__(self) -> None:
        if not isinstance(self.names, dict):
            raise ConfigurationError(f"names is {self.names!r}; give a mapping from old to new names")
        field_names("names", list(self.names))
        field_names("names", list(self.names.values()))
        if len(set(self.names.values())) < len(self.names):
            raise ConfigurationError(f"names gives two fields the same name: {self.names}")

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], list(self.names)

    def outputs(self) -> tuple[list[str], list[str]]:
        return [], list(self.names.values())

    def fields_after(self, fields: Fields) -> Fields:
        return fields.renamed(self.names)

    def process_record(self, record: Record) -> Record:
        renamed = {self.names.get(name, name): value for name, value in record.items()}
        if len(renamed) < len(record):
            taken = next(new for old, new in self.names.items() if new in record and new not in self.names)
            raise RecordError("name_taken", f"the record has a field '{taken}' already")
        return renamed
