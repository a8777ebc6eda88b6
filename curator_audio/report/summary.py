"""Print the summary of a run."""

from __future__ import annotations

from curator_audio.ledger import StageMetrics
from curator_audio.report.result import RunResult

SHOWN_FAILURES = 5


def summary(result: RunResult) -> str:
    """Return a run in a few lines: output, work of each stage, quarantined records, failures."""
    lines = ["PIPELINE INCOMPLETE" if result.exit_status else "PIPELINE COMPLETE"]
    lines.append(f"  Output entries: {result.num_output_records}")
    width = max(len(stage) for stage in result.stages) + 2
    for stage, metrics in result.metrics.items():
        lines.append(f"  {f'[{stage}]':{width}}  {_stage_line(metrics)}")
    if result.num_done_before:
        lines.append(f"  Partitions: {len(result.entries)} done, {result.num_done_before} of them by an earlier run")
    if result.outside:
        num_records = sum(entry.num_records for entry in result.outside)
        lines.append(f"  Outside of the selection: {len(result.outside)} partitions with {num_records} records, kept")
    for name, message in list(result.failures.items())[:SHOWN_FAILURES]:
        lines.append(f"  Failed: {name}: {message}")
    if result.failures:
        lines.append(f"  {len(result.failures)} partition(s) failed; the next run retries them")
    if result.mb_per_sec:
        rates = ", ".join(f"{rate:.1f} MB/s {what}" for what, rate in result.mb_per_sec.items())
        lines.append(f"  This run: {rates}")
    if num_recordings := sum(1 for _ in result.skipped):
        lines.append(f"  Recordings with segments or windows left out: {num_recordings}, see skipped.jsonl")
    if result.quarantined:
        reasons = ", ".join(f"{reason} {count}" for reason, count in result.quarantined.items())
        lines.append(f"  Quarantined records: {sum(result.quarantined.values())} ({reasons}), see quarantine/")
    return "\n".join(lines)


def _stage_line(metrics: StageMetrics) -> str:
    mean = metrics.process_time / max(1, metrics.num_tasks)
    pieces = [
        f"process_time: mean={mean:.3f}s, total={metrics.process_time:.3f}s",
        f"items_processed: {metrics.items_processed}",
    ]
    pieces += [f"{name}: {_figure(name, value)}" for name, value in metrics.custom.items()]
    return " · ".join(pieces)


def _figure(name: str, value: float) -> str:
    """Return counts as whole numbers, durations in seconds."""
    if "duration" in name or name.endswith(("_sec", "_time")):
        return f"{value:.1f}s"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3f}"
