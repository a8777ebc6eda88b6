"""Compare the output of a stage with the expected one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curator_audio.stages.base import ProcessingStage
from curator_audio.tasks import Record
from curator_audio.testing.differences import difference, shown
from curator_audio.testing.running import StagesResult, run_stages

SHOWN = 5


def assert_stage(
    stage: ProcessingStage[Any, Any],
    records: Sequence[Record] | None,
    expected: Sequence[Record] = (),
    *,
    quarantined: Mapping[str, int] | None = None,
    skipped: Mapping[str, int] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> StagesResult:
    """Run a stage over records, as ``run_stages`` does, and check its whole output.

    A record that is quarantined, or a piece of a recording that is skipped, fails the check unless it is expected. So
    does a field that the stage declares in ``outputs()`` and does not give, or gives as a value of NumPy.

    Args:
        stage: the stage.
        records: what it is given; None for a reader.
        expected: the records that come out, in order; a value may compare itself, as ``pytest.approx(0.5)`` does.
        quarantined: how many records are quarantined, by reason.
        skipped: how many pieces of recordings are left out by ``log_skipped``, by reason.
        metrics: some of the metrics it logs.

    Raises:
        AssertionError: something else came of it; the message tells every difference.
        CuratorError: the stage could not be set up.

    Example:
        >>> from curator_audio.stages.general import PreserveByValueStage
        >>> long_enough = PreserveByValueStage("duration", 1.0, "ge")
        >>> records = [{"duration": 3.5}, {"duration": 0.2}, {"duration": "long"}]
        >>> _ = assert_stage(long_enough, records, [{"duration": 3.5}], quarantined={"not_comparable": 1})
        >>> _ = assert_stage(long_enough, records[:2], [{"duration": 3.4}])
        Traceback (most recent call last):
        AssertionError: 'preserve_by_value' did not do what was expected:
          record 0: 'duration' is 3.5, expected 3.4
    """
    result = run_stages([stage], records)
    lines = _of_records(expected, result.records)
    if counts := difference(dict(quarantined or {}), result.quarantined):
        lines.append(f"quarantined: {counts}")
        lines += [f"  {bad['stage']}: {bad['reason']}: {bad['message']}" for bad in result.quarantine[:SHOWN]]
    if counts := difference(dict(skipped or {}), result.skipped):
        lines.append(f"skipped: {counts}")
    logged = result.metrics.get(stage.name, {})
    if counts := difference(dict(metrics or {}), {name: logged[name] for name in metrics or {} if name in logged}):
        lines.append(f"metrics: {counts}")
    lines += _of_declared(stage, result.records)
    if lines:
        raise AssertionError("\n  ".join([f"'{stage.name}' did not do what was expected:", *lines]))
    return result


def _of_declared(stage: ProcessingStage[Any, Any], records: Sequence[Record]) -> list[str]:
    """Compare the fields with what the stage declares: each is there, with a value that every writer takes."""
    lines = []
    for name in stage.outputs()[1]:
        for index, record in enumerate(records):
            kind = type(record.get(name))
            if name not in record:
                lines.append(f"record {index}: '{name}' is missing, which outputs() declares")
            elif kind.__module__ == "numpy" and not isinstance(record[name], (float, str, bytes)):
                remedy = "give a Python value, such as float(x) or x.tolist()"
                lines.append(f"record {index}: '{name}' is a numpy.{kind.__name__}; {remedy}")
            else:
                continue
            break
    return lines


def _of_records(expected: Sequence[Record], found: Sequence[Record]) -> list[str]:
    pairs = enumerate(zip(expected, found))
    lines = [f"record {index}: {line}" for index, (one, other) in pairs if (line := difference(one, other))]
    more = len(lines) - SHOWN
    lines[SHOWN:] = [f"and {more} other records differ"] if more > 0 else []
    if len(expected) != len(found):
        lines.append(f"there are {len(found)} records, expected {len(expected)}")
        both = min(len(expected), len(found))
        beyond, what = (found, "not expected") if len(found) > both else (expected, "missing")
        lines += [f"record {index} is {what}: {shown(beyond[index])}" for index in range(both, len(beyond))[:SHOWN]]
    return lines
