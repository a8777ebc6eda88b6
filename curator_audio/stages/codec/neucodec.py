"""NeuCodec: 16 kHz speech to 50 codes a second, many clips of any lengths at once."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from curator_audio.errors import ConfigurationError, CuratorError
from curator_audio.stages.codec.codec import Clip, ClipTooLongError, Codes, Work
from curator_audio.stages.codec.packing import pack

if TYPE_CHECKING:
    import torch

    from curator_audio.stages.codec.mel import MelFeatures
    from curator_audio.stages.codec.network import EncoderNetwork
    from curator_audio.stages.speech.sound import Samples

IMPLEMENTATIONS = ("neucodec", "transformers")
DTYPES = ("float32", "bfloat16", "float16")
BATCH_AUDIO_SEC = {"cuda": 300.0, "cpu": 2.0}
"""A GPU wants much at once; a CPU is no faster for it, and padding costs it time."""


@dataclass
class NeuCodec:
    """Encodes and decodes with NeuCodec's weights.

    The codes of a clip are those of the library's own ``encode_code``, whatever it is encoded together with; in half
    precision some differ.

    Args:
        implementation: the library that loads the weights and decodes, ``neucodec`` or ``transformers``.
        model: a repository of the Hub, for ``transformers`` also a folder; None for ``neuphonic/neucodec``; ``random``
            or ``random-tiny`` for the same architecture with random weights, where there is no network.
        dtype: ``float32``, which on a GPU means no TF32 either, ``bfloat16`` or ``float16``.
        compile: compile what the network repeats, which takes a minute and a C compiler.
        batch_audio_sec: the seconds of audio that go through the network at once, padding included; None for as many
            as suit the device. Where they do not fit in its memory, fewer are tried.
        device: None for a GPU if there is one, else the CPU.
        seed: of random weights.

    Raises:
        ConfigurationError: a parameter that is none of these.

    Example:
        >>> codec = NeuCodec(dtype="bfloat16")  # loads nothing before it is needed: codes = codec.encode(clips)
        >>> codec.sample_rate / codec.samples_per_code
        50.0
    """

    implementation: str = "neucodec"
    model: str | None = None
    dtype: str = "float32"
    compile: bool = False
    batch_audio_sec: float | None = None
    device: str | None = None
    seed: int = 0

    work: Work = field(default_factory=Work, init=False)

    sample_rate = 16_000
    decoded_sample_rate = 24_000
    samples_per_code = 320
    codebook_size = 65_536

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("implementation", self.implementation, IMPLEMENTATIONS),
            ("dtype", self.dtype, DTYPES),
        ):
            if value not in choices:
                raise ConfigurationError(f"{name} is {value!r}; give one of {', '.join(choices)}")
        seconds = self.batch_audio_sec
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds <= 0):
            raise ConfigurationError(f"batch_audio_sec is {seconds!r}; give a number of seconds above 0, or null")

    # Encoding -------------------------------------------------------------------------------------------------

    def encode(self, clips: Sequence[Clip]) -> list[Codes]:
        """The codes of mono float32 clips at 16 kHz, in the order given; none for a clip of less than 320 samples.

        While the device computes a batch, a thread makes arrays of the clips of the next one.

        Raises:
            ClipTooLongError: a clip that does not fit in memory even alone.
            CuratorError: numbers too large for ``float16``.
        """
        self.load_encoder()
        num_codes = [len(clip) // self.samples_per_code for clip in clips]
        codes = [np.zeros(count, np.int32) for count in num_codes]
        waiting = self._packed(num_codes, range(len(clips)))
        running: _Running | None = None
        with self._precision(), self._attention(), ThreadPoolExecutor(1) as pool:

            def prepare_next() -> Any:
                return pool.submit(self._padded, clips, waiting[0]) if waiting else None

            prepared = prepare_next()
            while waiting:
                batch = waiting.pop(0)
                waves = prepared.result()
                prepared = prepare_next()
                self.work.num_batches += 1
                started = self._start(batch, waves, [num_codes[index] for index in batch])
                if started is None:
                    self._halve_budget(batch, num_codes)
                    waiting = self._packed(num_codes, [index for later in (batch, *waiting) for index in later])
                    prepared = prepare_next()
                    continue
                if running is not None:  # collected only now, so that the device has the next batch already
                    self._collect(running, codes)
                running = started
            if running is not None:
                self._collect(running, codes)
        return codes

    def _packed(self, num_codes: Sequence[int], indices: Sequence[int]) -> list[list[int]]:
        """Batches of those clips that have any codes."""
        indices = sorted(index for index in indices if num_codes[index] > 0)
        batches = pack([num_codes[index] for index in indices], self._budget)
        return [[indices[place] for place in batch] for batch in batches]

    def _padded(self, clips: Sequence[Clip], batch: Sequence[int]) -> torch.Tensor:
        """The batch's samples, each clip followed by at least one zero, in memory that a GPU can copy from."""
        import torch

        num_codes = max(len(clips[index]) // self.samples_per_code for index in batch)
        shape = (len(batch), (num_codes + 1) * self.samples_per_code)
        waves = torch.zeros(shape, pin_memory=self._device.type == "cuda")
        for row, index in enumerate(batch):
            samples = np.asarray(clips[index], np.float32)
            waves.numpy()[row, : len(samples)] = samples
        return waves

    def _start(self, batch: list[int], waves: torch.Tensor, num_codes: list[int]) -> _Running | None:
        """Have the device compute the batch's codes; None if they do not fit in its memory."""
        import torch

        try:
            with torch.inference_mode():
                timer = _Timer(self._device)
                codes = self._network(waves.to(self._device, non_blocking=True), num_codes, self._mel)
                on_cpu = torch.empty(codes.shape, dtype=codes.dtype, pin_memory=codes.is_cuda)
                on_cpu.copy_(codes, non_blocking=True)
                timer.stop()
        except RuntimeError as error:
            if is_out_of_memory(error, len(batch)):
                return None
            raise
        return _Running(batch, num_codes, on_cpu, timer)

    def _collect(self, running: _Running, codes: list[Codes]) -> None:
        from curator_audio.stages.codec.network import NOT_A_CODE

        self.work.device_time_sec += running.timer.seconds()
        computed = running.codes.numpy()
        for row, (index, count) in enumerate(zip(running.batch, running.num_codes)):
            codes[index] = computed[row, :count].copy()
            if (codes[index] == NOT_A_CODE).any():
                raise CuratorError(f"a clip's numbers do not fit in {self.dtype}; set dtype to bfloat16 or float32")

    def _halve_budget(self, batch: Sequence[int], num_codes: Sequence[int]) -> None:
        """Make room after a batch that did not fit; later batches are smaller too."""
        import torch

        self.work.out_of_memory += 1
        longest = max(num_codes[index] for index in batch)
        if len(batch) == 1:
            raise ClipTooLongError(
                batch[0],
                f"a clip of {longest * self.samples_per_code / self.sample_rate:g} s does not fit in the memory of "
                f"{self._device} even alone; cut it into shorter segments",
            )
        self._budget = len(batch) * longest // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    # Decoding -------------------------------------------------------------------------------------------------

    def decode(self, codes: Sequence[Codes]) -> list[Samples]:
        """The sound of codes, at 24 kHz, in the order given; clips of one length are decoded together."""
        import torch

        clips = [np.zeros(0, np.float32) for _ in codes]
        lengths = sorted({len(clip) for clip in codes if len(clip)})
        with torch.inference_mode(), self._precision():
            for length in lengths:
                of_length = [index for index, clip in enumerate(codes) if len(clip) == length]
                at_once = max(1, self._budget // length)
                for begin in range(0, len(of_length), at_once):
                    indices = of_length[begin : begin + at_once]
                    batch = torch.from_numpy(np.stack([np.asarray(codes[index], np.int64) for index in indices]))
                    sound = self._decoder(batch.to(self._device)).cpu().numpy()
                    for index, samples in zip(indices, sound):
                        clips[index] = samples
        return clips

    # What is loaded when it is first needed -------------------------------------------------------------------

    def download(self) -> None:
        """Fetch published weights into the Hub's cache, once for all workers of a node.

        Raises:
            StorageError: they could not be fetched.
        """
        if self.model is None:
            from curator_audio.stages.codec.weights import download

            download(self.implementation)

    def load_encoder(self) -> None:
        """Load the encoder now instead of with the first clip.

        Raises:
            ConfigurationError: a library is not there, or does not load this model.
            StorageError: the weights could not be fetched.
        """
        _ = self._network, self._mel

    def load_decoder(self) -> None:
        """Load the decoder now instead of with the first codes; raises as ``load_encoder`` does."""
        _ = self._decoder

    @cached_property
    def _device(self) -> torch.device:
        import torch

        device = torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigurationError(
                f"the codec is to run on a GPU, and PyTorch {torch.__version__} finds none that it can use: it was "
                "installed without CUDA, or needs a newer driver; mend that, or run on CPUs with gpus: 0"
            )
        return device

    @cached_property
    def _budget(self) -> int:
        """How many codes a batch may have, padding included."""
        seconds = self.batch_audio_sec or BATCH_AUDIO_SEC[self._device.type]
        return max(1, round(seconds * self.sample_rate / self.samples_per_code))

    @cached_property
    def _network(self) -> EncoderNetwork:
        import torch

        from curator_audio.stages.codec.random_weights import SIZES, random_network
        from curator_audio.stages.codec.weights import load_library_model, network_from

        if self.model in SIZES:
            network: EncoderNetwork = random_network(SIZES[self.model], self.seed)
        else:
            library = load_library_model(self.implementation, self.model)
            network = network_from(library.state_dict(), self.implementation)
        network.to_precision(getattr(torch, self.dtype))
        network.to(self._device)
        return network.compiled() if self.compile else network

    @cached_property
    def _mel(self) -> MelFeatures:
        from curator_audio.stages.codec.mel import MelFeatures

        return MelFeatures(self._device)

    @cached_property
    def _decoder(self) -> Callable[[torch.Tensor], torch.Tensor]:
        from curator_audio.stages.codec.decoding import load_decoder

        return load_decoder(self.implementation, self.model, self.seed, self._device)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Products in single precision where that is asked for: GPUs shorten them to TF32 if they may."""
        import torch

        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                yield
        finally:
            torch.set_float32_matmul_precision(before)

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """Keep a GPU from cuDNN's attention, which makes a plan for every new shape: nearly every batch has one."""
        if self._device.type != "cuda":
            yield
            return
        from torch.nn.attention import SDPBackend, sdpa_kernel

        with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
            yield


def is_out_of_memory(error: RuntimeError, num_clips: int) -> bool:
    """Whether a batch of so many clips may have failed for want of memory, as far as the message tells.

    A convolution for which cuDNN has no memory says only that it finds no engine; it says the same on a GPU that it
    does not know, where a single clip fails too.

    Example:
        >>> is_out_of_memory(RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), num_clips=1)
        True
        >>> no_engine = RuntimeError("GET was unable to find an engine to execute this computation")
        >>> is_out_of_memory(no_engine, num_clips=2), is_out_of_memory(no_engine, num_clips=1)
        (True, False)
    """
    import torch

    message = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError)
        or any(said in message for said in ("out of memory", "not enough memory", "ALLOC_FAILED", "ALLOCATION_FAILED"))
        or (num_clips > 1 and "unable to find an engine" in message)
    )


def check_installed(implementation: str, model: str | None = None) -> None:
    """Check that the libraries a model needs are there; random weights to encode with need only PyTorch.

    Raises:
        ConfigurationError: one is not.
    """
    is_random = (model or "").startswith("random")
    for library in ("torch",) if is_random else ("torch", implementation):
        if importlib.util.find_spec(library) is None:
            raise ConfigurationError(
                f"NeuCodec needs {library}, which is not installed; pip install 'curator-audio[codec]'"
            )


@dataclass
class _Running:
    """A batch that the device has been given."""

    batch: list[int]
    num_codes: list[int]
    codes: torch.Tensor
    timer: _Timer


class _Timer:
    """How long a device was busy with what it was given between the timer's making and ``stop``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks = [self._mark()]

    def stop(self) -> None:
        self._marks.append(self._mark())

    def _mark(self) -> Any:
        import torch

        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def seconds(self) -> float:
        """Waits until the device is done."""
        start, end = self._marks
        if self._device.type != "cuda":
            return float(end - start)
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000
