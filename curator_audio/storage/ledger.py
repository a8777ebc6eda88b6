"""What of a run is done: one entry a partition, in the output folder, readable with ``ls`` and ``cat``.

    _ledger/configuration.json   what the output was made with
    _ledger/schema.json          what all files of the output share, such as columns; of the first run
    _ledger/lock.json            held by a run in progress
    _ledger/entries/NAME.json    one a finished partition, written by the worker that finished it
    _ledger/entries.jsonl        the same, gathered when a run ends
    _ledger/after/NAME.json      one a finished step after the map
    _ledger/started/N.jsonl      one line a partition given to workers, until a run ends
    _ledger/parts/               parts that wait to be joined

Paths in it are relative to the output folder where they lie below it, so that the folder may be moved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from loguru import logger

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.storage.atomic_file import is_temporary
from curator_audio.storage.places import Places, place_of
from curator_audio.storage.storage import FileInfo, Storage, is_local, join
from curator_audio.tasks import Part, Partition

FORMAT = 1
SHOWN_DIFFERENCES = 5
ANNOUNCED = ".announced"
BLOCK_BYTES = 8 * 2**20

Entry = TypeVar("Entry")


@dataclass
class StageMetrics:
    """What one stage did: seconds, records in and out, what it logged itself, and what it left out of a recording.

    ``skipped`` has, by recording, how many pieces were left out, by reason; totals have none of it.
    """

    process_time: float = 0.0
    num_tasks: int = 0
    items_in: int = 0
    items_out: int = 0
    num_quarantined: int = 0
    custom: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def items_processed(self) -> int:
        """Records taken in; for a reader, which takes in none, records given out."""
        return self.items_in or self.items_out

    def add(self, other: StageMetrics) -> None:
        self.process_time += other.process_time
        self.num_tasks += other.num_tasks
        self.items_in += other.items_in
        self.items_out += other.items_out
        self.num_quarantined += other.num_quarantined
        for name, value in other.custom.items():
            self.custom[name] = self.custom.get(name, 0) + value


@dataclass
class LedgerEntry:
    """A finished partition: what it was made from, what came of it, and what the stages counted.

    ``keys`` are those of a batch of files: on a later run they stay together. ``made_with`` is the fingerprint of the
    configuration; where it is empty, it was that of the folder.

    A partition that is only started has one too, elsewhere: with the parts that may come of it.
    """

    partition: str
    source_path: str
    start: int
    end: int
    version: str
    content_sha256: str
    parts: list[Part]
    quarantine: list[Part]
    quarantined: dict[str, int]
    metrics: dict[str, StageMetrics]
    keys: dict[str, str] = field(default_factory=dict)
    made_with: str = ""

    @property
    def num_records(self) -> int:
        return sum(part.num_records for part in self.parts)

    @classmethod
    def started(cls, partition: Partition, part_path: str, quarantine_path: str, made_with: str = "") -> LedgerEntry:
        """What is known of a partition before a worker has it."""
        parts, quarantine = ([Part(path, 0, "", 0)] for path in (part_path, quarantine_path))
        keys = dict.fromkeys(partition.keys, "")
        return cls(partition.name, partition.source_path, 0, 0, "", "", parts, quarantine, {}, {}, keys, made_with)

    def to_json(self) -> bytes:
        return _json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> LedgerEntry:
        values = json.loads(data)
        values["parts"] = [_part(part) for part in values["parts"]]
        values["quarantine"] = [_part(part) for part in values["quarantine"]]
        values["metrics"] = {name: StageMetrics(**metrics) for name, metrics in values["metrics"].items()}
        for metrics in values["metrics"].values():
            _check_kinds(metrics, StageMetrics())
        return _check_kinds(cls(**values), NO_ENTRY)


NO_PART = Part("", 0, "", 0)
NO_ENTRY = LedgerEntry("", "", 0, 0, "", "", [], [], {}, {})


@dataclass(frozen=True)
class PartSource:
    """Where the bytes of a part lie: a file of their own, or a range of a joined one."""

    path: str
    start: int
    num_bytes: int


@dataclass
class StepEntry:
    """A finished step after the map: what it took in, what it wrote, and where in that each part went."""

    inputs_sha256: str
    outputs: list[Part]
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return _json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> StepEntry:
        values = json.loads(data)
        ranges = {name: (int(start), int(num_bytes)) for name, (start, num_bytes) in values["ranges"].items()}
        return cls(values["inputs_sha256"], [_part(part) for part in values["outputs"]], ranges)


@dataclass(frozen=True)
class LedgerPaths:
    """Where a run keeps its ledger; all a worker needs to commit a partition."""

    output_dir: str

    @property
    def folder(self) -> str:
        return join(self.output_dir, "_ledger")

    @property
    def configuration(self) -> str:
        return join(self.folder, "configuration.json")

    @property
    def schema(self) -> str:
        return join(self.folder, "schema.json")

    @property
    def lock(self) -> str:
        return join(self.folder, "lock.json")

    @property
    def entries(self) -> str:
        return join(self.folder, "entries")

    @property
    def gathered(self) -> str:
        return join(self.folder, "entries.jsonl")

    @property
    def parts(self) -> str:
        return join(self.folder, "parts")

    @property
    def started(self) -> str:
        return join(self.folder, "started")

    @property
    def quarantine_folder(self) -> str:
        return join(self.output_dir, "quarantine")

    def quarantine(self, partition: str) -> str:
        return join(self.quarantine_folder, f"part-{partition}.jsonl")

    def entry(self, partition: str) -> str:
        return join(self.entries, f"{partition}.json")

    @property
    def steps(self) -> str:
        return join(self.folder, "after")

    def step(self, name: str) -> str:
        return join(self.steps, f"{name}.json")


class Ledger:
    """The ledger of one output folder, as the driver of a run sees it.

    Args:
        storage: where the output folder is.
        output_dir: the output folder.
        places: where else the run puts what it makes; what entries name elsewhere is left alone.
    """

    def __init__(self, storage: Storage, output_dir: str, places: Iterable[str] = ()) -> None:
        self.storage = storage
        self.paths = LedgerPaths(output_dir)
        self.fingerprint = ""
        self._is_claimed = False
        self.entries: dict[str, LedgerEntry] = {}
        self.started: dict[str, LedgerEntry] = {}
        self.steps: dict[str, StepEntry] = {}
        self._places = Places(output_dir, places)
        self._announced: dict[str, StepEntry] = {}
        self._there: dict[str, FileInfo] = {}
        self._wrong: set[tuple[str, str]] = set()
        self._refreshed_steps: set[str] = set()
        self._stale: list[str] = []
        self._outside: list[str] = []
        self._others: list[LedgerEntry] = []
        self._others_started: list[LedgerEntry] = []
        self._may_appear: list[LedgerEntry] = []
        self._notes: list[str] = []

    def load(self, to_erase: bool = False) -> None:
        """Read all entries and look which of the files they name exist.

        Args:
            to_erase: whether all that is listed is to be deleted, whatever it was made with.

        Raises:
            ConfigurationError: a folder of the ledger is a link.
        """
        self._check_links()
        listed = {info.path: info.num_bytes for info in self.storage.list_files(self.paths.folder)}
        loose = [path for path in listed if path.startswith(self.paths.entries + "/") and path.endswith(".json")]
        gathered = self.storage.read(self.paths.gathered).splitlines() if self.paths.gathered in listed else []
        self._others, self._others_started = [], []
        self._outside = []
        for data in [*gathered, *self.storage.read_many(loose)]:
            entry = _read(LedgerEntry.from_json, data, self.paths.folder)
            if entry is None or not self._is_trusted(entry, to_erase):
                continue
            if not to_erase and self._is_of_another(entry):
                self._others.append(entry)
                continue
            entry.made_with = entry.made_with or self.fingerprint
            self._stale += self._replaced(entry)
            self.entries[entry.partition] = entry
        self._notes = [path for path in listed if path.startswith(self.paths.started + "/") and path.endswith(".jsonl")]
        for line in b"".join(self.storage.read_many(self._notes)).splitlines():
            entry = _read(LedgerEntry.from_json, line, self.paths.started)
            if entry is None or not self._is_trusted(entry, to_erase):
                continue
            if not to_erase and self._is_of_another(entry):
                self._others_started.append(entry)
            elif entry.partition not in self.entries:
                self.started[entry.partition] = entry
        for path in listed:
            if path.startswith(self.paths.steps + "/") and path.endswith(".json"):
                step = _read(StepEntry.from_json, self.storage.read(path), path)
                if step is not None:
                    self._check_step(step, to_erase)
                    self.steps[path.rsplit("/", 1)[1].removesuffix(".json")] = step
        folders = sorted({path.rsplit("/", 1)[0] for path in self._files_named()}, key=is_local)
        for files in self.storage.each(self._files_in, folders):
            self._there |= {info.path: info for info in files}
        for name in [name for name in self.steps if name.endswith(ANNOUNCED)]:
            self._choose(name.removesuffix(ANNOUNCED), self.steps.pop(name))
        if not to_erase:  # what must be read is read once, before many ask for it
            self._refreshed_steps = {name for name, step in self.steps.items() if self._is_refreshed(step)}
        self._log_outside(to_erase)

    def _files_in(self, folder: str) -> list[FileInfo]:
        return self.storage.list_files(folder, max_depth=1)

    # What of it is ours --------------------------------------------------------------------------------------

    def _check_links(self) -> None:
        """Check that the folders in which everything may be deleted are where they seem to be."""
        paths, root = self.paths, place_of(self.paths.output_dir)
        for folder in (paths.folder, paths.entries, paths.parts, paths.started, paths.steps, paths.quarantine_folder):
            if is_local(folder) and place_of(folder) != join(root, relative_to(paths.output_dir, folder)):
                raise ConfigurationError(
                    f"{folder} is a link to {place_of(folder)}, and runs delete what they find in it; "
                    "put a folder in its place, or choose another output_dir"
                )

    def _is_trusted(self, entry: LedgerEntry, to_erase: bool) -> bool:
        """Whether an entry counts: one that names files outside of the run's places does not, as it may be anybody's.

        What is to be erased is erased as far as it lies in them.
        """
        made = self._disposable(entry) if to_erase else self._made_for(entry)
        strange = [path for path in made if path not in self._places]
        if self.paths.entry(entry.partition) not in self._places:  # its files would be named so
            strange.append(entry.partition)
        if not strange:
            return True
        self._outside += strange
        for parts in (entry.parts, entry.quarantine):
            parts[:] = [part for part in parts if part.replaces_source or self.absolute(part.path) in self._places]
        return to_erase

    def _check_step(self, step: StepEntry, to_erase: bool) -> None:
        """Take from a step's entry what must not be read; its outputs may be anywhere, and are then not deleted."""
        strange = [path for part in step.outputs if (path := self.absolute(part.path)) not in self._places]
        if strange:
            self._outside += strange if to_erase else []
            step.ranges = {}

    def _log_outside(self, to_erase: bool) -> None:
        paths = sorted(set(self._outside))
        if paths:
            what = "they are left as they are" if to_erase else "what they stand for is done again"
            shown = ", ".join(paths[:3]) + (" …" if len(paths) > 3 else "")
            places = f"neither in {self.paths.output_dir} nor where this run writes"
            logger.warning(f"the ledger names {len(paths)} file(s) that lie {places}: {shown}; {what}")

    def _is_of_another(self, entry: LedgerEntry) -> bool:
        """Whether an entry was made with another configuration, by a run that had lost the folder to this one's."""
        return bool(self.fingerprint and entry.made_with) and entry.made_with != self.fingerprint

    def _left_by_others(self) -> list[str]:
        """The files that such runs have left, as far as they are certainly theirs, and in nobody's place."""
        listed = set(self._files())
        left = [path for entry in self._others_started for path in self._made_for(entry)]
        for entry in self._others:
            made = {self.absolute(part.path): part for part in [*entry.parts, *entry.quarantine]}
            left += [path for path in self._disposable(entry) if self._is_that(path, made[path])]
        return [path for path in left if path in self._there and path not in listed]

    def _is_that(self, path: str, part: Part) -> bool:
        there = self._there.get(path)
        return there is not None and (there.num_bytes, there.version) == (part.num_bytes, part.version)

    def _choose(self, name: str, announced: StepEntry) -> None:
        """A run killed while a step's output appeared left two entries: keep the one that is true."""
        self._announced[name] = announced
        before = self.steps.get(name)
        is_known = before is not None and all(part.version for part in before.outputs)
        if before is not None and self._has_outputs(before):
            if self._has_outputs(announced) and not is_known:
                del self.steps[name]  # sizes alone do not tell them apart
        elif self._has_outputs(announced):
            self.steps[name] = announced

    def _files(self) -> Iterator[str]:
        for entry in self.entries.values():
            yield from self._made_for(entry)
        for step in self.steps.values():
            yield from (self.absolute(part.path) for part in step.outputs)

    def _files_named(self) -> Iterator[str]:
        yield from self._files()
        for entry in (*self._others, *self._others_started):
            yield from self._made_for(entry)

    # Configuration ------------------------------------------------------------------------------------------

    def check_configuration(self, configuration: Mapping[str, Any]) -> None:
        """Check that what the folder holds was made with the same configuration, if it holds anything.

        Raises:
            ConfigurationError: the folder holds output of another configuration; names what differs.
        """
        there = self.stored_configuration()
        self.fingerprint = fingerprint_of(configuration if there is None else there)
        if there is None:
            return
        self._is_claimed = True
        differences = list(_differences(there, json.loads(json.dumps(configuration)), ""))
        if differences:
            shown = "; ".join(differences[:SHOWN_DIFFERENCES])
            more = f" (and {len(differences) - SHOWN_DIFFERENCES} more)" if len(differences) > SHOWN_DIFFERENCES else ""
            raise ConfigurationError(
                f"{self.paths.output_dir} holds the output of another configuration: {shown}{more}; "
                "choose another output_dir, or overwrite=true to replace it"
            )

    def claim(self, configuration: Mapping[str, Any]) -> None:
        """Note what the output of the folder is made with, unless it stands there in words that mean the same."""
        if self._is_claimed:
            return
        self.fingerprint = fingerprint_of(configuration)
        data = {"format": FORMAT, "configuration": configuration}
        self.storage.write(self.paths.configuration, _json(data, indent=1))

    def stored_configuration(self) -> Any:
        if not self.storage.exists(self.paths.configuration):
            return None
        try:
            stored = json.loads(self.storage.read(self.paths.configuration))
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or "configuration" not in stored:
            raise ConfigurationError(
                f"{self.paths.configuration} is damaged, and with it is lost what the folder was made with; "
                "choose another output_dir, or overwrite=true"
            )
        if stored.get("format") != FORMAT:
            raise ConfigurationError(
                f"{self.paths.folder} has format {stored.get('format')!r}, this version reads {FORMAT}; "
                "use the version that wrote it, another output_dir, or overwrite=true"
            )
        return stored["configuration"]

    def schema(self) -> Any:
        """Return what the first run of the folder settled for all its files; None where none is noted.

        Raises:
            ConfigurationError: the note is damaged.
        """
        if not self.storage.exists(self.paths.schema):
            return None
        try:
            stored = json.loads(self.storage.read(self.paths.schema))
        except ValueError:
            stored = None
        if not isinstance(stored, dict) or "schema" not in stored:
            raise ConfigurationError(
                f"{self.paths.schema} is damaged, which has the columns of the output; choose another output_dir, or "
                "overwrite=true"
            )
        return stored["schema"]

    def note_schema(self, schema: Any) -> None:
        """Note what all files of the folder share, for later runs."""
        self.storage.write(self.paths.schema, _json({"format": FORMAT, "schema": schema}, indent=1))

    def erase(self, may_be_woken: bool = False) -> None:
        """Delete what was loaded ``to_erase``, as far as it lies in the run's places, and the ledger; nothing else.

        Args:
            may_be_woken: whether the run that had the folder before may go on some time, and write what it had begun:
                that stays noted, for the next run to sweep.
        """
        outputs = [part.path for step in self._announced.values() if self._has_outputs(step) for part in step.outputs]
        steps = [part.path for step in self.steps.values() for part in step.outputs]
        entries = [*self.entries.values(), *self.started.values()]
        files = [path for entry in entries for path in self._disposable(entry)]
        files += [*self._stale, *map(self.absolute, [*steps, *outputs])]
        self.storage.delete([path for path in files if path in self._places])
        keep = {self.paths.lock}
        self.storage.delete([info.path for info in self.storage.list_files(self.paths.folder) if info.path not in keep])
        others = list(self.started.values()) if may_be_woken else []
        self.entries, self.started, self.steps, self._announced, self._there = {}, {}, {}, {}, {}
        self._stale, self._notes, self._is_claimed = [], [], False
        self._may_appear = others
        if others:
            self._write_note(others)

    # Partitions ---------------------------------------------------------------------------------------------

    def is_there(self, entry: LedgerEntry, may_read: bool = True) -> bool:
        """Whether everything made for the entry still exists, as it was made.

        Where a file was written again since, its hash decides, and the entry takes up the new version.

        Args:
            entry: what is looked for.
            may_read: whether files may be read for that; else one that was written again is not there.
        """
        quarantine = all(self._is_intact(part, may_read) for part in entry.quarantine)
        made = (part for part in entry.parts if not part.replaces_source)  # of those the keys tell
        return quarantine and all(self.part_source(part, may_read) is not None for part in made)

    def part_source(self, part: Part, may_read: bool = True) -> PartSource | None:
        """Where the bytes of a part are now, or None if they are gone."""
        if self._is_intact(part, may_read):
            return PartSource(self.absolute(part.path), 0, part.num_bytes)
        for step in self.steps.values():
            start, num_bytes = step.ranges.get(part.key, (0, -1))
            if num_bytes == part.num_bytes and self._has_outputs(step):
                return PartSource(self.absolute(step.outputs[0].path), start, num_bytes)
        return None

    def is_gone(self, entry: LedgerEntry) -> bool:
        """Whether an entry had output, and there is no file of it any more, not even another of its name."""
        made = [part for part in entry.parts if not part.replaces_source]
        return bool(made) and not any(
            self.absolute(part.path) in self._there or self.part_source(part) for part in made
        )

    def written(self) -> set[str]:
        """All files that runs have written here, parts that were joined since included."""
        return set(self._files())

    def disposable(self) -> Iterator[str]:
        """The output that goes with the ledger: parts, but no copies, and what steps made; some of it may be left."""
        yield from self._outside
        for entry in self.entries.values():
            parts = (part for part in entry.parts if not (part.replaces_source or part.is_copy))
            yield from (self.absolute(part.path) for part in parts)
        for step in self.steps.values():
            yield from (self.absolute(part.path) for part in step.outputs)

    def refreshed(self, entry: LedgerEntry, partition: Partition) -> None:
        """Note a file's new version for a partition whose content is the same as before."""
        entry.version, entry.end = partition.version, partition.end

    def add(self, entry: LedgerEntry) -> None:
        """Take up what a worker has committed; what was made of the partition before and not now goes with ``forget``.

        Until all partitions are done another one may write a file of that path, where a record has moved.
        """
        self._stale += self._replaced(entry)
        self.entries[entry.partition] = entry
        self.started.pop(entry.partition, None)
        self._note_there([*entry.parts, *entry.quarantine])

    def forget(self, entries: Iterable[LedgerEntry]) -> None:
        """Delete entries and parts of partitions that a source no longer has, and parts that no partition has now."""
        for entry in list(entries):
            self._stale += self._disposable(entry)
            self.storage.delete([self.paths.entry(entry.partition)])
            del self.entries[entry.partition]
        self._delete_stale()

    def _delete_stale(self) -> None:
        if self._stale:
            listed = set(self._files())
            self.storage.delete([path for path in self._stale if path not in listed])
            self._stale = []

    def _made_for(self, entry: LedgerEntry) -> list[str]:
        """The files made for an entry, without those that were rewritten in their place and are the user's own."""
        parts = [*entry.parts, *entry.quarantine]
        return [self.absolute(part.path) for part in parts if not part.replaces_source]

    def _disposable(self, entry: LedgerEntry) -> list[str]:
        """The files made for an entry that go with it; copies stay."""
        copies = {self.absolute(part.path) for part in entry.parts if part.is_copy}
        return [path for path in self._made_for(entry) if path not in copies]

    def _replaced(self, entry: LedgerEntry) -> list[str]:
        """The files that an older entry of the same partition had, and this one has not."""
        before = self.entries.get(entry.partition)
        if before is None:
            return []
        files = {self.absolute(part.path) for part in [*entry.parts, *entry.quarantine]}
        return [path for path in self._disposable(before) if path not in files]

    def note_started(self, entries: Iterable[LedgerEntry]) -> None:
        """Note partitions before workers get them.

        A killed run may leave a part that no later partition replaces; and its files are to be put together again as
        they were.
        """
        started = {entry.partition: entry for entry in entries}
        self._write_note(started.values())
        self.started |= started

    def _write_note(self, entries: Iterable[LedgerEntry]) -> None:
        last = max((int(path.rsplit("/", 1)[1].split(".")[0]) for path in self._notes), default=-1)
        note = join(self.paths.started, f"{last + 1:06d}.jsonl")
        self.storage.write(note, b"".join(entry.to_json() + b"\n" for entry in entries))
        self._notes.append(note)

    def gather(self) -> None:
        """Put all entries into one file, so that the next run need not read one a partition."""
        notes = list(self._notes)
        if self.started or self._may_appear:  # and not finished: they failed, or another run may still write them
            self._write_note([*self.started.values(), *self._may_appear])
        self.storage.delete(notes)
        self._notes = self._notes[len(notes) :]
        self.storage.delete_empty_folder(self.paths.started)
        for name in self._refreshed_steps & self.steps.keys():
            self.storage.write(self.paths.step(name), self.steps[name].to_json())
        self._refreshed_steps = set()
        lines = [entry.to_json() for _, entry in sorted(self.entries.items())]
        self.storage.write(self.paths.gathered, b"\n".join([*lines, b""]))
        loose = [info.path for info in self.storage.list_files(self.paths.entries)]
        self.storage.delete(loose)
        self.storage.delete_empty_folder(self.paths.entries)

    def sweep(self, output_path: str, depth: int = 1) -> None:
        """Remove what a killed run left behind: half-written files, and parts that were never entered.

        The same is done with what is left of a run of another configuration that had lost the folder and was not
        killed.

        Args:
            output_path: the writer's.
            depth: how deep below it the writer's files lie.
        """
        unfinished = [path for entry in self.started.values() for path in self._made_for(entry)]
        left = self._left_by_others()
        if left:
            logger.warning(f"{len(left)} file(s) of a run that had lost this folder are deleted, such as {left[0]}")
        self.storage.delete([*unfinished, *left])
        self._delete_stale()
        self._others, self._others_started = [], []
        was_killed, self.started = bool(self._notes), {}
        for name in self._announced:
            if name in self.steps:
                self.storage.write(self.paths.step(name), self.steps[name].to_json())
            else:
                self.storage.delete([self.paths.step(name)])
            self.storage.delete([self.paths.step(name + ANNOUNCED)])
        self._announced = {}
        listed = set(self._files())
        parts = [info.path for info in self.storage.list_files(self.paths.parts)]
        self.storage.delete([path for path in parts if path not in listed])
        if is_local(self.paths.output_dir):
            self._delete_temporaries(self.storage.list_files(self.paths.folder))
            self._delete_temporaries(self.storage.list_files(self.paths.quarantine_folder))
            self._delete_temporaries(self.storage.list_files(self.paths.output_dir, max_depth=1))
        if is_local(output_path):  # beside it may lie what another run is writing
            folder, _, name = output_path.rstrip("/").rpartition("/")
            beside = self.storage.list_files(folder, max_depth=1)
            self._delete_temporaries(info for info in beside if info.path.startswith(f"{folder}/.{name}."))
            self._delete_temporaries(self.storage.list_files(output_path, depth if was_killed else 1))

    def _delete_temporaries(self, files: Iterable[FileInfo]) -> None:
        self.storage.delete([info.path for info in files if is_temporary(info.path)])

    # Steps after the map ------------------------------------------------------------------------------------

    def announce_step(self, name: str, step: StepEntry) -> None:
        """Note what a step's output will be, just before it replaces an older one."""
        self.storage.write(self.paths.step(name + ANNOUNCED), step.to_json())

    def finish_step(self, name: str, step: StepEntry) -> None:
        """Note that a step is done and its output in place."""
        self.storage.write(self.paths.step(name), step.to_json())
        self.storage.delete([self.paths.step(name + ANNOUNCED)])
        self.steps[name] = step
        self._note_there(step.outputs)

    def step_is_done(self, name: str, inputs_sha256: str) -> bool:
        step = self.steps.get(name)
        return step is not None and step.inputs_sha256 == inputs_sha256 and self._has_outputs(step)

    def drop_parts(self, parts: Iterable[Part]) -> None:
        """Delete part files whose bytes a step has taken over."""
        paths = [self.absolute(part.path) for part in parts]
        self.storage.delete([path for path in paths if self._there.pop(path, None) is not None])
        self.storage.delete_empty_folder(self.paths.parts)

    def check_unchanged(self, parts: list[Part]) -> None:
        """Check that parts that were read are still those the ledger has: they were, then, all the while.

        Raises:
            StorageError: one of them has gone, or another run, which had lost the folder, has written it again.
        """
        sources = {part.path: self.part_source(part) for part in parts}
        paths = {source.path for source in sources.values() if source is not None}
        if len(paths) == 1:
            now = [info for path in paths if (info := self.storage.find(path))]
        else:
            folders = sorted({path.rpartition("/")[0] for path in paths}, key=is_local)
            now = [info for files in self.storage.each(self._files_in, folders) for info in files]
        for path in paths:
            del self._there[path]
        self._there |= {info.path: info for info in now if info.path in paths}
        for part in parts:
            if self.part_source(part) is None:
                raise StorageError(f"{part.path} has gone or was replaced while the run was going on; run again")

    # What tells a file ---------------------------------------------------------------------------------------

    def _is_intact(self, part: Part, may_read: bool = True) -> bool:
        """Whether a file is the one that was made; what is noted of one that was only copied or moved is renewed."""
        path = self.absolute(part.path)
        there = self._there.get(path)
        if there is None or there.num_bytes != part.num_bytes:
            return False
        is_other = bool(part.version and there.version) and part.version != there.version
        if is_other and not (may_read and part.sha256 and self._holds(there, [(part.num_bytes, part.sha256)])):
            return False
        part.version = there.version or part.version  # which entries of older versions have not
        return True

    def _has_outputs(self, step: StepEntry) -> bool:
        return all(self._is_intact(part) or self._is_still_joined(step, part) for part in step.outputs)

    def _is_still_joined(self, step: StepEntry, part: Part) -> bool:
        """Whether a file that was put together holds the parts it was made of; it has no hash of its own."""
        there = self._there.get(self.absolute(part.path))
        if not step.ranges or there is None or there.num_bytes != part.num_bytes:
            return False
        ranges = sorted(step.ranges.items(), key=lambda item: item[1])
        if not self._holds(there, [(num_bytes, key.rpartition("#")[2]) for key, (_, num_bytes) in ranges]):
            return False
        part.version = there.version
        return True

    def _is_refreshed(self, step: StepEntry) -> bool:
        """Whether a step's outputs are there, in versions that its entry had not."""
        before = [part.version for part in step.outputs]
        return self._has_outputs(step) and before != [part.version for part in step.outputs]

    def _holds(self, file: FileInfo, pieces: list[tuple[int, str]]) -> bool:
        """Whether a file is made of pieces of these sizes and hashes; read once, if it is not."""
        if (file.path, file.version) in self._wrong:
            return False
        position = 0
        for num_bytes, sha256 in pieces:
            digest, end = hashlib.sha256(), position + num_bytes
            while position < end:
                data = self.storage.read_range(file.path, position, min(end, position + BLOCK_BYTES))
                if not data:
                    break
                digest.update(data)
                position += len(data)
            if position != end or digest.hexdigest() != sha256:
                break
        else:
            if position == file.num_bytes:
                return True
        self._wrong.add((file.path, file.version))
        return False

    def _note_there(self, parts: Iterable[Part]) -> None:
        for part in parts:
            path = self.absolute(part.path)
            self._there[path] = FileInfo(path, part.num_bytes, part.version)

    def relative(self, path: str) -> str:
        return relative_to(self.paths.output_dir, path)

    def absolute(self, path: str) -> str:
        is_absolute = "://" in path or path.startswith("/")
        return path if is_absolute else join(self.paths.output_dir, path)


