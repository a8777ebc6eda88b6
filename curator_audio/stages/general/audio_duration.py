"""How long a recording is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.references import ReadsReferences, path_of
from curator_audio.stages.source import SourceStage
from curator_audio.storage.storage import Storage, is_local, local_path
from curator_audio.tasks import AudioBatch, Record


@dataclass
class GetAudioDurationStage(ReadsReferences, RecordStage):
    """Adds the length of the recording, read from the header of its file; needs the extra ``audio``.

    Reads what libsndfile reads: wav, flac, ogg (vorbis, opus), mp3.

    Args:
        audio_filepath_key: the field with the path or URL of the recording.
        duration_key: the field to add, in seconds.
        audio_dir: the folder of relative paths; None for the manifest's own.
        allowed_schemes: schemes of URLs that a manifest may name, besides its own store; see ``ReadsReferences``.
        allow_outside: whether a manifest may name files outside of that folder.
        allow_private_hosts: whether it may name hosts with private, loopback or link-local addresses.
    """

    audio_filepath_key: str = "audio_filepath"
    duration_key: str = "duration"
    audio_dir: str | None = None

    name = "get_audio_duration"
    _worker: WorkerInfo = field(default_factory=WorkerInfo, init=False, repr=False)
    _manifest_path: str = field(default="", init=False, repr=False)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], [self.audio_filepath_key]

    def outputs(self) -> tuple[list[str], list[str]]:
        return [], [self.duration_key]

    def __post_init__(self) -> None:
        self.check_rules()
        try:
            import soundfile  # noqa: F401
        except ImportError:
            raise ConfigurationError(
                "GetAudioDurationStage needs soundfile, which is not installed; pip install 'curator-audio[audio]'"
            ) from None

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
        import soundfile

        try:
            if is_local(path):
                info = soundfile.info(local_path(path))
            else:
                with storage.open(path) as file:
                    info = soundfile.info(file)
        except AccessError as error:
            raise RecordError("unreadable_audio", str(error)) from None
        except soundfile.SoundFileError as error:
            raise RecordError("unreadable_audio", f"{path}: {error}") from None
        return float(info.frames / info.samplerate)
