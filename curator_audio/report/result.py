"""The result of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from curator_audio.ledger import LedgerEntry, StageMetrics


@dataclass
class RunResult:
    """The result of a run over all of its output, that of earlier runs in the same folder included.

    Args:
        pipeline: the pipeline's name.
        executor: the executor's name.
        output_path: where the output is.
        entries: the finished partitions in input order.
        stages: the stages' names in order.
        failures: the reasons why partitions failed, by partition name.
        num_done_before: partitions that an earlier run had done.
        num_kept: partitions whose source is gone, and whose output is kept.
        outside: the partitions of earlier runs that this one was not told to take, as it was given ``limit`` or the
            like; their output is kept.
        derived: for each stage, a function that computes further figures from its totals.
        time_sec: wall-clock seconds of this run.
        mb_per_sec: MB (10**6 bytes) a second that this run has ``read`` and ``written``, where it copied files.
    """

    pipeline: str
    executor: str
    output_path: str
    entries: list[LedgerEntry]
    stages: list[str]
    failures: dict[str, str] = field(default_factory=dict)
    num_done_before: int = 0
    num_kept: int = 0
    outside: list[LedgerEntry] = field(default_factory=list)
    derived: Mapping[str, Callable[[Mapping[str, float]], dict[str, float]]] = field(default_factory=dict)
    time_sec: float = 0.0
    mb_per_sec: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = f"{len(self.entries)} partitions, {self.num_output_records} records, {len(self.failures)} failures"
        return f"<RunResult of {self.pipeline}: {counts} in {self.output_path}>"

    @property
    def num_output_records(self) -> int:
        return sum(entry.num_records for entry in self.entries)

    @property
    def quarantined(self) -> dict[str, int]:
        """Numbers of quarantined records by reason, the most frequent first."""
        counts: Counter[str] = Counter()
        for entry in self.entries:
            counts.update(entry.quarantined)
        return dict(counts.most_common())

    @property
    def skipped(self) -> Iterator[tuple[str, str, dict[str, int]]]:
        """Yield stage, recording, and the numbers of its skipped pieces by reason; recordings in input order."""
        for entry in self.entries:
            for stage, metrics in entry.metrics.items():
                for recording, reasons in metrics.skipped.items():
                    yield stage, recording, reasons

    @property
    def metrics(self) -> dict[str, StageMetrics]:
        """Totals of each stage over all partitions."""
        totals = {stage: StageMetrics() for stage in self.stages}
        for entry in self.entries:
            for stage, metrics in entry.metrics.items():
                if stage in totals:
                    totals[stage].add(metrics)
        for stage, derive in self.derived.items():
            totals[stage].custom |= derive(totals[stage].custom)
        return totals

    @property
    def is_all_bad(self) -> bool:
        """True if records were read and all of them were quarantined."""
        reader = self.metrics[self.stages[0]]
        num_quarantined = sum(self.quarantined.values())
        return 0 < reader.items_out + reader.num_quarantined <= num_quarantined and not self.num_output_records

    @property
    def exit_status(self) -> int:
        """0 all done; 1 something failed, or all records were quarantined."""
        return 1 if self.failures or self.is_all_bad else 0

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``."""
        return {
            "pipeline": self.pipeline,
            "executor": self.executor,
            "output_path": self.output_path,
            "time_sec": round(self.time_sec, 3),
            **({"mb_per_sec": dict(self.mb_per_sec)} if self.mb_per_sec else {}),
            "num_output_records": self.num_output_records,
            "num_quarantined": sum(self.quarantined.values()),
            "quarantined": self.quarantined,
            "partitions": {
                "done": len(self.entries),
                "done_before": self.num_done_before,
                "failed": len(self.failures),
                "kept_of_vanished_sources": self.num_kept,
                **({"outside_selection": len(self.outside)} if self.outside else {}),
            },
            "failures": self.failures,
            "stages": {
                stage: {
                    "process_time_mean_sec": metrics.process_time / max(1, metrics.num_tasks),
                    "process_time_total_sec": metrics.process_time,
                    "num_tasks": metrics.num_tasks,
                    "items_processed": metrics.items_processed,
                    "items_in": metrics.items_in,
                    "items_out": metrics.items_out,
                    "num_quarantined": metrics.num_quarantined,
                    **metrics.custom,
                }
                for stage, metrics in self.metrics.items()
            },
        }
