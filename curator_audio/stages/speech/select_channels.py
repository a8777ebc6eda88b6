"""Selecting and renaming channels."""

from __future__ import annotations

from dataclasses import dataclass, field

from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.speech.channels import Channels
from curator_audio.stages.speech.segments import id_in, name_in
from curator_audio.tasks import Record


@dataclass
class SelectChannelsStage(RecordStage):
    """Drops the segments of other channels, and renames those that stay.

    What is named within a channel stays distinct where two of them become one: in a segment whose channel is renamed
    ``segment_id`` and ``audio_id`` begin with the old channel, and so does a ``speaker_id`` that was made of the
    recording's name (``{audio_id}/…``). One that says who it is stays, so that mapping channels to one name lets the
    segments of a speaker meet.

    Args:
        channels: the names of those that stay, old or new ones; None for all.
        channel_mapping: new names by old ones.

    Raises:
        ConfigurationError: not a list of names, or not a mapping of names.

    Example:
        >>> stage = SelectChannelsStage(["Atheer"], {"Atheer_-": "Atheer"})
        >>> stage.process_record({"channel": "Atheer_-"})
        {'channel': 'Atheer'}
        >>> stage.process_record({"channel": "Atheer_-", "segment_id": "show_seg_0", "speaker_id": "anna"})
        {'channel': 'Atheer', 'segment_id': 'Atheer_-/show_seg_0', 'speaker_id': 'anna'}
        >>> stage.process_record({"channel": "Other"})
    """

    channels: list[str] | None = None
    channel_mapping: dict[str, str] = field(default_factory=dict)

    name = "select_channels"
    version = 2

    def __post_init__(self) -> None:
        self._channels = Channels(self.channels, self.channel_mapping)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["channel"]

    def process_record(self, record: Record) -> Record | None:
        old = record["channel"] or ""
        name = self._channels.name_of(old)
        if name is None:
            self.log_metric("other_channels", 1)
            return None
        return record if name == old else {**record, "channel": name, **_ids(record, old)}


def _ids(record: Record, channel: str) -> Record:
    """The ids of a record that are unique within its channel, with the channel in front."""
    recording, speaker = record.get("audio_id"), record.get("speaker_id")
    is_of_recording = recording and isinstance(speaker, str) and speaker.startswith(f"{recording}/")
    names = ("segment_id", "audio_id", *(["speaker_id"] if is_of_recording else []))
    ids = {name: record[name] for name in names if isinstance(record.get(name), str) and record[name]}
    return {name: id_in(channel, name_in(channel, known_id)) for name, known_id in ids.items()}
