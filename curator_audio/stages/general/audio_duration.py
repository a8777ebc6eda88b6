"""Measure the length of recordings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.references import ReadsReferences, path_of
from curator_audio.stages.source import SourceStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch, Record


@dataclass
class GetAudioDurationStage(ReadsReferences, RecordStage):
    """Add the length of the recording, to the sample as ``segment`` decodes it; needs the extra ``audio``.

    It reads the files that ``segment`` reads, and quarantines the same. The length in a header is not trusted:
    uncompressed samples (wav, aiff, caf, au) are counted from the bytes, everything else is decoded. Of a recording
    that breaks off the length up to there is taken, and ``recordings_broken_off`` counts it; one that holds more than
    its header says is counted in ``recordings_with_wrong_headers``.

    Args:
        audio_filepath_key: the field with the path or URL of the recording.
        duration_key: the field to add, in seconds.
        audio_dir: the folder of relative paths; None for the manifest's own.
        allowed_schemes: schemes of URLs that a manifest may name, besides its own store; see ``ReadsReferences``.
        allow_outside: True lets a manifest name files outside of that folder.
        allow_private_hosts: True lets it name hosts with private, loopback or link-local addresses.
        timeline: ``samples`` for the length of the samples end to end, ``container`` for that with the gaps between its
            timestamps.
        channel: ``mix``, ``left``, ``right`` or a number from 0, which must be there.
        audio_track: ``default``, a number from 0 among the audio tracks, or a language such as ``de`` or ``deu``.

    Raises:
        ConfigurationError: a parameter has an invalid value.
    """

    audio_filepath_key: str = "audio_filepath"
    duration_key: str = "duration"
    audio_dir: str | None = None
    timeline: str = "samples"
    channel: str | int = "mix"
    audio_track: str | int = "default"

    name = "get_audio_duration"
    version = 2
    _worker: WorkerInfo = field(default_factory=WorkerInfo, init=False, repr=False)
    _manifest_path: str = field(default="", init=False, repr=False)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], [self.audio_filepath_key]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {self.duration_key: "float"}

    def __post_init__(self) -> None:
        self.check_rules()
        try:
            import av  # noqa: F401
            import soxr  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                f"GetAudioDurationStage needs {error.name}, which is not installed; pip install 'curator-audio[audio]'"
            ) from None
        from curator_audio.stages.speech.sound_options import SoundOptions, refuse_each

        refuse_each(type(self).__name__, self.channel)
        self._options = SoundOptions(self.timeline, self.channel, self.audio_track)

    def check_source(self, source: SourceStage[Any]) -> None:
        self.look_into(source, self.audio_dir, self.audio_filepath_key)

    def setup(self, worker: WorkerInfo) -> None:
        self._worker = worker

    def process(self, task: AudioBatch) -> AudioBatch:
        self._manifest_path = task.source_path
        return super().process(task)

    def process_record(self, record: Record) -> Record:
        references = self.references_of(self._manifest_path, self.audio_dir, self._worker)
        path = references.resolved(path_of(record, self.audio_filepath_key))
        with references.reading(path) as storage:
            duration = self._duration_sec(storage, path)
        self.log_metric("measured_audio_duration", duration)
        return {**record, self.duration_key: duration}

    def _duration_sec(self, storage: Storage, path: str) -> float:
        from curator_audio.stages.speech.decode import open_recording
        from curator_audio.stages.speech.recording_report import report_findings

        with open_recording(storage, path, self._options) as recording:
            duration = recording.measure() / recording.sample_rate
        report_findings(self, path, recording)
        return duration
