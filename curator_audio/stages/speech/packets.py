"""The samples of a recording counted by its packets, without decoding all of them."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from itertools import islice
from typing import Any

NUM_DECODED = 8
"""How many packets at either end are decoded: there samples are added, dropped and cut off."""


def num_samples_by_packets(container: Any, stream: Any) -> int | None:
    """How many samples an audio stream of an Ogg file of Vorbis or Opus has.

    Ogg has a checksum over every page, so that packets which follow one another in time are whole, and a packet of
    these codecs tells how long it is. Elsewhere a packet may be damaged without a sign, and only decoding shows it.

    Args:
        container: as PyAV opens it, from its start.
        stream: one of its streams.

    Returns:
        The number, the same as decoding gives; None where anything is unusual and only decoding can tell.
    """
    import av

    if container.format.name != "ogg" or stream.codec_context.name not in ("opus", "libopus", "vorbis"):
        return None
    rate = stream.codec_context.sample_rate
    if stream.time_base != Fraction(1, rate):
        return None
    num_samples, packets = 0, container.demux(stream)
    try:
        for packet in islice(packets, NUM_DECODED):
            num_samples += _num_decoded(packet, rate)
        waiting: deque[Any] = deque()
        expected: int | None = None
        for packet in packets:
            waiting.append(packet)
            if len(waiting) > NUM_DECODED:
                first = waiting.popleft()
                if not first.size or not first.duration or first.is_corrupt or first.has_sidedata("skip_samples"):
                    return None
                if expected is not None and first.pts != expected:
                    return None
                expected = first.pts + first.duration
                num_samples += first.duration
        if expected is not None:  # a packet of Vorbis is as long as the one before it has it
            first = waiting.popleft()
            if first.pts != expected or not first.duration or first.has_sidedata("skip_samples"):
                return None
            _num_decoded(first, rate)
            num_samples += first.duration
        return num_samples + sum(_num_decoded(packet, rate) for packet in waiting)
    except (av.FFmpegError, _Changed):
        return None


class _Changed(Exception):
    """The sound goes on at another rate."""


def _num_decoded(packet: Any, rate: int) -> int:
    frames = packet.decode()
    if packet.is_corrupt or any(frame.sample_rate != rate for frame in frames):
        raise _Changed
    return sum(frame.samples for frame in frames)
