"""The features that the semantic model hears, for a whole batch on its device."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SAMPLE_RATE = 16_000
FRAME_LENGTH = 400
FRAME_SHIFT = 160
FFT_LENGTH = 512
NUM_MELS = 80
STRIDE = 2
"""Neighbouring frames that make one feature vector."""
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
ENERGY_FLOOR = 2.0**-23
"""The smallest energy of a band, that of silence; the logarithm needs one."""


class MelFeatures:
    """Log-mel energies as Kaldi computes them, each clip's bands brought to zero mean and unit variance.

    Equal to ``SeamlessM4TFeatureExtractor`` (the one of facebook/w2v-bert-2.0) clip by clip, and like it in double
    precision, because quiet bands beside loud ones drown in single precision.

    Args:
        device: where to compute.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        double = {"dtype": torch.float64, "device": device}
        phase = torch.arange(FRAME_LENGTH, **double) * (2 * math.pi / (FRAME_LENGTH - 1))
        self._window = (0.5 - 0.5 * torch.cos(phase)) ** 0.85
        self._filters = _mel_filters().to(**double)

    def __call__(self, waves: torch.Tensor, num_frames: torch.Tensor) -> torch.Tensor:
        """The features of clips padded with zeros.

        Args:
            waves: float32, of shape (num_clips, num_samples).
            num_frames: how many feature vectors each clip has, of shape (num_clips,).

        Returns:
            float32, of shape (num_clips, most frames, 160); zeros after a clip's last frame.
        """
        import torch

        frames = (waves.double() * 2**15).unfold(1, FRAME_LENGTH, FRAME_SHIFT)
        frames = frames[:, : frames.shape[1] // STRIDE * STRIDE]
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat((frames[..., :1], frames[..., :-1]), -1)
        spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * self._window, FFT_LENGTH)
        power = spectrum.real.square() + spectrum.imag.square()
        energies = (power @ self._filters).clamp(min=ENERGY_FLOOR).log().float()

        num_mels = (num_frames * STRIDE)[:, None, None]
        is_sound = torch.arange(energies.shape[1], device=waves.device)[:, None] < num_mels
        wide = energies.double() * is_sound
        mean = wide.sum(1, keepdim=True) / num_mels
        variance = ((wide - mean) * is_sound).square().sum(1, keepdim=True) / (num_mels - 1)
        normal = ((wide - mean) / (variance + 1e-7).sqrt() * is_sound).float()
        return normal.reshape(len(waves), -1, NUM_MELS * STRIDE)


def _mel_filters() -> torch.Tensor:
    """Triangles evenly spaced on Kaldi's mel scale, 1127 ln(1 + f / 700), of shape (num_bins, num_mels)."""
    import torch

    def mel(hz: torch.Tensor) -> torch.Tensor:
        return 1127.0 * torch.log1p(hz / 700.0)

    bins = mel(torch.arange(FFT_LENGTH // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / FFT_LENGTH)[:, None]
    lowest, highest = mel(torch.tensor([LOWEST_HZ, SAMPLE_RATE / 2], dtype=torch.float64)).tolist()
    corners = torch.linspace(lowest, highest, NUM_MELS + 2, dtype=torch.float64)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    return torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp(min=0)
