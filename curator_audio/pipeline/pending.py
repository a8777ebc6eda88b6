"""Which partitions of a source are still to be done."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from loguru import logger

from curator_audio.errors import ConfigurationError
from curator_audio.ledger import Ledger, LedgerEntry
from curator_audio.pipeline.pieces import Pieces
from curator_audio.stages.source import SourceStage
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.places import place_of
from curator_audio.storage.storage import join
from curator_audio.tasks import Input, Inputs, Partition

CHECKS_AT_ONCE = 16
INPUTS_AT_ONCE = 20_000


@dataclass(frozen=True)
class _Found:
    """What was found of a partition.

    Args:
        is_same: whether an earlier run has done it from the same inputs.
        is_done: whether its outputs are there, too.
        num_gone: how many of its inputs are gone.
        missing: how many of them are looked for in vain, by what stands for that.
    """

    is_same: bool = False
    is_done: bool = False
    num_gone: int = 0
    missing: Counter[str] = field(default_factory=Counter)

    @property
    def has_all(self) -> bool:
        """Whether all is there that an earlier run has done it from."""
        return self.is_same and not self.num_gone and not self.missing


NEW = _Found()


@dataclass
class Pending:
    """The partitions of a source as a run meets them.

    A partition is done if there is an entry with the same inputs, and its outputs are there. The entry may have another
    name, where the source was moved: the partition has that one, too.

    Args:
        source: what lists them.
        ledger: what was done before.
        writer: what must not write over a source, unless it is made to.

    Attributes:
        names: of all partitions met so far.
        num_done_before: how many of them an earlier run has done.
        num_bytes_done_before: the size of those.
        num_gone: inputs of theirs that are no longer there.
        num_dropped: the same of partitions that are done again, without them.
        superseded: partitions of which something is in another one now, as a limit had cut them short, or their file
            was written anew.
    """

    source: SourceStage[Any]
    ledger: Ledger
    writer: WriterStage[Any]
    names: list[str] = field(default_factory=list)
    num_done_before: int = 0
    num_bytes_done_before: int = 0
    num_gone: int = 0
    num_dropped: int = 0
    superseded: set[str] = field(default_factory=set)
    _num_missing: Counter[str] = field(default_factory=Counter)
    _is_output: dict[str, bool] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Partition]:
        """The partitions to be done, in order; fills in ``names`` (all of them) on the way."""
        self._check_not_within(self.source.folders_read())
        met: set[str] = set()
        with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
            for partition, found in self._checked(pool):
                if partition.name in met:
                    raise ConfigurationError(
                        f"two partitions are named {partition.name} (one of {partition.source_path}); rename the file"
                    )
                met.add(partition.name)
                self.names.append(partition.name)
                if found.is_done or self._stays(partition.name):
                    self.num_gone += found.num_gone
                else:
                    self.num_dropped += found.num_gone
                self._num_missing += found.missing
                if found.is_done:
                    self.num_done_before += 1
                    self.num_bytes_done_before += partition.end - partition.start
                else:
                    yield partition
        for what, number in sorted(self._num_missing.items()):
            meaning = self.source.missing[what]
            logger.warning(f"{number} recording(s) that an earlier run read {meaning}; their output is kept")

    def _checked(self, pool: ThreadPoolExecutor, as_before: bool = False) -> Iterator[tuple[Partition, _Found]]:
        """The partitions, and what was found of each.

        Args:
            pool: that reads where it must.
            as_before: whether they are to have what earlier runs have read of them, and nothing more.
        """
        window: list[tuple[Partition, _Found | Future[_Found]]] = []
        # What was only begun is not held to where this run may choose otherwise.
        started = {} if self.source.free_parameters else self.ledger.started
        all_known = {name: entry for name, entry in {**started, **self.ledger.entries}.items() if entry.inputs.num}
        known = {name: entry.inputs for name, entry in all_known.items() if as_before or not entry.is_cut}
        cut = {place: name for name, entry in all_known.items() if entry.is_cut for place in entry.inputs.unpacked()}
        names = {} if self.source.batch_of else {place: name for name in known for place in known[name].unpacked()}
        pieces = Pieces({} if self.source.batch_of else known, self.source.piece_of)
        is_complete = type(self.source).completed is SourceStage.completed
        num_inputs = 0
        for partition in self.source.partitions(known):
            if partition.source_path not in self._is_output:
                self._is_output[partition.source_path] = self._is_own_output(partition)
            if self._is_output[partition.source_path]:
                continue
            begun = {} if self.source.batch_of else {place: pieces.met(place) for place in partition.inputs}
            partition.name = next(filter(None, (names.get(*item) for item in begun.items())), partition.name)
            entry = self.ledger.entries.get(partition.name)
            if as_before and entry is not None:
                partition = self.source.as_read_before(partition, entry.inputs.unpacked())
            num_inputs += len(partition.inputs)
            self.superseded |= {cut[place] for place in partition.inputs if place in cut} - {partition.name}
            if entry is None:
                window.append((partition, NEW))
            else:
                found = self._compared(entry, partition) if is_complete else None
                if found is not None and found.is_done:
                    window.append((replace(partition, inputs={}, data=None), found))
                else:  # something was written again: does it still hold the same?
                    window.append((partition, pool.submit(self._looked_into, entry, partition)))
            if len(window) >= 2 * CHECKS_AT_ONCE or partition.data is not None or num_inputs > INPUTS_AT_ONCE:
                yield from ((p, found.result() if isinstance(found, Future) else found) for p, found in window)
                window, num_inputs = [], 0
        yield from ((p, found.result() if isinstance(found, Future) else found) for p, found in window)
        self.superseded |= pieces.overlapped()

    def check_moved(self) -> None:
        """Check that a source that lies elsewhere than the last run's has all that is done, whatever is selected now.

        Raises:
            ConfigurationError: it is another, of which what is done would be done again, or be added to.
        """
        before, now = self.ledger.selection.get(self.source.name, {}), self.source
        places = [(name, before[name], getattr(now, name)) for name in now.locating if name in before]
        moved = [
            f"{now.name}.{name}: {json.dumps(old, ensure_ascii=False)} → {json.dumps(new, ensure_ascii=False)}"
            for name, old, new in places
            if (old or "").rstrip("/") != (new or "").rstrip("/")
        ]
        if not moved or not self.ledger.entries:
            return
        whole = Pending(now.whole(), self.ledger, self.writer)
        with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
            checked = whole._checked(pool, as_before=True)
            same = {partition.name for partition, found in checked if found.has_all}
        done = self.ledger.entries
        if others := sorted(done.keys() - same):
            raise ConfigurationError(
                f"{self.ledger.paths.output_dir} holds the output of another configuration: {'; '.join(moved)}; it was "
                f"not only moved: {len(others)} of the {len(done)} partitions done are others or not all there, such "
                f"as {others[0]}; put back what is missing, choose another output_dir, or overwrite=true to replace it"
            )

    def _is_own_output(self, partition: Partition) -> bool:
        """Whether a source is what an earlier run wrote here; what nobody wrote here must not be written over."""
        source_path, output_path = partition.source_path, self.writer.output_path.rstrip("/")
        source, output = place_of(source_path), place_of(output_path)
        if source != output and not source.startswith(output + "/"):
            return False
        if self.source.batch_of and self.writer.may_replace_sources and source == output:
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

    def check_not_read(self, files: Iterable[str]) -> None:
        """Check that none of the files, which are about to be deleted, is read.

        Raises:
            ConfigurationError: one is; a pipeline whose input another has written was given the other's ``output_dir``.
        """
        output = place_of(self.writer.output_path.rstrip("/"))
        folders = {place_of(path) for path in self.source.folders_read()}
        sources = {place_of(path) for path in self.source.source_paths()}
        if self.source.batch_of:  # which lists what is below
            folders |= sources
        elif not folders:  # an output among them is passed over, not read
            sources = {path for path in sources if path != output and not path.startswith(output + "/")}
        places: dict[str, str] = {}
        for file in files:
            folder, _, name = file.rpartition("/")
            if folder not in places:
                places[folder] = place_of(folder)
            place = join(places[folder], name)
            if place in sources or any(place.startswith(path + "/") for path in folders):
                raise ConfigurationError(
                    f"overwrite=true would delete {file}, which is read; it was made with this output_dir "
                    f"({self.ledger.paths.output_dir}): choose another one"
                )

    @cached_property
    def _written(self) -> set[str]:
        return self.ledger.written()

    def _stays(self, name: str) -> bool:
        entry = self.ledger.entries.get(name)
        return entry is not None and any(part.stays for part in entry.parts)

    def _looked_into(self, entry: LedgerEntry, partition: Partition) -> _Found:
        return self._compared(entry, self.source.completed(partition), may_read=True)

    def _compared(self, entry: LedgerEntry, partition: Partition, may_read: bool = False) -> _Found:
        """Compare what a partition was made from with what it would be made from now.

        Args:
            entry: the first.
            partition: the second, completed.
            may_read: whether contents may be read where fingerprints differ.
        """
        is_there = self.ledger.is_there(entry, may_read)
        old = entry.format_1
        noted = dict(self.source.of_format_1(partition, old)) if old else entry.inputs.unpacked()
        now = {place: Input(fingerprint) for place, fingerprint in partition.inputs.items()}
        gone = noted.keys() - now.keys()
        missing: Counter[str] = Counter()
        is_same = now.keys() <= noted.keys() and (not gone or self.source.keeps(entry.source, has_output=True))
        for place in now.keys() & noted.keys() if is_same else ():
            before, fingerprint = noted[place], now[place].fingerprint
            if fingerprint in self.source.missing and before.fingerprint not in self.source.missing:
                missing[fingerprint] += 1
                now[place] = before
            elif fingerprint == before.fingerprint:
                now[place] = before
            elif may_read and before.content and self.source.content_of(partition, place) == before.content:
                now[place] = Input(fingerprint, before.content)
            else:
                is_same = False
                break
        is_done = is_there and is_same
        if is_done:
            has_changed = entry.format_1 or any(now[place] != noted[place] for place in now)
            kept = {place: noted[place] for place in gone}
            inputs = Inputs.of(now | kept) if has_changed else entry.inputs
            self.ledger.refreshed(entry, partition, self.source.place_of(partition.source_path), inputs)
        return _Found(is_same, is_done, len(gone) if self.source.batch_of else 0, missing if is_done else Counter())
