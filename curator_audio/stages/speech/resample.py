"""Samples at another rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from curator_audio.stages.speech.sound import Samples, check_rate

QUALITY = "HQ"
"""soxr's name for its high quality: 20 bits, enough for 16-bit audio."""


def resampled(blocks: Iterable[Samples], source_rate: int, sample_rate: int) -> Iterator[Samples]:
    """A stream of samples at another rate, block by block.

    However the samples are cut into blocks, the result is the same to the last bit, and the same as that of resampling
    all of them at once. As many come out as is nearest to ``num_samples * sample_rate / source_rate``.

    Args:
        blocks: float32 samples of shape (num_samples,) or (num_samples, num_channels), blocks of any length.
        source_rate: their rate in Hz.
        sample_rate: the wanted rate in Hz; where it is the same, blocks pass as they are.

    Raises:
        RecordError: no sound has the rate ``source_rate``.

    Example:
        >>> blocks = [np.zeros(30000, np.float32), np.zeros(18000, np.float32)]
        >>> sum(len(block) for block in resampled(blocks, 48000, 16000))
        16000
    """
    if source_rate == sample_rate:
        yield from blocks
        return
    import soxr

    check_rate(source_rate)
    stream, nothing = None, np.zeros(0, np.float32)
    for block in blocks:
        if stream is None:
            num_channels, nothing = block[0].size, block[:0]
            stream = soxr.ResampleStream(source_rate, sample_rate, num_channels, dtype="float32", quality=QUALITY)
        if len(out := stream.resample_chunk(block)):
            yield out
    if stream is not None and len(out := stream.resample_chunk(nothing, last=True)):
        yield out
