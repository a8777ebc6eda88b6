"""Where a container's timestamps place its samples."""

from __future__ import annotations

from dataclasses import dataclass

TIMED_FORMATS = frozenset(("asf", "flac", "flv", "matroska", "mov", "mpeg", "mpegts", "ogg"))
"""Containers that tell when their packets sound; in others samples are counted, or bytes."""

TOLERANCE_SEC = 0.1
"""How far timestamps may be off, as much as for FFmpeg (``min_hard_comp`` of its resampler): they are rounded (to 1 ms
in Matroska and FLV), those of live recordings jitter, and the first of a fragmented MP4 file may be its picture's. They
are compared with the samples counted so far and not with the timestamp before, so that errors do not add up."""

MAX_GAP_SEC = 3600.0
"""A longer gap is a clock that was set anew, as where files of different days were put together."""

MAX_OVERLAP_SEC = 10.0
"""A longer way back is a clock that began again: what follows was not heard before."""

MAX_SILENCE_SEC = 24 * 3600.0
"""How much silence a recording may gain in all, whatever its timestamps say."""

GAP, OVERLAP, LATE_START, JUMP = "gap", "overlap", "late start", "jump of the clock"


@dataclass(frozen=True)
class Fault:
    """A place where timestamps and samples disagree.

    Args:
        kind: ``GAP``, ``OVERLAP``, ``LATE_START`` or ``JUMP``.
        at_sec: where it is, in seconds of the container's timeline.
        length_sec: how long it is; of a jump how far, below 0 backwards.
    """

    kind: str
    at_sec: float
    length_sec: float

    def __str__(self) -> str:
        return f"a {self.kind} of {self.length_sec:.3f} s at {self.at_sec:.3f} s".replace("a overlap", "an overlap")


class Timeline:
    """Compares the timestamps of frames with their samples, and tells what is missing between them or comes twice.

    From the first frame on samples are counted. A timestamp within ``TOLERANCE_SEC`` of the count changes nothing; one
    beyond it is a gap, to be filled with as many samples as are missing, or an overlap, of which as many are to be
    dropped. A clock that is set anew (a gap or an overlap beyond all measure, or a way back to where it began) goes on
    as if nothing were missing.

    Attributes:
        faults: the first three of them.
        num_faults: how many there are.
        gap_sec, overlap_sec: how long they are in all, late starts among the gaps; jumps of the clock are neither.
        late_sec: how late the sound starts.
        jump_sec: by how much the clock jumped ahead in all.

    Example:
        >>> timeline = Timeline()
        >>> timeline.begin(1 / 1000, late_sec=0.0)
        >>> [timeline.place(pts, 480, 24000) for pts in (0, 20, 41, 560, 580, 440, 460, 480, 500)]
        [0, 0, 0, 12000, 0, -480, -480, -480, -480]
        >>> [str(fault) for fault in timeline.faults]
        ['a gap of 0.500 s at 0.060 s', 'an overlap of 0.160 s at 0.600 s']
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.num_faults = 0
        self.gap_sec = self.overlap_sec = self.late_sec = self.jump_sec = 0.0
        self._tick_sec: float | None = None
        self._late_sec = 0.0
        self._start: int | None = None  # the first timestamp of the clock
        self._rate = 0
        self._ticks_per_sample = self._tolerance = 0.0
        self._anchor = self._anchor_sec = 0.0  # a timestamp, and where it is on the timeline
        self._count = 0  # samples since then
        self._pending = 0  # samples of silence that are to come, or, below 0, of sound that are to be dropped

    @property
    def sec(self) -> float:
        """How far the timeline has come, in seconds."""
        return self._anchor_sec + (self._count / self._rate if self._rate else 0.0)

    def begin(self, tick_sec: float | None, late_sec: float) -> None:
        """Begin with the first frame of a container, or with that of the next link of a chain.

        Args:
            tick_sec: the unit of its timestamps, in seconds; None where they tell nothing.
            late_sec: by how much the track starts after its container does.
        """
        self._anchor_sec, self._count, self._rate = self.sec, 0, 0
        self._tick_sec, self._late_sec, self._start, self._pending = tick_sec, late_sec, None, 0

    def place(self, pts: int | None, num_samples: int, rate: int) -> int:
        """How many samples of silence belong before a frame, or, below 0, how many are to be dropped from its start.

        Args:
            pts: its timestamp; None where it has none.
            num_samples: its length.
            rate: its rate in Hz.
        """
        if rate != self._rate:
            self._turn_to(rate)
        if pts is not None and self._tick_sec is not None:
            if self._start is None:
                self._start, self._anchor = pts, pts - self._count * self._ticks_per_sample
            off = pts - self._anchor - self._count * self._ticks_per_sample
            if not -self._tolerance <= off <= self._tolerance:
                self._correct(pts, off, num_samples)
        self._count += num_samples
        if not self._pending:
            return 0
        now = self._pending if self._pending > 0 else -min(-self._pending, num_samples)
        self._pending -= now
        return now

    def _turn_to(self, rate: int) -> None:
        """Count samples of another rate from here on, or the first ones."""
        if self._rate:
            self._anchor += self._count * self._ticks_per_sample
            self._pending = round(self._pending * rate / self._rate)
        self._anchor_sec, self._count, self._rate = self.sec, 0, rate
        if self._tick_sec is None:
            return
        self._ticks_per_sample = 1 / (self._tick_sec * rate)
        self._tolerance = TOLERANCE_SEC / self._tick_sec
        if self._late_sec > TOLERANCE_SEC:
            self._add(
                LATE_START if self._late_sec <= MAX_GAP_SEC else JUMP, self._late_sec, round(self._late_sec * rate)
            )
        self._late_sec = 0.0

    def _correct(self, pts: int, off: float, num_samples: int) -> None:
        """Take a timestamp for true that is off by more than the tolerance."""
        assert self._tick_sec is not None and self._start is not None
        num_missing = round(off / self._ticks_per_sample)
        off_sec = num_missing / self._rate
        goes_back = off < 0 and (pts - self._start <= self._tolerance or off_sec < -MAX_OVERLAP_SEC)
        if goes_back or off_sec > MAX_GAP_SEC or self.gap_sec + off_sec > MAX_SILENCE_SEC:
            self._add(JUMP, off_sec, 0)
            self._start, self._anchor = pts, pts - self._count * self._ticks_per_sample
            return
        # A coarse timestamp cannot tell a gap to the sample; where that may be a number of whole frames, it is.
        whole_frames = round(num_missing / num_samples) * num_samples if num_samples else num_missing
        if abs(num_missing - whole_frames) <= self._tick_sec * self._rate:
            num_missing = whole_frames
        self._anchor += num_missing * self._ticks_per_sample
        self._add(GAP if num_missing > 0 else OVERLAP, abs(num_missing) / self._rate, num_missing)

    def _add(self, kind: str, length_sec: float, num_samples: int) -> None:
        """Note a fault, and move on by as many samples."""
        self.num_faults += 1
        if len(self.faults) < 3:
            self.faults.append(Fault(kind, self.sec, length_sec))
        if kind == JUMP:
            num_samples = -min(self._pending, 0)  # what comes now was not heard before
            self.jump_sec += max(length_sec, 0.0)
        elif kind == OVERLAP:
            self.overlap_sec += length_sec
        else:
            self.gap_sec += length_sec
            self.late_sec += length_sec * (kind == LATE_START)
        self._pending += num_samples
        self._anchor_sec += num_samples / self._rate
