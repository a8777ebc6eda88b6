"""Selecting and renaming channels."""

from __future__ import annotations

from dataclasses import dataclass, field

from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.speech.channels import Channels
from curator_audio.tasks import Record


@dataclass
class SelectChannelsStage(RecordStage):
    """Drops the segments of other channels, and renames those that stay.

    Args:
        channels: the names of those that stay, old or new ones; None for all.
        channel_mapping: new names by old ones.

    Raises:
        ConfigurationError: not a list of names, or not a mapping of names.

    Example:
        >>> stage = SelectChannelsStage(["Atheer"], {"Atheer_-": "Atheer"})
        >>> stage.process_record({"channel": "Atheer_-"})
        {'channel': 'Atheer'}
        >>> stage.process_record({"channel": "Other"})
    """

    channels: list[str] | None = None
    channel_mapping: dict[str, str] = field(default_factory=dict)

    name = "select_channels"

    def __post_init__(self) -> None:
        self._channels = Channels(self.channels, self.channel_mapping)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["channel"]

    def process_record(self, record: Record) -> Record | None:
        name = self._channels.name_of(record["channel"] or "")
        if name is None:
            self.log_metric("other_channels", 1)
            return None
        return record if name == (record["channel"] or "") else {**record, "channel": name}
