"""How long a recording is."""

from __future__ import annotations

from dataclasses import dataclass, field

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.record_stage import RecordStage
from curator_audio.storage.s3 import SOURCE_PROTOCOL
from curator_audio.storage.storage import Storage, absolute, join
from curator_audio.tasks import AudioBatch, Record


@dataclass
class GetAudioDurationStage(RecordStage):
    """Adds the length of the recording, to the sample as ``segment`` decodes it; needs the extra ``audio``.

    Reads what ``segment`` reads, and sets aside what it sets aside. What a header tells is not relied on: where a
    recording's bytes tell how many samples they are (wav, aiff, caf, au of uncompressed sound), these are counted, and
    everything else is decoded. A recording that breaks off has the length of what is there, and is counted in
    ``recordings_broken_off``; one that holds more than its header tells in ``recordings_with_wrong_headers``.

    A relative path is relative to the folder of the manifest, which it may not leave.

    Args:
        audio_filepath_key: the field with the path or URL of the recording.
        duration_key: the field to add, in seconds.
        audio_dir: the folder of relative paths; None for the manifest's own.
        timeline: ``samples`` for the length of the samples end to end, ``container`` for that with the gaps between its
            timestamps.
        channel: ``mix``, ``left``, ``right`` or a number from 0, which must be there.
        audio_track: ``default``, a number from 0 among the audio tracks, or a language such as ``de`` or ``deu``.

    Raises:
        ConfigurationError: a parameter has a value that it cannot have.
    """

    audio_filepath_key: str = "audio_filepath"
    duration_key: str = "duration"
    audio_dir: str | None = None
    timeline: str = "samples"
    channel: str | int = "mix"
    audio_track: str | int = "default"

    name = "get_audio_duration"
    version = 2
    _storage: Storage | None = field(default=None, init=False, repr=False)
    _folder: str = field(default="", init=False, repr=False)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], [self.audio_filepath_key]

    def outputs(self) -> tuple[list[str], list[str]]:
        return [], [self.duration_key]

    def __post_init__(self) -> None:
        try:
            import av  # noqa: F401
            import soxr  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                f"GetAudioDurationStage needs {error.name}, which is not installed; pip install 'curator-audio[audio]'"
            ) from None
        from curator_audio.stages.speech.sound_options import SoundOptions, refuse_each  # which import from here

        refuse_each(type(self).__name__, self.channel)
        self._options = SoundOptions(self.timeline, self.channel, self.audio_track)

    def setup(self, worker: WorkerInfo) -> None:
        self._storage = worker.storage

    def process(self, task: AudioBatch) -> AudioBatch:
        self._folder = absolute(self.audio_dir) if self.audio_dir else task.source_path.rpartition("/")[0]
        return super().process(task)

    def process_record(self, record: Record) -> Record:
        path = record[self.audio_filepath_key]
        if not isinstance(path, str) or not path:
            raise RecordError("wrong_type", f"{self.audio_filepath_key} is {path!r:.80}; give a path")
        duration = self._duration_sec(resolved(path, self._folder))
        self.log_metric("measured_audio_duration", duration)
        return {**record, self.duration_key: duration}

    def _duration_sec(self, path: str) -> float:
        from curator_audio.stages.speech.decode import open_recording
        from curator_audio.stages.speech.recording_report import report_findings

        with open_recording(self._storage or Storage(), path, self._options) as recording:
            duration = recording.measure() / recording.sample_rate
        report_findings(self, path, recording)
        return duration


def resolved(path: str, folder: str) -> str:
    """A recording's path, relative ones below ``folder``.

    Raises:
        RecordError: a relative path that leaves the folder, or a URL of a protocol that nobody knows.

    Example:
        >>> resolved("audio/a.wav", "/data/corpus")
        '/data/corpus/audio/a.wav'
    """
    if "://" in path:
        from fsspec import available_protocols

        protocol = path.split("://", 1)[0]
        if protocol != SOURCE_PROTOCOL and protocol not in available_protocols():
            raise RecordError("unknown_protocol", f"{path} begins with '{protocol}://', which is no known protocol")
        return path
    if path.startswith("/"):
        return path
    if ".." in path.split("/"):
        raise RecordError("path_leaves_root", f"{path} leaves {folder}; give a path below it, an absolute one or a URL")
    return join(folder, path) if folder else path
