"""NeuCodec's acoustic branch: convolutions over the samples, 320 of them to a code."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (2, 2, 4, 4, 5)
"""Of the blocks; together the samples of a code."""
DILATIONS = (1, 3, 9)
NUM_TAPS = 12
"""Of the low-pass filter before and after an activation."""

FIT_IN_CACHE = 2**18
"""So many numbers, and what is computed from them, stay in a CPU's cache."""


def _low_pass_taps() -> tuple[float, ...]:
    """A sinc that cuts at half the band, under a Kaiser window (Kaiser's formula for its shape)."""
    half = NUM_TAPS // 2
    attenuation = 2.285 * (half - 1) * torch.pi * 4 * (0.6 / 2) + 7.95
    window = torch.kaiser_window(NUM_TAPS, periodic=False, beta=0.1102 * (attenuation - 8.7))
    taps = window * torch.sinc((torch.arange(NUM_TAPS) - half + 0.5) / 2)
    return tuple((taps / taps.sum()).tolist())


TAPS = _low_pass_taps()
TAPS_OF_EVEN = tuple(2 * tap for tap in TAPS[:0:-2])
TAPS_OF_ODD = tuple(2 * tap for tap in TAPS[-2::-2])


def anti_aliased_snake(x: Tensor, frequency: Tensor, gain: Tensor, num_samples: Tensor | None) -> Tensor:
    """``x + gain * sin(frequency * x)**2``, computed at twice the rate so that the overtones do not alias.

    The doubled signal is kept as its even and its odd samples, each as long as ``x``: up and down again are then short
    filters over them, and nothing of double length is ever written. Beyond a clip's ends both filters see its first
    and its last value, and the convolution that follows sees zeros, whatever the clip was padded to.

    Args:
        x: of shape (num_clips, num_channels, most samples).
        frequency: of shape (num_channels, 1).
        gain: of shape (num_channels, 1).
        num_samples: how many samples each clip has, of shape (num_clips, 1, 1); None if all are of one length.
    """
    length = x.shape[-1]
    if num_samples is not None:
        is_sound = torch.arange(length, device=x.device) < num_samples
        at_end = (num_samples - 1).expand(-1, x.shape[1], -1)
        x = x.where(is_sound, x.gather(-1, at_end))
    x = F.pad(x, (3, 3), mode="replicate")
    even = _filtered(x[..., :-1], TAPS_OF_EVEN, length)
    odd = _filtered(x[..., 1:], TAPS_OF_ODD, length)
    even = torch.addcmul(even, (even * frequency).sin_().square_(), gain).to(x.dtype)
    odd = torch.addcmul(odd, (odd * frequency).sin_().square_(), gain).to(x.dtype)
    first, last = even[..., :1], odd[..., -1:]  # of the doubled signal
    if num_samples is not None:
        last = odd.gather(-1, at_end)
        even, odd = even.where(is_sound, last), odd.where(is_sound, last)
    even = torch.cat((first, first, even, last, last, last), -1)
    odd = torch.cat((first, first, first, odd, last, last), -1)
    x = _filtered(even, TAPS[1::2], length).add_(_filtered(odd, TAPS[0::2], length))
    return x if num_samples is None else x.where(is_sound, 0.0)


def _filtered(x: Tensor, taps: tuple[float, ...], length: int) -> Tensor:
    """Every channel's samples under a sliding sum weighted by ``taps``."""
    if x.is_cuda and not torch.compiler.is_compiling():
        num_channels = x.shape[1]
        return F.conv1d(x, _kernel(taps, x.dtype, x.device).expand(num_channels, 1, -1), groups=num_channels)
    total = x[..., :length] * taps[0]  # which a compiler makes one pass of, and which a CPU does faster in any case
    for k, tap in enumerate(taps[1:], 1):
        total.add_(x[..., k : k + length], alpha=tap)
    return total


@lru_cache
def _kernel(taps: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(taps, dtype=dtype, device=device)


class AntiAliasedSnake(nn.Module):
    """The activation of this branch, with its own frequency and gain for every channel."""

    frequency: Tensor
    gain: Tensor

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        # Buffers in single precision whatever the rest is in: a coarse frequency shifts the phase of large values.
        self.register_buffer("frequency", torch.ones(num_channels, 1))
        self.register_buffer("gain", torch.ones(num_channels, 1))
        self.function: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor] = anti_aliased_snake

    def forward(self, x: Tensor, num_samples: Tensor | None) -> Tensor:
        if x.is_cuda:
            return self.function(x, self.frequency, self.gain, num_samples)
        at_once = max(1, FIT_IN_CACHE // (x.shape[0] * x.shape[2]))  # channels, for the many passes over each
        result = torch.empty_like(x)
        pieces = zip(
            result.split(at_once, 1), x.split(at_once, 1), self.frequency.split(at_once), self.gain.split(at_once)
        )
        for of_result, of_x, frequency, gain in pieces:
            of_result.copy_(self.function(of_x, frequency, gain, num_samples))
        return result


class ResidualUnit(nn.Module):
    """A dilated convolution and one over the channels, added to what came in."""

    def __init__(self, num_channels: int, dilation: int) -> None:
        super().__init__()
        self.snake1 = AntiAliasedSnake(num_channels)
        self.conv1 = nn.Conv1d(num_channels, num_channels, 7, dilation=dilation, padding=3 * dilation)
        self.snake2 = AntiAliasedSnake(num_channels)
        self.conv2 = nn.Conv1d(num_channels, num_channels, 1)

    def forward(self, x: Tensor, num_samples: Tensor | None) -> Tensor:
        inner = self.conv1(self.snake1(x, num_samples))
        return self.conv2(self.snake2(inner, num_samples)).add_(x)


class Block(nn.Module):
    """Three residual units, then half, a quarter or a fifth of the rate and twice the channels."""

    def __init__(self, num_channels: int, stride: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(ResidualUnit(num_channels, dilation) for dilation in DILATIONS)
        self.snake = AntiAliasedSnake(num_channels)
        self.conv = nn.Conv1d(num_channels, 2 * num_channels, 2 * stride, stride, padding=(stride + 1) // 2)
        self.stride = stride

    def forward(self, x: Tensor, num_samples: Tensor | None) -> Tensor:
        for unit in self.units:
            x = unit(x, num_samples)
        return self.conv(self.snake(x, num_samples))


class AcousticEncoder(nn.Module):
    """Samples to vectors, one for every 320.

    Args:
        num_channels: of the first convolution; every block doubles them.
        width: of the vectors.
    """

    def __init__(self, num_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, num_channels, 7, padding=3)
        self.blocks = nn.ModuleList(Block(num_channels * 2**i, stride) for i, stride in enumerate(STRIDES))
        num_channels *= 2 ** len(STRIDES)
        self.snake = AntiAliasedSnake(num_channels)
        self.conv2 = nn.Conv1d(num_channels, width, 3, padding=1)

    def forward(self, waves: Tensor, num_samples: Tensor | None) -> Tensor:
        """Vectors as if each clip were alone; those after a clip's last one mean nothing.

        Args:
            waves: of shape (num_clips, most samples), zeros after a clip's end.
            num_samples: how many samples each clip has, multiples of 320; None if all are of one length.

        Returns:
            Of shape (num_clips, most samples / 320, width).
        """
        x = self.conv1(waves[:, None].to(self.conv1.weight.dtype))
        if num_samples is not None:
            num_samples = num_samples[:, None, None]
        for block in self.blocks:
            x = block(x, num_samples)
            if num_samples is not None:
                num_samples = num_samples // block.stride
        return self.conv2(self.snake(x, num_samples)).transpose(1, 2)
