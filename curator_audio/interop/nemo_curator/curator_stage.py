"""A stage of NeMo Curator's in a pipeline of ours."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np

from curator_audio.errors import ConfigurationError
from curator_audio.interop.nemo_curator import their_stage
from curator_audio.interop.nemo_curator.handed import Handed, SoundKeys
from curator_audio.interop.nemo_curator.plain import check_types
from curator_audio.interop.nemo_curator.results import Results
from curator_audio.interop.nemo_curator.sound import HandedSound, name_of, write_wav
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.fields import UNTYPED, Fields
from curator_audio.stages.general.names import field_names
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.references import ReadsReferences, path_of
from curator_audio.stages.source import SourceStage
from curator_audio.stages.speech.segments import sound_of
from curator_audio.stages.speech.sound import Samples, decode_sound
from curator_audio.tasks import AudioBatch, Record

SOUNDS = ("file", "waveform")


@dataclass
class CuratorStage(ReadsReferences, RecordStage):
    """Runs an audio stage of NeMo Curator's, from ``AudioTask`` to ``AudioTask``; needs the extra ``nemo``.

    A record becomes a task of its own, with all its fields, and what the stage makes of the task becomes records. The
    stage is set up, called and torn down as by Curator's executors; its resources hold here, too, unless others are
    given, and so do its metrics. It may change what it is given, which is a copy.

    A record of which it makes nothing is counted in ``skipped_by_stage``. One for which it raises is quarantined; where
    it raises for several at once, they are tried one by one. Arrays, tensors and objects that are in no declared field
    are left out and counted (``left_out_NAME``); declared fields that a record does not gain are counted, too
    (``without_NAME``). A record is quarantined as ``not_declared`` where the stage removes a field that ``removes``
    does not name, or makes other sound than it was handed and ``adds`` does not name ``audio``.

    Several records that it makes of one have its place in the source, and a number behind their ``segment_id``. New
    sound brings its ``duration_sec`` and ``sample_rate`` along, and ``start`` and ``end`` where the stage tells
    ``start_ms`` and ``end_ms`` in the sound it was handed.

    Args:
        stage: the dotted name of its class.
        parameters: of the class. ``batch_size``: how many records its ``process_batch`` is given at once.
        reads: the fields it needs; None for those that it says itself.
        adds: the types of the fields it adds, by name. A value of another type quarantines the record. ``{audio:
            audio}`` keeps the ``waveform`` that it makes, as the record's sound.
        removes: the fields that it removes.
        sound: how it takes sound: ``file`` for the path of a temporary WAV file (``audio_filepath``, or where its
            parameter ``audio_filepath_key`` says), ``waveform`` for a tensor of shape (1, samples) and its
            ``sample_rate``; None where it takes none. Sound is mixed to mono at its own rate.
        sound_from: ``audio`` for the sound in the record; else the field with the path or URL of its recording.
        audio_dir: the folder of relative paths; None for the manifest's own.
        allowed_schemes: schemes of URLs that a manifest may name, besides its own store; see ``ReadsReferences``.
        allow_outside: whether a manifest may name files outside of that folder.
        allow_private_hosts: whether it may name hosts with private, loopback or link-local addresses.

    Raises:
        ConfigurationError: there is no such stage, or a parameter has a value that it cannot have.

    Example:
        >>> stage = CuratorStage(
        ...     "nemo_curator.stages.audio.common.GetAudioDurationStage", adds={"duration": "float"}, sound="file"
        ... )
        >>> from curator_audio.stages.speech.sound import encode_flac
        >>> import numpy as np
        >>> record = {"text": "so be it", "audio": {"bytes": encode_flac(np.zeros(8000, np.float32), 16000)}}
        >>> done = stage.process(AudioBatch([record])).records[0]
        >>> done["duration"], done["text"], done["audio"] == record["audio"], "audio_filepath" in done
        (0.5, 'so be it', True, False)
    """

    stage: str
    parameters: dict[str, Any] = field(default_factory=dict)
    reads: list[str] | None = None
    adds: dict[str, str] = field(default_factory=dict)
    removes: list[str] = field(default_factory=list)
    sound: str | None = None
    sound_from: str = "audio"
    audio_dir: str | None = None

    name = "curator_stage"
    _theirs: Any = field(default=None, init=False, repr=False)
    _worker: WorkerInfo = field(default_factory=WorkerInfo, init=False, repr=False)
    _manifest_path: str = field(default="", init=False, repr=False)
    _folder: str = field(default="", init=False, repr=False)
    _num_given: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_parameters()
        self.name = str(self.theirs.name)
        self.resources = their_stage.resources_of(self.theirs)
        self._num_workers = self.theirs.num_workers()

    def _check_parameters(self) -> None:
        if not isinstance(self.parameters, dict):
            raise ConfigurationError(f"parameters is {self.parameters!r}; give values by the names of parameters")
        for parameter in ("reads", "removes"):
            if names := getattr(self, parameter):
                setattr(self, parameter, field_names(parameter, names))
        check_types("adds", self.adds)
        if self.sound is not None and self.sound not in SOUNDS:
            raise ConfigurationError(f"sound is {self.sound!r}; give file or waveform, or null")
        if not isinstance(self.sound_from, str) or not self.sound_from:
            raise ConfigurationError(f"sound_from is {self.sound_from!r}; give audio, or the field with a path")
        if both := sorted(self.adds.keys() & set(self.removes)):
            raise ConfigurationError(f"'{both[0]}' is in adds and in removes; name it in one of them")
        self.check_rules()
        if self.sound or "audio" in self.adds:
            self._check_installed("soundfile", *(["av", "soxr"] if self._reads_recordings else []))

    def _check_installed(self, *libraries: str) -> None:
        for library in libraries:
            try:
                import_module(library)
            except ImportError:
                raise ConfigurationError(
                    f"CuratorStage needs {library}, which is not installed; pip install 'curator-audio[audio]'"
                ) from None

    @property
    def theirs(self) -> Any:
        """The stage of NeMo Curator's, made where it is not there: it does not travel between processes."""
        if self._theirs is None:
            self._theirs = their_stage.made(self.stage, self.parameters)
        return self._theirs

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_theirs": None}

    # Before anything runs -----------------------------------------------------------------------------------

    @property
    def _reads_recordings(self) -> bool:
        return self.sound is not None and self.sound_from != "audio"

    @property
    def _handed(self) -> set[str]:
        """The fields that the stage is handed for sound."""
        keys = SoundKeys.of(self.theirs)
        return {"file": {keys.file}, "waveform": {keys.waveform, keys.sample_rate}}.get(self.sound or "", set())

    def inputs(self) -> tuple[list[str], list[str]]:
        handed = self._handed
        read = self.reads if self.reads is not None else their_stage.fields_read(self.theirs)
        names = [name for name in read if name not in handed]
        return [], list(dict.fromkeys([*names, self.sound_from] if self.sound else names))

    def outputs(self) -> tuple[list[str], Mapping[str, str]]:
        keys = SoundKeys.of(self.theirs)
        there = {
            *their_stage.fields_read(self.theirs),
            *self.inputs()[1],
            keys.waveform,
            keys.sample_rate,
            *self._handed,
        }
        told = (name for name in self.theirs.outputs()[1] if name not in {*there, *self.removes})
        return [], dict.fromkeys(told, UNTYPED) | self.adds

    def fields_after(self, fields: Fields) -> Fields:
        return super().fields_after(fields.minus(self.removes))

    def check_source(self, source: SourceStage[Any]) -> None:
        if self._reads_recordings:
            self.look_into(source, self.audio_dir, self.sound_from)

    # In a worker --------------------------------------------------------------------------------------------

    def setup_on_node(self, worker: WorkerInfo) -> None:
        their_stage.give_resources(self.theirs, self.resources)
        base = their_stage.curator("backends.base")
        self.theirs.setup_on_node(base.NodeInfo(), base.WorkerMetadata())

    def setup(self, worker: WorkerInfo) -> None:
        self._worker = worker
        their_stage.give_resources(self.theirs, self.resources)
        self.theirs.setup(their_stage.curator("backends.base").WorkerMetadata())

    def teardown(self) -> None:
        if self._theirs is not None:
            self._theirs.teardown()
            self._theirs = None

    def process(self, task: AudioBatch) -> AudioBatch:
        self._manifest_path = task.source_path
        if self.sound != "file":
            return task.followed_by(self._made(task))
        with tempfile.TemporaryDirectory(prefix="curator_audio-") as self._folder:
            return task.followed_by(self._made(task))

    def process_record(self, record: Record) -> Record:
        return {"handed": self._hand(record)}

    def _made(self, task: AudioBatch) -> Iterator[tuple[Record, int]]:
        """What becomes of the records of a batch, each with the number of the record it came of."""
        results = self._results()
        num_at_once = self.theirs.batch_size if their_stage.batches(self.theirs) else 1
        prepared = self._processed(task)
        while some := list(islice(prepared, num_at_once)):
            handed = [record["handed"] for record, _ in some]
            for one, (_, index), outcome in zip(handed, some, self._outcomes(handed)):
                try:
                    if isinstance(outcome, Exception):
                        raise outcome
                    records = results.records(one, outcome)
                except Exception as error:
                    self.isolate(task, index, error)
                else:
                    yield from ((record, index) for record in records)
            for one in handed:
                if one.folder:
                    shutil.rmtree(one.folder, ignore_errors=True)
        self.log_metrics(dict(results.counts))

    def _results(self) -> Results:
        return Results(
            stage=type(self.theirs).__name__,
            keys=SoundKeys.of(self.theirs),
            takes_waveform=self.sound == "waveform",
            adds=self.adds,
            removes=frozenset(self.removes),
            may_lack=frozenset(self.theirs.outputs()[1]),
        )

    def _outcomes(self, handed: list[Handed]) -> list[list[dict[str, Any]] | Exception]:
        """What the stage makes of each record, or the error it raises for it."""
        keys, number = SoundKeys.of(self.theirs), self._num_given
        self._num_given += len(handed)
        try:
            return [*their_stage.results_of(self.theirs, [one.task(keys, number + n) for n, one in enumerate(handed)])]
        except (MemoryError, ConfigurationError):
            raise
        except Exception as error:
            if len(handed) > 1:
                self.log_metric("batches_tried_one_by_one", 1)
                return [outcome for one in handed for outcome in self._outcomes([one])]
            if their_stage.is_device_failure(error):
                raise
            return [error]
        finally:
            metrics = self.theirs._consume_custom_metrics()
            self.log_metrics({name: value for name, value in metrics.items() if name != "process_time"})  # ours has it

    def _hand(self, record: Record) -> Handed:
        if self.sound is None:
            return Handed(record)
        if self._reads_recordings:
            return self._hand_recording(record)
        samples, rate = decode_sound(sound_of(record))
        return self._hand_blocks(record, [samples], rate, name_of(record))

    def _hand_recording(self, record: Record) -> Handed:
        from curator_audio.stages.speech.decode import open_recording
        from curator_audio.stages.speech.recording_report import report_recording

        references = self.references_of(self._manifest_path, self.audio_dir, self._worker)
        path = references.resolved(path_of(record, self.sound_from))
        with references.reading(path) as storage, open_recording(storage, path) as recording:
            stem = os.path.splitext(os.path.basename(path))[0]
            handed = self._hand_blocks(record, recording.blocks(), recording.sample_rate, stem)
        report_recording(self, path, recording)
        return handed

    def _hand_blocks(self, record: Record, blocks: Iterable[Samples], rate: int, name: str) -> Handed:
        if self.sound == "waveform":
            return Handed(record, HandedSound(rate, np.concatenate(list(blocks))))
        folder = tempfile.mkdtemp(dir=self._folder)
        return Handed(record, HandedSound(rate, path=write_wav(folder, name, blocks, rate)), folder)
