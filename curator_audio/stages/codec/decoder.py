"""Codes back to sound, to hear what was encoded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from curator_audio.errors import RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.codec.codec import Codec, Codes
from curator_audio.stages.codec.neucodec import NeuCodec, check_installed
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.resources import Resources
from curator_audio.tasks import Record


@dataclass
class NeuCodecDecoderStage(RecordStage):
    """Replaces a segment's ``audio`` by the sound of its ``codes``, 24 kHz FLAC; needs the extra ``codec``.

    A segment whose codes are missing or are not NeuCodec's is set aside. Runs on a GPU, or with
    ``resources: {gpus: 0}`` on CPUs.

    Args:
        implementation: the library that decodes, ``neucodec`` or ``transformers``.
        model: a repository of the Hub, for ``transformers`` also a folder; None for ``neuphonic/neucodec``; ``random``
            or ``random-tiny`` for random weights, which give noise.
        seed: of random weights.

    Raises:
        ConfigurationError: an implementation that is none of these.
    """

    implementation: str = "neucodec"
    model: str | None = None
    seed: int = 0

    name = "neucodec_decoder"
    resources = Resources(cpus=1, gpus=1)
    _codec: Codec | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._neucodec()
        check_installed(self.implementation)

    def inputs(self) -> tuple[list[str], list[str]]:
        return [], ["codes"]

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return [], {"audio": "audio", "sample_rate": "int32"}

    def setup_on_node(self, worker: WorkerInfo) -> None:
        self._neucodec().download()

    def setup(self, worker: WorkerInfo) -> None:
        codec = self._neucodec()
        codec.load_decoder()
        self._codec = codec

    @property
    def codec(self) -> Codec:
        if self._codec is None:
            self._codec = self._neucodec()
        return self._codec

    def teardown(self) -> None:
        self._codec = None

    def process_record(self, record: Record) -> Record:
        from curator_audio.stages.speech.sound import audio_field

        codec = self.codec
        (samples,) = codec.decode([checked_codes(record["codes"], codec.codebook_size)])
        rate = codec.decoded_sample_rate
        self.log_metric("decoded_duration", len(samples) / rate)
        audio = audio_field(samples, rate, str(record.get("segment_id") or "decoded"))
        return {**record, "audio": audio, "sample_rate": rate}

    def _neucodec(self) -> NeuCodec:
        device = "cuda" if self.resources.wants_gpu else "cpu"
        return NeuCodec(implementation=self.implementation, model=self.model, device=device, seed=self.seed)


def checked_codes(codes: object, codebook_size: int) -> Codes:
    """Codes as an array.

    Raises:
        RecordError: they are missing, no whole numbers, or not in the codebook.

    Example:
        >>> checked_codes([5, 65535], codebook_size=65536)
        array([    5, 65535], dtype=int32)
    """
    if codes is None or (isinstance(codes, (list, np.ndarray)) and len(codes) == 0):
        raise RecordError("no_codes", "codes are empty; encode the segment first")
    if not isinstance(codes, (list, np.ndarray)) or not all(
        isinstance(code, (int, np.integer)) and not isinstance(code, bool) for code in codes
    ):
        raise RecordError("wrong_type", f"codes are {codes!r:.80}; give a list of ints")
    for place, code in enumerate(codes):
        if not 0 <= code < codebook_size:
            raise RecordError("code_out_of_range", f"codes[{place}] is {code}; the codebook has {codebook_size}")
    return np.asarray(codes, np.int32)
