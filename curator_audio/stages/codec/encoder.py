"""Adds neural-codec codes to segments."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from curator_audio.errors import RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.codec.codec import ClipTooLongError, Codec, Codes
from curator_audio.stages.codec.neucodec import NeuCodec, check_installed
from curator_audio.stages.codec.segment_clip import SegmentClip
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.resources import Resources
from curator_audio.tasks import AudioBatch, Record

CLIP = "_clip"
"""The field in which a record that is to be encoded carries its sound."""


@dataclass
class CodecEncoderStage(RecordStage):
    """Encodes the segments of a whole batch together; a codec is a subclass with its ``_load``.

    A segment that has codes already is passed on as it is. One whose ``audio`` is missing, cannot be decoded, or is
    shorter than one code is set aside. Needs the extra ``codec``.

    Args:
        reencode: encode also what has codes.
    """

    reencode: bool = False

    resources = Resources(cpus=1, gpus=1)
    _codec: Codec | None = field(default=None, init=False, repr=False)
    _idle_since: float = field(default=0.0, init=False, repr=False)

    @abstractmethod
    def _load(self) -> Codec:
        """The codec with its weights, on the worker's device."""

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["audio"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"codes": "list<int32>"}

    def setup(self, worker: WorkerInfo) -> None:
        self._codec = self._load()
        self._idle_since = time.perf_counter()

    def teardown(self) -> None:
        self._codec = None

    @property
    def codec(self) -> Codec:
        if self._codec is None:
            self._codec = self._load()
            self._idle_since = time.perf_counter()
        return self._codec

    def process(self, task: AudioBatch) -> AudioBatch:
        return self.process_batch([task])[0]

    def process_batch(self, tasks: Sequence[AudioBatch]) -> list[AudioBatch]:
        """The segments of all tasks are encoded together."""
        checked = [list(self._processed(task)) for task in tasks]
        clips = [record[CLIP] for batch in checked for record, _ in batch if CLIP in record]
        encoded = iter(self._encode(clips))
        batches = []
        for task, batch in zip(tasks, checked):
            done: list[tuple[Record, int]] = []
            for record, index in batch:
                if CLIP in record:
                    clip, codes = record.pop(CLIP), next(encoded)
                    if clip.error is not None:
                        self.quarantine(task, index, clip.error)
                        continue
                    record["codes"] = codes.tolist()
                done.append((record, index))
            batches.append(task.followed_by(done))
        now = time.perf_counter()
        self.log_metric("worker_time_sec", now - self._idle_since)
        self._idle_since = now
        return batches

    def process_record(self, record: Record) -> Record:
        """The record with its sound as a clip, or as it is if it has codes."""
        codes = record.get("codes")
        if not self.reencode and codes is not None and len(codes) > 0:
            self.log_metric("already_encoded", 1)
            return record
        audio = record["audio"]
        data = audio.get("bytes") if isinstance(audio, dict) else None
        if not isinstance(data, bytes) or not data:
            raise RecordError("no_audio", "audio has no bytes; give {'bytes': a sound file, 'path': its name}")
        clip = SegmentClip(data, self.codec.sample_rate)
        if len(clip) < self.codec.samples_per_code:
            least = self.codec.samples_per_code / self.codec.sample_rate
            raise RecordError("too_short", f"the audio has {len(clip)} samples, less than the {least:g} s of one code")
        return {**record, CLIP: clip}

    def _encode(self, clips: Sequence[SegmentClip]) -> list[Codes]:
        """The clips' codes; a clip that does not fit in the device's memory is given none, and an error."""
        codec = self.codec
        before = replace(codec.work)
        codes: list[Codes] = [np.zeros(0, np.int32)] * len(clips)
        fitting = list(range(len(clips)))
        while fitting:
            try:
                encoded = codec.encode([clips[index] for index in fitting])
            except ClipTooLongError as error:
                clips[fitting.pop(error.index)].error = RecordError("out_of_memory", str(error))
                continue
            for index, of_clip in zip(fitting, encoded):
                codes[index] = of_clip
            break
        good = [clip for clip in clips if clip.error is None]
        self.log_metrics(
            {
                "encoded_segments": len(good),
                "encoded_duration": sum(len(clip) for clip in good) / codec.sample_rate,
                "device_time_sec": codec.work.device_time_sec - before.device_time_sec,
                "num_batches": codec.work.num_batches - before.num_batches,
            }
        )
        if out_of_memory := codec.work.out_of_memory - before.out_of_memory:
            self.log_metric("out_of_memory", out_of_memory)
        return codes

    def derived_metrics(self, totals: Mapping[str, float]) -> dict[str, float]:
        """The share of the time in which the device had something to do, and the hours of audio it encodes in an hour.

        Example:
            >>> totals = {"worker_time_sec": 100.0, "device_time_sec": 90.0, "encoded_duration": 50_000.0}
            >>> NeuCodecEncoderStage().derived_metrics(totals)
            {'gpu_busy_share': 0.9, 'audio_hours_per_gpu_hour': 500.0}
        """
        worker_time = totals.get("worker_time_sec", 0)
        if not worker_time:
            return {}
        device = "gpu" if self.resources.wants_gpu else "worker"
        device_hours = worker_time * (self.resources.gpus or 1)
        return {
            f"{device}_busy_share": totals.get("device_time_sec", 0) / worker_time,
            f"audio_hours_per_{device}_hour": totals.get("encoded_duration", 0) / device_hours,
        }


@dataclass
class NeuCodecEncoderStage(CodecEncoderStage):
    """Adds NeuCodec's codes to segments: 50 a second, those of the library's ``encode_code``.

    Runs on a GPU, or with ``resources: {gpus: 0}`` on CPUs. Needs the extra ``codec``.

    Args:
        reencode: encode also what has codes.
        implementation: the library that loads the weights, ``neucodec`` or ``transformers``.
        model: a repository of the Hub, for ``transformers`` also a folder; None for ``neuphonic/neucodec``; ``random``
            or ``random-tiny`` for random weights, where there is no network.
        dtype: ``float32``, ``bfloat16`` or ``float16``; in half precision some codes differ.
        compile: compile what the network repeats, which takes a minute and a C compiler.
        batch_audio_sec: the seconds of audio that go through the network at once, padding included; None for as many as
            suit the device. Fewer are tried where they do not fit in its memory.
        seed: of random weights.

    Raises:
        ConfigurationError: a parameter that is none of these.
    """

    implementation: str = "neucodec"
    model: str | None = None
    dtype: str = "float32"
    compile: bool = False
    batch_audio_sec: float | None = None
    seed: int = 0

    name = "neucodec_encoder"

    def __post_init__(self) -> None:
        self._neucodec()
        check_installed(self.implementation, self.model)

    def setup_on_node(self, worker: WorkerInfo) -> None:
        self._neucodec().download()

    def _load(self) -> Codec:
        codec = self._neucodec()
        codec.load_encoder()
        return codec

    def _neucodec(self) -> NeuCodec:
        return NeuCodec(
            implementation=self.implementation,
            model=self.model,
            dtype=self.dtype,
            compile=self.compile,
            batch_audio_sec=self.batch_audio_sec,
            device="cuda" if self.resources.wants_gpu else "cpu",
            seed=self.seed,
        )
