"""NeuCodec's encoder, made for batches: five parts, with the weights of the published one."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from curator_audio.stages.codec.acoustic import AcousticEncoder, AntiAliasedSnake, anti_aliased_snake
from curator_audio.stages.codec.mel import MelFeatures
from curator_audio.stages.codec.semantic import SemanticAdapter, SemanticEncoder

SAMPLES_PER_CODE = 320
LEVELS = 4
"""Of each of the quantizer's dimensions."""
NUM_DIMENSIONS = 8
FRAME_MULTIPLE = 8
"""The semantic branch is padded to a multiple of so many frames, which fast attention wants."""
NOT_A_CODE = -1
"""Stands where a number overflowed in half precision."""


@dataclass(frozen=True)
class Sizes:
    """How wide the parts are; the defaults are those of the published codec.

    Args:
        semantic_width: of the semantic model's vectors.
        inner_width: of its feed-forward layers.
        num_heads: of its attention.
        num_channels: of the acoustic encoder's first convolution.
        acoustic_width: of the acoustic encoder's vectors.
    """

    semantic_width: int = 1024
    inner_width: int = 4096
    num_heads: int = 16
    num_channels: int = 48
    acoustic_width: int = 1024


TINY = Sizes(semantic_width=64, inner_width=128, num_heads=2, num_channels=4, acoustic_width=64)
"""The same architecture, narrow: for tests."""


class EncoderNetwork(nn.Module):
    """Samples to codes: a semantic and an acoustic branch, a linear layer over both, and a quantizer.

    A clip's codes are those it has alone, whatever it is padded to: both branches know where it ends.

    Args:
        sizes: of its parts.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.semantic_width + sizes.acoustic_width
        self.semantic_encoder = SemanticEncoder(sizes.semantic_width, sizes.inner_width, sizes.num_heads)
        self.semantic_adapter = SemanticAdapter(sizes.semantic_width)
        self.acoustic_encoder = AcousticEncoder(sizes.num_channels, sizes.acoustic_width)
        self.fc_encoder = nn.Linear(width, width)
        self.project_in = nn.Linear(width, NUM_DIMENSIONS)
        self._is_compiled = False

    def forward(self, waves: Tensor, num_codes: Sequence[int], mel: MelFeatures) -> Tensor:
        """The codes of clips of mixed lengths.

        Args:
            waves: float32, of shape (num_clips, 320 * (most codes + 1)), zeros after a clip's end: the codec encodes a
                clip with up to 320 zeros after it, of which it keeps no code.
            num_codes: how many codes each clip has, at least 1.
            mel: computes the features of the semantic branch.

        Returns:
            int32, of shape (num_clips, most codes); those after a clip's last code mean nothing.
        """
        semantic, acoustic = self.branches(waves, num_codes, mel)
        return quantized(self.project_in(self.fc_encoder(torch.cat((semantic, acoustic), -1)).float()))

    def branches(self, waves: Tensor, num_codes: Sequence[int], mel: MelFeatures) -> tuple[Tensor, Tensor]:
        """What the two branches give for the same, each of shape (num_clips, most codes, width)."""
        # From pinned memory: a copy from any other would wait for the batch before.
        num_frames = torch.tensor(num_codes, pin_memory=waves.is_cuda).to(waves.device, non_blocking=True)
        longest = waves.shape[1] // SAMPLES_PER_CODE - 1
        num_samples = (num_frames + 1) * SAMPLES_PER_CODE if min(num_codes) < longest else None

        def semantic() -> Tensor:
            features = nn.functional.pad(mel(waves, num_frames), (0, 0, 0, -longest % FRAME_MULTIPLE))
            return self.semantic_adapter(self.semantic_encoder(features, num_frames), num_frames)[:, :longest]

        def acoustic() -> Tensor:
            return self.acoustic_encoder(waves, num_samples)[:, :longest]

        if waves.device.type == "cpu" and not self._is_compiled:  # PyTorch cannot compile in two threads at once
            return side_by_side(semantic, acoustic)
        return semantic(), acoustic()

    def to_precision(self, dtype: torch.dtype) -> EncoderNetwork:
        """The network with weights in ``dtype``, but for what decides between codes and costs next to nothing."""
        for part in (self.semantic_encoder, self.semantic_adapter, self.acoustic_encoder, self.fc_encoder):
            for layer in part.modules():
                if not isinstance(layer, AntiAliasedSnake):
                    for parameter in layer.parameters(recurse=False):
                        parameter.data = parameter.data.to(dtype)
        return self

    def compiled(self) -> EncoderNetwork:
        """The network with its repeated pieces compiled, once for all lengths and batch sizes."""
        snake = torch.compile(anti_aliased_snake, dynamic=True)
        for module in self.acoustic_encoder.modules():
            if isinstance(module, AntiAliasedSnake):
                module.function = snake
        for layer in self.semantic_encoder.layers:
            layer.compile(dynamic=True)
        self._is_compiled = True
        return self


def side_by_side(one: Callable[[], Tensor], other: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """What two computations on the CPU give, each done by half of PyTorch's threads.

    All threads for one after the other would wait for each other at every operation, of which there are thousands.

    Example:
        >>> side_by_side(lambda: torch.tensor(1), lambda: torch.tensor(2))
        (tensor(1), tensor(2))
    """
    num_threads = torch.get_num_threads()
    if num_threads == 1:
        return one(), other()

    def other_in_thread() -> Tensor:
        torch.set_num_threads(num_threads // 2)  # of those that call PyTorch, for this one only
        with torch.inference_mode():
            return other()

    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(other_in_thread)
            torch.set_num_threads(num_threads - num_threads // 2)
            return one(), running.result()
    finally:
        torch.set_num_threads(num_threads)


def quantized(latents: Tensor) -> Tensor:
    """Eight numbers to one code: each is bounded, rounded to one of four levels, and is a digit of the code.

    Finite scalar quantization (arXiv:2309.15505). The published codec bounds twice: once before its residual
    quantizer, and once in it.

    Args:
        latents: float32, of shape (..., 8).

    Returns:
        int32, of shape (...).
    """
    half_range = (LEVELS - 1) * (1 + 1e-3) / 2
    shift = math.atanh(0.5 / half_range)
    bounded = latents
    for _ in range(2):
        bounded = torch.tanh(bounded + shift) * half_range - 0.5
    digits = bounded.round() + LEVELS // 2
    place_values = LEVELS ** torch.arange(NUM_DIMENSIONS, device=latents.device)
    codes = (digits * place_values).sum(-1).to(torch.int32)
    return codes.where(latents.isfinite().all(-1), NOT_A_CODE)
