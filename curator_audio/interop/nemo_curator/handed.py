"""A record as a task of NeMo Curator's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from curator_audio.interop.nemo_curator.plain import copied
from curator_audio.interop.nemo_curator.sound import HandedSound, name_of
from curator_audio.interop.nemo_curator.their_stage import MARK, curator
from curator_audio.tasks import Record

METADATA = "_metadata"
"""The field that carries what a stage notes in a task's ``_metadata`` to the next one."""


@dataclass(frozen=True)
class SoundKeys:
    """The names by which a stage takes sound."""

    waveform: str = "waveform"
    sample_rate: str = "sample_rate"
    file: str = "audio_filepath"

    @classmethod
    def of(cls, theirs: Any) -> SoundKeys:
        """Return those that a stage's own parameters say, else the usual ones."""
        usual = {"waveform": "waveform", "sample_rate": "sample_rate", "file": "audio_filepath"}
        return cls(**{key: getattr(theirs, f"{name}_key", name) for key, name in usual.items()})


@dataclass
class Handed:
    """A record, and what a stage is handed of its sound.

    Args:
        record: the record.
        sound: its sound; None where the stage takes none.
        folder: the temporary folder in which its file lies, if any.
    """

    record: Record
    sound: HandedSound | None = None
    folder: str = ""

    def task(self, keys: SoundKeys, number: int) -> Any:
        """Return a task that the stage may change.

        Args:
            keys: the names by which it takes sound.
            number: by which what comes of it is known.
        """
        data = copied(self.record)
        metadata = data.pop(METADATA, None) or {}
        if self.sound is not None and self.sound.path:
            data[keys.file] = self.sound.path
        elif self.sound is not None:
            import torch

            waveform = torch.from_numpy(self.sound.samples).unsqueeze(0).clone()
            data |= {keys.waveform: waveform, keys.sample_rate: self.sound.sample_rate}
        task = curator("tasks").AudioTask(data=data, dataset_name="")
        task._metadata = {**metadata, MARK: number}
        task.task_id = str(
            self.record.get("segment_id") or self.record.get("audio_filepath") or number
        )  # in their logs
        return task

    def own_names(self, path_field: str) -> dict[str, str]:
        """Return what the sound is called, by the path of its file, which is gone before anybody could read it."""
        if self.sound is None or not self.sound.path:
            return {}
        audio = self.record.get("audio")
        path = audio.get("path") if isinstance(audio, dict) else None
        names = (self.record.get(path_field), path, name_of(self.record))
        own = next(name for name in names if isinstance(name, str) and name)
        return {self.sound.path: own, f"{self.folder}/": ""}