def _json(values: Any, indent: int | None = None) -> bytes:
    """JSON in UTF-8; what of a file name is no text (a lone surrogate in Python) is escaped."""
    separators = (",", ":") if indent is None else None
    return json.dumps(values, indent=indent, ensure_ascii=False, separators=separators).encode(
        errors="backslashreplace"
    )


def _read(from_json: Callable[[bytes], Entry], data: bytes, place: str) -> Entry | None:
    """An entry, or None where it is damaged: what it stood for is then done again."""
    try:
        return from_json(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        logger.warning(f"an entry in {place} is damaged and passed over; what it stood for is done again")
        return None


def _part(values: dict[str, Any]) -> Part:
    return _check_kinds(Part(**values), NO_PART)


def _check_kinds(made: Entry, like: Entry) -> Entry:
    """Return what was made of JSON, if every value is of the kind of the one in its place; whole numbers are floats."""
    for name, value in vars(like).items():
        kinds = (int, float) if isinstance(value, float) else type(value)
        if not isinstance(getattr(made, name), kinds):
            raise ValueError(f"{name} is of another kind")
    return made


def fingerprint_of(configuration: Any) -> str:
    """Tells a configuration from others; a parameter that is null is the same as one that is not there.

    Example:
        >>> fingerprint_of({"reader": {"version": 1, "limit": None}}) == fingerprint_of({"reader": {"version": 1}})
        True
    """
    return sha256_of(_without_nulls(configuration))[:16]


def _without_nulls(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _without_nulls(value) for key, value in values.items() if value is not None}
    return [_without_nulls(value) for value in values] if isinstance(values, (list, tuple)) else values


def relative_to(folder: str, path: str) -> str:
    """``path`` without ``folder`` in front where it lies below it, else as it is.

    Example:
        >>> relative_to("s3://bucket/out", "s3://bucket/out/a/b.jsonl")
        'a/b.jsonl'
    """
    prefix = folder.rstrip("/") + "/"
    return path.removeprefix(prefix) if path.startswith(prefix) and len(path) > len(prefix) else path


def sha256_of(values: Any) -> str:
    """The hash of anything JSON can hold."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _differences(old: Any, new: Any, place: str) -> Iterator[str]:
    """``stage.parameter: old → new`` for every difference between two configurations."""
    if not place and isinstance(old, dict) and isinstance(new, dict):
        yield from (f"no stage {name}" for name in old if name not in new)
        yield from (f"a new stage {name}" for name in new if name not in old)
        for name in (name for name in old if name in new):
            yield from _differences(old[name], new[name], name)
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(old.get(key), new.get(key), f"{place}.{key}")
    elif _unslashed(old) != _unslashed(new):
        yield f"{place}: {json.dumps(old, ensure_ascii=False)} → {json.dumps(new, ensure_ascii=False)}"


def _unslashed(value: Any) -> Any:
    """A parameter's value as it is compared: a folder is the same with and without a slash at its end."""
    return value.rstrip("/") if isinstance(value, str) else value


def log_vanished(entries: list[LedgerEntry]) -> None:
    """Say which sources an earlier run had that are no longer there; what came of them stays."""
    sources = sorted({entry.source_path for entry in entries})
    if sources:
        shown = ", ".join(sources[:3]) + (" …" if len(sources) > 3 else "")
        logger.warning(f"{len(sources)} source(s) of an earlier run are gone: {shown}; their output is kept")


def log_lost(entries: list[LedgerEntry]) -> None:
    """Say what earlier runs had done of which there is neither the source any more nor the output."""
    names = sorted(entry.partition for entry in entries)
    if names:
        shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        logger.warning(
            f"{len(names)} partition(s) of an earlier run are forgotten, as source and output are gone: {shown}"
        )


def log_vanished_recordings(num_kept: int) -> None:
    """Say how many recordings an earlier run had that the manifest no longer has; what came of them stays."""
    if num_kept:
        logger.warning(f"{num_kept} recording(s) of an earlier run are not in the manifest; their output is kept")


def log_vanished_keys(num_kept: int, num_dropped: int) -> None:
    """Say how many files of batches an earlier run had that are no longer there, and what becomes of their output."""
    if num_kept:
        logger.warning(f"{num_kept} file(s) that an earlier run read are gone; their output is kept")
    if num_dropped:
        others = "others that they were put together with have changed, and are done again without them"
        logger.warning(f"{num_dropped} file(s) that an earlier run read are gone, and so is their output: {others}")
