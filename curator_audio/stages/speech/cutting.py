"""Cutting recordings into pieces at sample precision, each recording decoded once."""

from __future__ import annotations

import math
import posixpath
from abc import abstractmethod
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from curator_audio.errors import ConfigurationError
from curator_audio.ledger import StageMetrics
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.optional import Ignored, as_text
from curator_audio.stages.parameters import check_count, check_number
from curator_audio.stages.record_stage import RecordStage
from curator_audio.stages.references import RULES, ReadsReferences, References, path_of
from curator_audio.stages.source import SourceStage
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.decode import open_recording
from curator_audio.stages.speech.recording_report import report_recording
from curator_audio.stages.speech.resample import resampled
from curator_audio.stages.speech.segments import METADATA_FIELDS
from curator_audio.stages.speech.sound import MAX_PEAK, Samples
from curator_audio.stages.speech.sound_options import SoundOptions
from curator_audio.tasks import AudioBatch, Record

Span = tuple[int, int]
"""The first sample, and one past the last."""

ENTRY_TEXTS = ("audio_id", "channel", *METADATA_FIELDS)
"""What an entry may say in texts; a number is one, too."""


class CuttingStage(ReadsReferences, RecordStage):
    """The base of stages that make one record of every piece of a recording; a stage is its spans and its ``piece``.

    Args:
        sample_rate: the rate of the pieces, in Hz.
        silence_threshold_db: a piece whose peak is below it is silent, in dB of full scale.
        end_tolerance: by how much a piece may end after the recording does, in seconds; it is clipped then.
        audio_dir: the folder of relative paths; None for the manifest's own.
        allowed_schemes: schemes of URLs that a manifest may name, besides its own store; see ``ReadsReferences``.
        allow_outside: whether a manifest may name files outside of that folder.
        allow_private_hosts: whether it may name hosts with private, loopback or link-local addresses.
        timeline: ``samples`` puts the samples end to end, ``container`` where the timestamps are: gaps and late starts
            become silence, what overlaps is dropped.
        channel: ``mix``, ``left``, ``right`` or a number from 0; the segmenter takes ``each``.
        audio_track: ``default``, a number from 0 among the audio tracks, or a language such as ``de`` or ``deu``.

    Raises:
        ConfigurationError: a parameter is out of its range, or the extra ``audio`` is not installed.
    """

    sample_rate: int
    silence_threshold_db: float
    end_tolerance: float
    audio_dir: str | None
    timeline: str
    channel: str | int
    audio_track: str | int
    _worker: WorkerInfo = WorkerInfo()
    _manifest_path: str = ""

    free_parameters: ClassVar[tuple[str, ...]] = RULES  # what was refused by them is a recording to be done

    def __post_init__(self) -> None:
        self.check_rules()
        check_count("sample_rate", self.sample_rate, "of Hz from 4000 to 192000", 4000, 192000)
        check_number("silence_threshold_db", self.silence_threshold_db, "of dB, from -200 to 0", -200, 0)
        check_number("end_tolerance", self.end_tolerance, "of seconds, from 0 to 60", 0, 60)
        try:
            import av  # noqa: F401
            import soundfile  # noqa: F401
            import soxr  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                f"{type(self).__name__} needs {error.name}, which is not installed; pip install 'curator-audio[audio]'"
            ) from None
        self._options = SoundOptions(self.timeline, self.channel, self.audio_track)
        self._silent_peak = 10 ** (self.silence_threshold_db / 20)

    def check_source(self, source: SourceStage[Any]) -> None:
        self.look_into(source, self.audio_dir, "audio_filepath")

    def setup(self, worker: WorkerInfo) -> None:
        self._worker = worker

    def process(self, task: AudioBatch) -> Iterator[AudioBatch]:  # type: ignore[override]  # a long recording is many
        self._manifest_path = task.source_path
        yield from segment_batches(self.processed(task), task.source_path)

    @abstractmethod
    def piece(self, entry: Record, index: int, samples: Samples, recording_end: float | None) -> Record:
        """The record of piece ``index`` of an entry, which is not silent.

        Args:
            entry: the entry.
            index: the number of the piece.
            samples: its sound.
            recording_end: when the recording ends, in seconds, where the piece was clipped there; else None.
        """

    def misfit(self, num_samples: int) -> str:
        """Why a piece is too short or too long, if it is."""
        return ""

    def identified(self, record: Record) -> Record:
        """The entry with the whole path of its audio, its ``audio_id`` and its ``channel``.

        Raises:
            RecordError: it has no path.
        """
        record = self.readable(record, ENTRY_TEXTS)
        path = self._references().resolved(path_of(record))
        audio_id = as_text(record.get("audio_id")) or posixpath.splitext(posixpath.basename(path))[0]
        channel = as_text(record.get("channel")) or posixpath.basename(posixpath.dirname(path)) or None
        return {**record, "audio_filepath": path, "audio_id": audio_id, "channel": channel}

    def readable(self, holder: Record, names: Iterable[str], met: set[Any] | None = None) -> Record:
        """An entry or a segment with None for those of its texts that are none; they are counted.

        Args:
            holder: the entry or segment.
            names: its texts.
            met: where segments are in several lists, what was counted before and is not counted again; is added to.
        """
        wrong = [name for name in names if holder.get(name) is not None and as_text(holder[name]) is None]
        if wrong:
            met = set() if met is None else met
            places = {(holder.get("start"), name, repr(holder[name])) for name in wrong}
            self.log_metrics(Ignored(len(places - met)).as_metrics())
            met |= places
        return {**holder, **dict.fromkeys(wrong)} if wrong else holder

    def pieces(self, entry: Record, spans: Mapping[int, Span], open_ended: Container[int] = ()) -> Iterator[Record]:
        """The records of the spans of an identified entry, in the order of ``spans``.

        A piece that ends early waits, as its record, for those before it. One that ends after the recording does is
        clipped where it is by no more than ``end_tolerance`` (``clipped_at_end``), else skipped
        (``skipped_beyond_end``), as is a ``skipped_silent`` one, one that is on another scale
        (``skipped_out_of_range``) and one that does not fit.

        Args:
            entry: the entry.
            spans: the samples of each piece, by its number.
            open_ended: the pieces that end where the recording does, if that is before their span does.
        """
        waiting = deque(spans)
        done: dict[int, list[Record]] = {}
        for index, samples in self._decoded(entry["audio_filepath"], spans, open_ended):
            done[index] = list(self._made(entry, index, samples, spans[index], index in open_ended))
            while waiting and waiting[0] in done:
                yield from done.pop(waiting.popleft())
        for index in waiting:
            if index not in done:
                first, end = spans[index]
                reason = "" if index in open_ended else self.misfit(end - first)
                self.log_skipped(entry["audio_filepath"], reason or "beyond_end")
            yield from done.get(index, ())

    def _made(self, entry: Record, index: int, samples: Samples, span: Span, is_open: bool) -> Iterator[Record]:
        """The record of a piece that is not skipped; where each channel is a recording of its own, one of each."""
        is_clipped = not is_open and _is_clipped(samples, span)
        at_end = is_open or is_clipped
        if reason := self.misfit(len(samples) if at_end else span[1] - span[0]):
            self.log_skipped(entry["audio_filepath"], reason)
            return
        if samples.ndim == 1:
            signals = [(entry, samples)]
        else:
            audio_id = entry["audio_id"]
            signals = [({**entry, "audio_id": f"{audio_id}_ch{k}"}, samples[:, k]) for k in range(samples.shape[1])]
        end = (span[0] + len(samples)) / self.sample_rate if at_end else None
        for recording, signal in signals:
            peak = np.abs(signal).max()
            if peak < self._silent_peak or peak > MAX_PEAK:
                self.log_skipped(entry["audio_filepath"], "out_of_range" if peak > MAX_PEAK else "silent")
                continue
            if is_clipped:
                self.log_metric("clipped_at_end", 1)
            yield self.piece(recording, index, signal, end)

    def remarks_after(self, metrics: StageMetrics) -> list[str]:
        totals = metrics.custom
        skipped = {name: int(count) for name, count in totals.items() if name.startswith("skipped_")}
        if not skipped or totals.get("segments") or totals.get("windows"):
            return []
        name = max(skipped, key=skipped.__getitem__)
        total = sum(skipped.values())
        share = f"all {total}" if skipped[name] == total else f"{skipped[name]} of {total}"
        return [f"nothing was cut: {share} pieces were skipped as {name.removeprefix('skipped_')}"]

    def span(self, start: float, end: float) -> Span:
        """The samples between two times in seconds."""
        return sample_index(start, self.sample_rate), sample_index(end, self.sample_rate)

    def _references(self) -> References:
        return self.references_of(self._manifest_path, self.audio_dir, self._worker)

    def _decoded(
        self, path: str, spans: Mapping[int, Span], open_ended: Container[int]
    ) -> Iterator[tuple[int, Samples]]:
        """Decode the recording, all of it, and give the samples of the spans."""
        tolerance = max(1, sample_index(self.end_tolerance, self.sample_rate))
        with (
            self._references().reading(path) as storage,
            open_recording(storage, path, self._options) as recording,
        ):
            blocks = resampled(recording.blocks(), recording.sample_rate, self.sample_rate)
            for index, samples in cut(blocks, spans, tolerance, open_ended):
                # Where a recording breaks off it does not end: what would be clipped there has more text than sound.
                if not (recording.broken_off and _is_clipped(samples, spans[index])):
                    yield index, samples
        report_recording(self, path, recording)


