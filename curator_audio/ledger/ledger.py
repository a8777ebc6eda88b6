"""The ledger of a run's output folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

from loguru import logger

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.ledger import format_1
from curator_audio.ledger.configuration import differences, fingerprint_of
from curator_audio.ledger.damaged import remains_of
from curator_audio.ledger.entry import LedgerEntry, PartSource, StepEntry, as_json, relative_to
from curator_audio.ledger.files import MadeFiles
from curator_audio.ledger.gathered import GatheredInputs, write_gathered
from curator_audio.ledger.paths import LedgerPaths
from curator_audio.storage.atomic_file import is_temporary
from curator_audio.storage.places import Places, place_of
from curator_audio.storage.storage import FileInfo, Storage, is_local, join
from curator_audio.tasks import Inputs, Part, Partition

FORMATS = (1, 2)
SHOWN_DIFFERENCES = 5
READ_AT_ONCE = 64
_PARTITION = re.compile(rb'^\{"partition":"([^"]*)"', re.MULTILINE)
_PART = re.compile(r"(\d{6}(-.*)?|.*-\d{13}|.*-\d+-of-\d+)\.\w+")
"""Parts of partitions with numbers; others are named after what is in them, and made again in their places."""
ANNOUNCED = ".announced"

Entry = TypeVar("Entry")


class Ledger:
    """The ledger of one output folder, as the driver of a run sees it.

    Args:
        storage: where the output folder is.
        output_dir: the output folder.
        places: where else the run puts what it makes; what entries name elsewhere is left alone.
        root: what the places of inputs are below; empty for nothing.
    """

    def __init__(self, storage: Storage, output_dir: str, places: Iterable[str] = (), root: str = "") -> None:
        self.storage = storage
        self.root = root
        self.paths = LedgerPaths(output_dir)
        self.fingerprint = ""
        self.selection: Any = {}
        self._configuration: Any = None
        self._is_claimed = False
        self._is_format_1 = False
        self.entries: dict[str, LedgerEntry] = {}
        self.started: dict[str, LedgerEntry] = {}
        self.steps: dict[str, StepEntry] = {}
        self._places = Places(output_dir, places)
        self._shards = ""
        self._announced: dict[str, StepEntry] = {}
        self._made_files = MadeFiles(storage)
        self._fingerprint_before = ""
        self._refreshed_steps: set[str] = set()
        self._stale: list[str] = []
        self._outside: list[str] = []
        self._others: list[LedgerEntry] = []
        self._others_started: list[LedgerEntry] = []
        self._damaged: list[LedgerEntry] = []
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
        noted = GatheredInputs(self.storage, self.paths, set(listed))
        self._others, self._others_started, self._damaged = [], [], []
        self._outside = []
        for data in chain(gathered, self._contents(loose)):
            entry = _read(lambda line: self._entry(line, noted), data, self.paths.folder)
            if entry is None:
                self._take_damaged(data, to_erase)
            if entry is None or not self._is_trusted(entry, to_erase):
                continue
            if not to_erase and self._is_of_another(entry):
                self._others.append(entry)
                continue
            entry.made_with = entry.made_with or self.fingerprint
            self._stale += self._replaced(entry)
            self.entries[entry.partition] = entry
        self._notes = [path for path in listed if path.startswith(self.paths.started + "/") and path.endswith(".jsonl")]
        for line in (line for note in self._contents(self._notes) for line in note.splitlines()):
            entry = _read(lambda line: self._entry(line, noted), line, self.paths.started)
            if entry is None:
                self._take_damaged(line, to_erase)
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
        self._made_files.look_in(self._files_named())
        for name in [name for name in self.steps if name.endswith(ANNOUNCED)]:
            self._choose(name.removesuffix(ANNOUNCED), self.steps.pop(name))
        if not to_erase:  # what must be read is read once, before many ask for it
            self._refreshed_steps = {name for name, step in self.steps.items() if self._is_refreshed(step)}
        self._log_outside(to_erase)

    def _take_damaged(self, line: bytes, to_erase: bool) -> None:
        """Take what a damaged entry names for begun: it goes, as its partition may be cut otherwise now."""
        entry = remains_of(line)
        if not self._is_trusted(entry, to_erase):
            return
        if not to_erase and self._is_of_another(entry):
            self._others.append(entry)
        else:
            self._damaged.append(entry)

    def _contents(self, paths: list[str]) -> Iterator[bytes]:
        """What is in files, of which there may be more than should be in memory."""
        for begin in range(0, len(paths), READ_AT_ONCE):
            yield from self.storage.read_many(paths[begin : begin + READ_AT_ONCE])

    def _entry(self, line: bytes, noted: GatheredInputs) -> LedgerEntry:
        values = json.loads(line)
        if format_1.is_format_1(values):
            entry = format_1.entry_of(values, self.paths.output_dir, self.root)
        else:
            place = values.pop("inputs_at", None)
            entry = LedgerEntry.from_json(values, None if place is None else noted.at(values, *place))
        if not all(_lies_below(part.place) for part in entry.parts if part.place):
            raise ValueError("it has a file of the source that lies elsewhere")
        if self._fingerprint_before and entry.made_with in ("", self._fingerprint_before):
            entry.made_with = self.fingerprint
        return entry

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
            parts[:] = [part for part in parts if part.place or self.absolute(part.path) in self._places]
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
            left += [path for path in self._disposable(entry) if self._made_files.is_that(path, made[path])]
        return [path for path in left if path in self._made_files and path not in listed]

    def _left_by_damaged(self) -> list[str]:
        """The files that damaged entries name, and no other."""
        listed = set(self._files())
        named = dict.fromkeys(path for entry in self._damaged for path in self._disposable(entry))
        return [path for path in named if path in self._made_files and path not in listed]

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
        for entry in (*self._others, *self._others_started, *self._damaged):
            yield from self._made_for(entry)

    # Configuration ------------------------------------------------------------------------------------------

    def check_configuration(self, configuration: Mapping[str, Any], selection: Mapping[str, Any] | None = None) -> None:
        """Check that what the folder holds was made with the same configuration, if it holds anything.

        Args:
            configuration: the parameters of all stages that decide about what is made of a partition.
            selection: those that choose partitions, which may be others than before.

        Raises:
            ConfigurationError: the folder holds output of another configuration; names what differs.
        """
        stored = self.stored_configuration()
        if stored is None:
            self.fingerprint = fingerprint_of(configuration)
            return
        there, self.selection = stored
        if self._is_format_1:
            self._fingerprint_before = fingerprint_of(there)
            there, self.selection = _parted(there, selection or {})
        self.fingerprint = fingerprint_of(there)
        self._is_claimed = not self._is_format_1 and self.selection == json.loads(json.dumps(selection or {}))
        self._configuration = there
        found = list(differences(there, json.loads(json.dumps(configuration))))
        if found:
            shown = "; ".join(found[:SHOWN_DIFFERENCES])
            more = f" (and {len(found) - SHOWN_DIFFERENCES} more)" if len(found) > SHOWN_DIFFERENCES else ""
            raise ConfigurationError(
                f"{self.paths.output_dir} holds the output of another configuration: {shown}{more}; "
                f"choose another output_dir, or overwrite=true to replace it{self._what_is_done()}"
            )

    def _what_is_done(self) -> str:
        """How much another configuration would do again."""
        gathered = self.storage.read(self.paths.gathered) if self.storage.exists(self.paths.gathered) else b""
        names = {name.decode(errors="replace") for name in _PARTITION.findall(gathered)}
        loose = self.storage.list_files(self.paths.entries, max_depth=1)
        names |= {info.path.rpartition("/")[2].removesuffix(".json") for info in loose}
        return f" (its {len(names)} partition(s) would be done again)" if names else ""

    def claim(self, configuration: Mapping[str, Any], selection: Mapping[str, Any] | None = None) -> None:
        """Note what the output of the folder is made with, unless it stands there in words that mean the same."""
        if self._is_claimed:
            return
        if self._configuration is None:
            self.fingerprint = fingerprint_of(configuration)
        data = {"format": FORMATS[-1], "configuration": self._configuration or configuration}
        data["selection"] = selection or {}
        self.storage.write(self.paths.configuration, as_json(data, indent=1))

    def stored_configuration(self) -> tuple[Any, Any] | None:
        """What the folder was made with, and what was chosen of the source."""
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
        if stored.get("format") not in FORMATS:
            raise ConfigurationError(
                f"{self.paths.folder} has format {stored.get('format')!r}, this version reads {FORMATS[-1]}; "
                "use the version that wrote it, another output_dir, or overwrite=true"
            )
        self._is_format_1 = stored["format"] == 1
        return stored["configuration"], stored.get("selection", {})

    @property
    def is_of_format_1(self) -> bool:
        """Tell whether version 0.1 had the folder last."""
        return self._is_format_1

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
        self.storage.write(self.paths.schema, as_json({"format": 1, "schema": schema}, indent=1))

    def erase(self, may_be_woken: bool = False) -> None:
        """Delete what was loaded ``to_erase``, as far as it lies in the run's places, and the ledger; nothing else.

        Args:
            may_be_woken: whether the run that had the folder before may go on some time, and write what it had begun:
                that stays noted, for the next run to sweep.
        """
        outputs = [part.path for step in self._announced.values() if self._has_outputs(step) for part in step.outputs]
        steps = [part.path for step in self.steps.values() for part in step.outputs]
        entries = [*self.entries.values(), *self.started.values(), *self._damaged]
        files = [path for entry in entries for path in self._disposable(entry)]
        files += [*self._stale, *map(self.absolute, [*steps, *outputs])]
        self.storage.delete([path for path in files if path in self._places])
        keep = {self.paths.lock}
        self.storage.delete([info.path for info in self.storage.list_files(self.paths.folder) if info.path not in keep])
        others = list(self.started.values()) if may_be_woken else []
        self.entries, self.started, self.steps, self._announced = {}, {}, {}, {}
        self._made_files, self._damaged = MadeFiles(self.storage), []
        self._stale, self._notes, self._is_claimed, self._configuration = [], [], False, None
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
        made = (part for part in entry.parts if not part.place)  # of those the inputs tell
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
        made = [part for part in entry.parts if not part.place]
        return bool(made) and not any(
            self.absolute(part.path) in self._made_files or self.part_source(part) for part in made
        )

    def written(self) -> set[str]:
        """All files that runs have written here, parts that were joined since included."""
        return set(self._files())

    def disposable(self) -> Iterator[str]:
        """The output that goes with the ledger: parts, but no copies, and what steps made; some of it may be left."""
        yield from self._outside
        for entry in (*self.entries.values(), *self._damaged):
            parts = (part for part in entry.parts if not (part.place or part.stays))
            yield from (self.absolute(part.path) for part in parts)
        for step in self.steps.values():
            yield from (self.absolute(part.path) for part in step.outputs)

    def refreshed(self, entry: LedgerEntry, partition: Partition, source: str, inputs: Inputs) -> None:
        """Note where a partition, and in which version what it was made from, is now, its content being the same."""
        entry.source, entry.start, entry.end, entry.inputs = source, partition.start, partition.end, inputs
        entry.format_1 = {}

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
        return [self.absolute(part.path) for part in parts if not part.place]

    def _disposable(self, entry: LedgerEntry) -> list[str]:
        """The files made for an entry that go with it; copies stay."""
        copies = {self.absolute(part.path) for part in entry.parts if part.stays}
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
        self._tell_strangers()
        write_gathered(self.storage, self.paths, self.entries.values())
        loose = [info.path for info in self.storage.list_files(self.paths.entries)]
        self.storage.delete(loose)
        self.storage.delete_empty_folder(self.paths.entries)

    def _tell_strangers(self) -> None:
        """Warn of files named like parts that no entry has: those of entries that are lost."""
        if not self._shards:
            return
        begun = (path for entry in (*self.started.values(), *self._may_appear) for path in self._made_for(entry))
        known = {*self._files(), *begun}
        files = [info.path for info in self.storage.list_files(self._shards, max_depth=1) if info.path not in known]
        strange = sorted(path for path in files if _PART.fullmatch(path.rpartition("/")[2]))
        if strange:
            shown = ", ".join(strange[:3]) + (" …" if len(strange) > 3 else "")
            logger.warning(
                f"{len(strange)} file(s) in {self._shards} are named like parts, and the ledger does not have them: "
                f"{shown}; unless a run with another output_dir has made them, they may repeat what others hold: move "
                "them elsewhere"
            )

    def sweep(self, output_path: str, depth: int = 1) -> None:
        """Remove what a killed run left behind: half-written files, and parts that were never entered.

        The same is done with what is left of a run of another configuration that had lost the folder and was not
        killed.

        Args:
            output_path: the writer's.
            depth: how deep below it the writer's files lie.
        """
        is_source = output_path.rstrip("/") == self.root.rstrip("/")
        self._shards = "" if depth > 1 or is_source else output_path
        unfinished = [path for entry in self.started.values() for path in self._made_for(entry)]
        left = self._left_by_others()
        if left:
            logger.warning(f"{len(left)} file(s) of a run that had lost this folder are deleted, such as {left[0]}")
        lost = self._left_by_damaged()
        if lost:
            logger.warning(
                f"{len(lost)} file(s) that damaged entries of {self.paths.folder} had named are deleted, such as "
                f"{lost[0]}; what they were made from is done again, as far as it is still there"
            )
        self.storage.delete([*unfinished, *left, *lost])
        self._delete_stale()
        self._others, self._others_started, self._damaged = [], [], []
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
        self.storage.delete([path for path in paths if self._made_files.forget(path)])
        self.storage.delete_empty_folder(self.paths.parts)

    def check_unchanged(self, parts: list[Part]) -> None:
        """Check that parts that were read are still those the ledger has: they were, then, all the while.

        Raises:
            StorageError: one of them has gone, or another run, which had lost the folder, has written it again.
        """
        sources = {part.path: self.part_source(part) for part in parts}
        paths = {source.path for source in sources.values() if source is not None}
        self._made_files.look_again(paths)
        for part in parts:
            if self.part_source(part) is None:
                raise StorageError(f"{part.path} has gone or was replaced while the run was going on; run again")

    # Files --------------------------------------------------------------------------------------------------

    def _is_intact(self, part: Part, may_read: bool = True) -> bool:
        return self._made_files.is_intact(self.absolute(part.path), part, may_read)

    def _has_outputs(self, step: StepEntry) -> bool:
        return all(
            self._is_intact(part) or self._made_files.is_still_joined(self.absolute(part.path), part, step)
            for part in step.outputs
        )

    def _is_refreshed(self, step: StepEntry) -> bool:
        """Whether a step's outputs are there, in versions that its entry had not."""
        before = [part.version for part in step.outputs]
        return self._has_outputs(step) and before != [part.version for part in step.outputs]

    def _note_there(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self._made_files.note(self.path_of(part), part)

    def path_of(self, part: Part) -> str:
        """Where a part is: below the root of the source, if it is a file of that."""
        return join(self.root, part.place) if part.place else self.absolute(part.path)

    def relative(self, path: str) -> str:
        return relative_to(self.paths.output_dir, path)

    def absolute(self, path: str) -> str:
        is_absolute = "://" in path or path.startswith("/")
        return path if is_absolute else join(self.paths.output_dir, path)


def _lies_below(place: str) -> bool:
    """Whether a path leads nowhere but below its root."""
    return not {"", ".", ".."} & set(place.split("/"))


def _parted(configuration: Any, selection: Mapping[str, Any]) -> tuple[Any, Any]:
    """Part a configuration of format 1, which has parameters of both kinds, as ``selection`` has the second kind."""
    made: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    for stage, values in configuration.items():
        names = selection.get(stage, {})
        made[stage] = {name: value for name, value in values.items() if name not in names}
        chosen[stage] = {name: values[name] for name in names if name in values}
    return made, {stage: values for stage, values in chosen.items() if values}


def _read(from_json: Callable[[bytes], Entry], data: bytes, place: str) -> Entry | None:
    """An entry, or None where it is damaged: what it stood for is then done again."""
    try:
        return from_json(data)
    except (ValueError, KeyError, TypeError, AttributeError):
        logger.warning(f"an entry in {place} is damaged and passed over; what it stood for is done again")
        return None
