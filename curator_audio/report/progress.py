"""Show the progress of a run."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from curator_audio.ledger import LedgerEntry, StageMetrics

LINE_INTERVAL_SEC = 10.0
BYTES = {"read": ("bytes_copied", "bytes_compared"), "written": ("bytes_copied",)}
"""Names of the metrics in which stages count the bytes of files that they have read and written."""
SOUND_DURATIONS = ("audio_duration", "encoded_duration")
"""Names of the metrics in which stages count the seconds of sound that they have processed."""


class Progress(AbstractContextManager["Progress"]):
    """Count finished work and show it: a live display on a terminal, a line now and then elsewhere.

    Args:
        stages: how many workers each stage has, by its name.
        num_bytes: the bytes of input to be done; None where not known.
        shown: False shows nothing.
    """

    def __init__(self, stages: dict[str, int], num_bytes: int | None, shown: bool) -> None:
        self._workers = stages
        self._shown = shown
        self._totals = {stage: StageMetrics() for stage in stages}
        self._done_bytes = 0
        self._total_bytes = num_bytes
        self._started = time.monotonic()
        self._last_line = self._started
        self._live: Any = None
        self.num_partitions = 0

    def __enter__(self) -> Progress:
        if self._shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def done(self, entry: LedgerEntry) -> None:
        """Count a finished partition."""
        self.num_partitions += 1
        self._done_bytes += entry.end - entry.start
        for stage, metrics in entry.metrics.items():
            if stage in self._totals:
                self._totals[stage].add(metrics)
        now = time.monotonic()
        if self._shown and self._live is None and now - self._last_line >= LINE_INTERVAL_SEC:
            self._last_line = now
            print(self._line(), file=sys.stderr, flush=True)

    def _rates(self) -> str:
        """Return items a second, hours of sound a second where sound is processed, and the time left."""
        elapsed = max(1e-6, time.monotonic() - self._started)
        first = next(iter(self._totals.values()))
        durations = [m.custom.get(name, 0.0) for m in self._totals.values() for name in SOUND_DURATIONS]
        rates = f"{self.num_partitions} partitions · {first.items_processed / elapsed:.0f} items/s"
        if any(durations):
            rates += f" · {max(durations) / 3600 / elapsed:.2f} audio h/s"
        rates += "".join(f" · {rate:.1f} MB/s {what}" for what, rate in self.mb_per_sec().items())
        if self._total_bytes and self._done_bytes:
            rates += f" · {clock(elapsed * (self._total_bytes - self._done_bytes) / self._done_bytes)} left"
        return rates

    def mb_per_sec(self) -> dict[str, float]:
        """Return the MB (10**6 bytes) read and written a second; empty where no files are copied."""
        elapsed = max(1e-6, time.monotonic() - self._started)
        counted = [metrics.custom for metrics in self._totals.values() if "bytes_copied" in metrics.custom]
        return {
            what: sum(custom.get(name, 0) for custom in counted for name in names) / 1e6 / elapsed
            for what, names in BYTES.items()
            if counted
        }

    def _busy(self, stage: str) -> float:
        elapsed = max(1e-6, time.monotonic() - self._started)
        return min(1.0, self._totals[stage].process_time / elapsed / max(1, self._workers[stage]))

    def _line(self) -> str:
        busy = ", ".join(f"{stage} {self._busy(stage):.0%}" for stage in self._workers)
        done = f"{100 * self._done_bytes / self._total_bytes:.0f} % · " if self._total_bytes else ""
        return f"{done}{self._rates()} · busy: {busy}"

    def _table(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        head = Text(self._rates() if self.num_partitions else "starting …")
        table = Table(box=None, padding=(0, 2, 0, 0))
        for column in ("stage", "items", "busy", "workers"):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for stage, metrics in self._totals.items():
            workers = self._workers[stage]
            table.add_row(stage, f"{metrics.items_processed}", f"{self._busy(stage):.0%}", f"{workers}")
        bar = Table.grid()
        bar.add_row(ProgressBar(self._total_bytes, self._done_bytes, width=60))
        return Group(head, bar, table)


def clock(seconds: float) -> str:
    """Return a length of time as people read it.

    Example:
        >>> clock(3725)
        '1:02:05'
    """
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
