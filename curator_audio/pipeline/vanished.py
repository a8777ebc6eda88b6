"""What becomes of output whose source is gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from loguru import logger

from curator_audio.ledger import LedgerEntry
from curator_audio.pipeline.pending import Pending
from curator_audio.stages.source import SourceStage

NAMES_SHOWN = 3


def unmet_of(source: SourceStage[Any], pending: Pending) -> list[LedgerEntry]:
    """Return what was made of partitions that were not met, and stays: the source keeps it, or did not choose it.

    Args:
        source: of the run.
        pending: its partitions, when all of them were met.
    """
    met = {*pending.names, *pending.superseded}
    unmet = [entry for name, entry in pending.ledger.entries.items() if name not in met]
    return [entry for entry in unmet if not source.selects_all or source.keeps(entry.source, bool(entry.parts))]


def vanished(source: SourceStage[Any], pending: Pending) -> tuple[list[LedgerEntry], list[LedgerEntry]]:
    """Delete or keep what was made of partitions that were not met, and say so.

    Args:
        source: of the run.
        pending: its partitions, when all of them were met.

    Returns:
        what is kept of what is gone, and what is outside of the selection.
    """
    ledger, met = pending.ledger, set(pending.names)
    staying = unmet_of(source, pending)
    lost = [entry for entry in staying if ledger.is_gone(entry)]  # and cannot be made again
    names = {entry.partition for entry in staying} - {entry.partition for entry in lost}
    ledger.forget(entry for name, entry in list(ledger.entries.items()) if name not in met and name not in names)
    if lost:
        why = "source and output are gone" if source.selects_all else "their output is gone, and they are not selected"
        shown = _shown(entry.partition for entry in lost)
        logger.warning(f"{len(lost)} partition(s) of an earlier run are forgotten, as {why}: {shown}")
    kept = [entry for entry in staying if entry.partition in names]
    if not source.selects_all:
        return [], kept
    if source.batch_of:
        _tell_batches(pending, sum(entry.inputs.num for entry in kept))
    else:
        listed = {source.place_of(path) for path in source.source_paths()}
        if gone := {entry.source for entry in kept} - listed:
            logger.warning(f"{len(gone)} source(s) of an earlier run are gone: {_shown(gone)}; their output is kept")
        if num_recordings := sum(entry.source in listed for entry in kept):
            logger.warning(
                f"{num_recordings} recording(s) of an earlier run are not in the manifest; their output is kept"
            )
    return kept, []


def _tell_batches(pending: Pending, num_kept: int) -> None:
    """Say how much of batches is gone, and what becomes of its output."""
    what = f"{pending.source.batch_of}(s) that an earlier run read are gone"
    if num_kept := num_kept + pending.num_gone:
        logger.warning(f"{num_kept} {what}; their output is kept")
    if pending.num_dropped:
        others = "others that they were put together with have changed, and are done again without them"
        logger.warning(f"{pending.num_dropped} {what}, and so is their output: {others}")


def _shown(names: Iterable[str]) -> str:
    """The first of some names, in order."""
    ordered = sorted(names)
    return ", ".join(ordered[:NAMES_SHOWN]) + (" …" if len(ordered) > NAMES_SHOWN else "")
