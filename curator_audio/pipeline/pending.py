"""Which partitions of a source are still to be done."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.stages.source import SourceStage
from curator_audio.storage.ledger import Ledger, LedgerEntry
from curator_audio.tasks import Partition

CHECKS_AT_ONCE = 16


@dataclass
class Pending:
    """The partitions of a source as a run meets them.

    Args:
        source: what lists them.
        ledger: what was done before.
        output_path: the writer's, which must not be among the sources.
    """

    source: SourceStage[Any]
    ledger: Ledger
    output_path: str
    names: list[str] = field(default_factory=list)
    num_done_before: int = 0
    num_bytes_done_before: int = 0

    def __iter__(self) -> Iterator[Partition]:
        """The partitions to be done, in order; fills in ``names`` (all of them) on the way."""
        met: set[str] = set()
        with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
            for partition, is_done in self._checked(pool):
                if partition.name in met:
                    raise ConfigurationError(
                        f"two partitions are named {partition.name} (one of {partition.source_path}); rename the file"
                    )
                met.add(partition.name)
                self.names.append(partition.name)
                if is_done:
                    self.num_done_before += 1
                    self.num_bytes_done_before += partition.end - partition.start
                else:
                    yield partition

    def _checked(self, pool: ThreadPoolExecutor) -> Iterator[tuple[Partition, bool]]:
        window: list[tuple[Partition, Any]] = []
        for partition in self.source.partitions():
            if self._is_own_output(partition.source_path):
                continue
            entry = self.ledger.entries.get(partition.name)
            if entry is None or not self.ledger.is_there(entry):
                window.append((partition, None))
            elif _same(entry, partition):
                window.append((partition, True))
            else:  # the file was written again: does this piece of it still hold the same?
                window.append((partition, pool.submit(self._unchanged, entry, partition)))
            if len(window) >= 2 * CHECKS_AT_ONCE or partition.data is not None:
                yield from ((p, _result(check)) for p, check in window)
                window = []
        yield from ((p, _result(check)) for p, check in window)

    def _is_own_output(self, source_path: str) -> bool:
        """Whether a source is what an earlier run wrote here; what nobody wrote here must not be written over."""
        if source_path != self.output_path and not source_path.startswith(self.output_path.rstrip("/") + "/"):
            return False
        if source_path in self._written:
            return True
        raise ConfigurationError(
            f"{source_path} is read, and would be written too; choose an output that manifest_path does not include"
        )

    @cached_property
    def _written(self) -> set[str]:
        return self.ledger.written()

    def _unchanged(self, entry: LedgerEntry, partition: Partition) -> bool:
        if self.source.content_sha256(partition) != entry.content_sha256:
            return False
        self.ledger.refreshed(entry, partition)
        return True


def _same(entry: LedgerEntry, partition: Partition) -> bool:
    found = (partition.source_path, partition.version, partition.start, partition.end)
    return (entry.source_path, entry.version, entry.start, entry.end) == found


def _result(check: Any) -> bool:
    return bool(check.result()) if hasattr(check, "result") else bool(check)
