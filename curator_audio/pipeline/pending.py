"""Which partitions of a source are still to be done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.stages.source import SourceStage
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.ledger import Ledger, LedgerEntry
from curator_audio.storage.places import place_of
from curator_audio.storage.storage import join
from curator_audio.tasks import Partition

CHECKS_AT_ONCE = 16


@dataclass
class Pending:
    """The partitions of a source as a run meets them.

    Args:
        source: what lists them.
        ledger: what was done before.
        writer: what must not write over a source, unless it is made to.

    Attributes:
        names: of all partitions met so far.
        num_done_before: how many of them an earlier run has done.
        num_bytes_done_before: the size of those.
        num_keys_gone: files of theirs that are no longer there.
        num_keys_dropped: the same of partitions that are done again, without them.
    """

    source: SourceStage[Any]
    ledger: Ledger
    writer: WriterStage[Any]
    names: list[str] = field(default_factory=list)
    num_done_before: int = 0
    num_bytes_done_before: int = 0
    num_keys_gone: int = 0
    num_keys_dropped: int = 0
    _is_output: dict[str, bool] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Partition]:
        """The partitions to be done, in order; fills in ``names`` (all of them) on the way."""
        if self.source.reads_whole_folder:
            self._check_not_within(self.source.source_paths())
        met: set[str] = set()
        with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
            for partition, is_done in self._checked(pool):
                if partition.name in met:
                    raise ConfigurationError(
                        f"two partitions are named {partition.name} (one of {partition.source_path}); rename the file"
                    )
                met.add(partition.name)
                self.names.append(partition.name)
                entry = self.ledger.entries.get(partition.name)
                num_gone = len(entry.keys.keys() - partition.keys.keys()) if entry is not None else 0
                if is_done or (entry is not None and any(part.is_copy for part in entry.parts)):
                    self.num_keys_gone += num_gone
                else:
                    self.num_keys_dropped += num_gone
                if is_done:
                    self.num_done_before += 1
                    self.num_bytes_done_before += partition.end - partition.start
                else:
                    yield partition

    def _checked(self, pool: ThreadPoolExecutor) -> Iterator[tuple[Partition, bool]]:
        window: list[tuple[Partition, Any]] = []
        # What was only begun is not held to where this run may choose otherwise.
        started = {} if self.source.free_parameters else self.ledger.started
        for partition in self.source.partitions({**started, **self.ledger.entries}):
            if partition.source_path not in self._is_output:
                self._is_output[partition.source_path] = self._is_own_output(partition)
            if self._is_output[partition.source_path]:
                continue
            entry = self.ledger.entries.get(partition.name)
            if entry is None:
                window.append((partition, None))
            elif _same(entry, partition) and self.ledger.is_there(entry, may_read=False):
                window.append((partition, True))
            else:  # a file was written again: does it, or this piece of it, still hold the same?
                window.append((partition, pool.submit(self._unchanged, entry, partition)))
            if len(window) >= 2 * CHECKS_AT_ONCE or partition.data is not None:
                yield from ((p, _result(check)) for p, check in window)
                window = []
        yield from ((p, _result(check)) for p, check in window)

    def _is_own_output(self, partition: Partition) -> bool:
        """Whether a source is what an earlier run wrote here; what nobody wrote here must not be written over."""
        source_path, output_path = partition.source_path, self.writer.output_path.rstrip("/")
        source, output = place_of(source_path), place_of(output_path)
        if source != output and not source.startswith(output + "/"):
            return False
        if partition.keys and self.writer.may_replace_sources and source == output:
            if source_path != output_path:
                raise ConfigurationError(f"{source_path} and {output_path} are the same place; write both the same way")
            return False
        if source_path in self._written:
            return True
        raise ConfigurationError(
            f"{source_path} is read, and would be written too; choose an output that the input does not include"
        )

    def _check_not_within(self, folders: Iterable[str]) -> None:
        """Check that the output lies in none of the folders; in the place of one it may be, for some writers."""
        output = place_of(self.writer.output_path.rstrip("/"))
        for folder in folders:
            if output.startswith(f"{place_of(folder)}/"):
                raise ConfigurationError(
                    f"{self.writer.output_path} lies in {folder}, which is read; choose another output"
                )

    def check_not_read(self, files: Iterable[str], is_folder: bool) -> None:
        """Check that none of the files, which are about to be deleted, is read.

        Args:
            files: their paths.
            is_folder: whether the source reads what lies in a folder, and not the files it names.

        Raises:
            ConfigurationError: one is; a pipeline whose input another has written was given the other's ``output_dir``.
        """
        output = place_of(self.writer.output_path.rstrip("/"))
        sources = {place_of(path) for path in self.source.source_paths()}
        if not is_folder:  # an output among them is passed over, not read
            sources = {path for path in sources if path != output and not path.startswith(output + "/")}
        places: dict[str, str] = {}
        for file in files:
            folder, _, name = file.rpartition("/")
            if folder not in places:
                places[folder] = place_of(folder)
            place = join(places[folder], name)
            if place in sources or (is_folder and any(place.startswith(path + "/") for path in sources)):
                raise ConfigurationError(
                    f"overwrite=true would delete {file}, which is read; it was made with this output_dir "
                    f"({self.ledger.paths.output_dir}): choose another one"
                )

    @cached_property
    def _written(self) -> set[str]:
        return self.ledger.written()

    def _unchanged(self, entry: LedgerEntry, partition: Partition) -> bool:
        if not self.ledger.is_there(entry):
            return False
        if _same(entry, partition):
            return True
        content_sha256 = self.source.content_sha256(partition)
        if not content_sha256 or content_sha256 != entry.content_sha256:
            return False
        self.ledger.refreshed(entry, partition)
        return True


def _same(entry: LedgerEntry, partition: Partition) -> bool:
    if partition.keys:
        return partition.source_path == entry.source_path and partition.keys.items() <= entry.keys.items()
    if not partition.version:  # nothing tells but the content
        return False
    return (entry.source_path, entry.version) == (partition.source_path, partition.version)


def _result(check: Any) -> bool:
    return bool(check.result()) if hasattr(check, "result") else bool(check)