def sample_index(time_sec: float, sample_rate: int) -> int:
    """The sample nearest to a time, of two that are equally near the later: ``floor(time_sec * sample_rate + 0.5)``.

    Python's own ``round`` would take the even one, and pieces of the same length could differ by a sample.

    Example:
        >>> sample_index(1.5, 1), sample_index(2.5, 1)
        (2, 3)
    """
    return math.floor(time_sec * sample_rate + 0.5)


def cut(
    blocks: Iterable[Samples], spans: Mapping[int, Span], tolerance: int = 1, open_ended: Container[int] = ()
) -> Iterator[tuple[int, Samples]]:
    """The samples of spans of a stream, each as soon as its last one has come.

    Holds the blocks from the start of the earliest span that has begun and is not complete. Of a span that ends after
    the stream what there is is given, if it is no more than ``tolerance`` that is missing; others are not given.

    Args:
        blocks: the stream, float32 of shape (num_samples,) a block.
        spans: spans by their names; they may overlap and be in any order.
        tolerance: how many samples of a span may be missing at the end of the stream; rounding may make it one.
        open_ended: the spans of which any number may be missing.

    Example:
        >>> stream = [np.arange(4, dtype=np.float32), np.arange(4, 8, dtype=np.float32)]
        >>> for name, samples in cut(stream, {0: (1, 6), 1: (2, 3), 2: (5, 9), 3: (7, 10)}):
        ...     print(name, samples)
        1 [2.]
        0 [1. 2. 3. 4. 5.]
        2 [5. 6. 7.]
    """
    to_come = sorted(spans, key=lambda name: spans[name], reverse=True)
    begun: list[int] = []
    held: deque[tuple[int, Samples]] = deque()
    position = 0
    for block in blocks:
        held.append((position, block))
        position += len(block)
        while to_come and spans[to_come[-1]][0] < position:
            begun.append(to_come.pop())
        for name in begun:
            if spans[name][1] <= position:
                yield name, _joined(held, *spans[name])
        begun = [name for name in begun if spans[name][1] > position]
        needed = min((spans[name][0] for name in begun), default=position)
        while held and held[0][0] + len(held[0][1]) <= needed:
            held.popleft()
    for name in begun:
        if spans[name][1] <= position + tolerance or name in open_ended:
            yield name, _joined(held, spans[name][0], position)


def _joined(held: Iterable[tuple[int, Samples]], first: int, end: int) -> Samples:
    pieces = [
        block[max(0, first - position) : end - position]
        for position, block in held
        if position < end and first < position + len(block)
    ]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _is_clipped(samples: Samples, span: Span) -> bool:
    """Whether more is missing of a span than rounding may take."""
    return len(samples) < span[1] - span[0] - 1
