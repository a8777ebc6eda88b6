"""What a run prints and writes when it is over."""

from __future__ import annotations

from curator_audio.ledger import LedgerEntry, StageMetrics
from curator_audio.report.progress import Progress, clock
from curator_audio.report.result import RunResult
from curator_audio.report.summary import summary
from curator_audio.tasks import Part
from curator_audio.tasks.inputs import NOTHING


def entry(number: int, records: int = 5, quarantined: dict[str, int] | None = None) -> LedgerEntry:
    bad = sum((quarantined or {}).values())
    metrics = {
        "reader": StageMetrics(0.5, 1, 0, records, bad, {"audio_duration": 7200.0}),
        "builder": StageMetrics(1.0, 1, records, records, 0, {"windows": 36, "gain": 0.25}),
        "writer": StageMetrics(0.25, 1, records, 0),
    }
    parts = [Part(f"p{number}.jsonl", 100, "", records)] if records else []
    return LedgerEntry(f"p{number}", "in.jsonl", 0, 1000, NOTHING, parts, [], quarantined or {}, metrics)


def result(*entries: LedgerEntry, **values: object) -> RunResult:
    return RunResult("alm", "local", "out.jsonl", list(entries), ["reader", "builder", "writer"], **values)  # type: ignore[arg-type]


def test_totals_over_all_partitions() -> None:
    assert summary(result(entry(0), entry(1))).splitlines() == [
        "PIPELINE COMPLETE",
        "  Output entries: 10",
        "  [reader]   process_time: mean=0.500s, total=1.000s · items_processed: 10 · audio_duration: 14400.0s",
        "  [builder]  process_time: mean=1.000s, total=2.000s · items_processed: 10 · windows: 72 · gain: 0.500",
        "  [writer]   process_time: mean=0.250s, total=0.500s · items_processed: 10",
    ]


def test_how_fast_files_were_copied() -> None:
    progress = Progress({"copier": 1}, None, shown=False)
    assert progress.mb_per_sec() == {}
    copied = StageMetrics(1.0, 1, 2, 0, 0, {"bytes_copied": 30e6, "bytes_compared": 15e6})
    progress.done(LedgerEntry("p0", "in", 0, 1000, NOTHING, [], [], {}, {"copier": copied}))
    rates = progress.mb_per_sec()
    assert rates["read"] > rates["written"] > 0 and abs(rates["read"] / rates["written"] - 1.5) < 0.1

    lines = summary(result(entry(0), mb_per_sec={"read": 45.06, "written": 30.0})).splitlines()
    assert lines[-1] == "  This run: 45.1 MB/s read, 30.0 MB/s written"


def test_a_result_is_shown_in_a_line_however_many_partitions_it_has() -> None:
    many = result(*map(entry, range(1000)), failures={"p7": "no room"})
    assert repr(many) == "<RunResult of alm: 1000 partitions, 5000 records, 1 failures in out.jsonl>"


def test_quarantined_records_are_counted_by_reason_and_do_not_change_the_exit_status() -> None:
    run = result(
        entry(0, quarantined={"invalid_json": 1}), entry(1, quarantined={"missing_field": 2, "invalid_json": 2})
    )
    assert summary(run).splitlines()[-1] == (
        "  Quarantined records: 5 (invalid_json 3, missing_field 2), see quarantine/"
    )
    assert run.exit_status == 0


def test_a_run_in_which_every_record_was_quarantined_fails() -> None:
    assert result(entry(0, records=0, quarantined={"invalid_json": 3})).exit_status == 1
    assert result(entry(0, records=0)).exit_status == 0, "nothing in, nothing out is no failure"


def test_failures_are_told_and_make_the_run_incomplete() -> None:
    run = result(entry(0), failures={"p1": "OSError: no route"}, num_done_before=1)
    lines = summary(run).splitlines()
    assert lines[0] == "PIPELINE INCOMPLETE"
    assert "  Partitions: 1 done, 1 of them by an earlier run" in lines
    assert "  Failed: p1: OSError: no route" in lines
    assert run.exit_status == 1
    assert run.to_json()["partitions"] == {"done": 1, "done_before": 1, "failed": 1, "kept_of_vanished_sources": 0}


def test_progress_tells_rates_and_time_left() -> None:
    progress = Progress({"reader": 1, "builder": 2, "writer": 1}, 4000, shown=False)
    progress._started -= 2.0  # two seconds ago
    progress.done(entry(0))
    line = progress._line()
    assert "25 % · 1 partitions · 2 items/s · 1.00 audio h/s · 0:06 left" in line
    assert "reader 25%, builder 25%, writer 12%" in line


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.4, 61, 3600, 90061)] == ["0:00", "0:59", "1:01", "1:00:00", "25:01:01"]
