"""What of a run is done: one entry a partition, in the output folder, readable with ``ls`` and ``cat``.

    _ledger/configuration.json   what the output was made with
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

from curator_audio.errors import ConfigurationError
from curator_audio.storage.atomic_file import is_temporary
from curator_audio.storage.storage import FileInfo, Storage, is_local, join
from curator_audio.tasks import Part, Partition

FORMAT = 1
SHOWN_DIFFERENCES = 5
ANNOUNCED = ".announced"

Entry = TypeVar("Entry")


@dataclass
class StageMetrics:
    """What one stage did: seconds, records in and out, and what it logged itself."""

    process_time: float = 0.0
    num_tasks: int = 0
    items_in: int = 0
    items_out: int = 0
    num_quarantined: int = 0
    custom: dict[str, float] = field(default_factory=dict)

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

    ``keys`` are those of a batch of files: on a later run they stay together.

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

    @property
    def num_records(self) -> int:
        return sum(part.num_records for part in self.parts)

    @classmethod
    def started(cls, partition: Partition, part_path: str, quarantine_path: str) -> LedgerEntry:
        """What is known of a partition before a worker has it."""
        parts, quarantine = ([Part(path, 0, "", 0)] for path in (part_path, quarantine_path))
        keys = dict.fromkeys(partition.keys, "")
        return cls(partition.name, partition.source_path, 0, 0, "", "", parts, quarantine, {}, {}, keys)

    def to_json(self) -> bytes:
        return _json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> LedgerEntry:
        values = json.loads(data)
        values["parts"] = [Part(**part) for part in values["parts"]]
        values["quarantine"] = [Part(**part) for part in values["quarantine"]]
        values["metrics"] = {name: StageMetrics(**metrics) for name, metrics in values["metrics"].items()}
        return cls(**values)


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
        ranges = {name: (start, num_bytes) for name, (start, num_bytes) in values["ranges"].items()}
        return cls(values["inputs_sha256"], [Part(**part) for part in values["outputs"]], ranges)


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

    def step(self, name: str) -> str:
        return join(self.folder, "after", f"{name}.json")


class Ledger:
    """The ledger of one output folder, as the driver of a run sees it.

    Args:
        storage: where the output folder is.
        output_dir: the output folder.
    """

    def __init__(self, storage: Storage, output_dir: str) -> None:
        self.storage = storage
        self.paths = LedgerPaths(output_dir)
        self.entries: dict[str, LedgerEntry] = {}
        self.started: dict[str, LedgerEntry] = {}
        self.steps: dict[str, StepEntry] = {}
        self._announced: dict[str, StepEntry] = {}
        self._sizes: dict[str, int] = {}
        self._stale: list[str] = []
        self._notes: list[str] = []

    def load(self) -> None:
        """Read all entries and look which of the files they name exist."""
        listed = {info.path: info.num_bytes for info in self.storage.list_files(self.paths.folder)}
        loose = [path for path in listed if path.startswith(self.paths.entries + "/") and path.endswith(".json")]
        gathered = self.storage.read(self.paths.gathered).splitlines() if self.paths.gathered in listed else []
        for data in [*gathered, *self.storage.read_many(loose)]:
            entry = _read(LedgerEntry.from_json, data, self.paths.folder)
            if entry is not None:
                self._stale += self._replaced(entry)
                self.entries[entry.partition] = entry
        self._notes = [path for path in listed if path.startswith(self.paths.started + "/") and path.endswith(".jsonl")]
        for line in b"".join(self.storage.read_many(self._notes)).splitlines():
            entry = _read(LedgerEntry.from_json, line, self.paths.started)
            if entry is not None and entry.partition not in self.entries:
                self.started[entry.partition] = entry
        for path in listed:
            if path.startswith(join(self.paths.folder, "after") + "/") and path.endswith(".json"):
                step = _read(StepEntry.from_json, self.storage.read(path), path)
                if step is not None:
                    self.steps[path.rsplit("/", 1)[1].removesuffix(".json")] = step
        folders = sorted({path.rsplit("/", 1)[0] for path in self._files()}, key=is_local)
        for files in self.storage.each(lambda folder: self.storage.list_files(folder, max_depth=1), folders):
            self._sizes |= {info.path: info.num_bytes for info in files}
        for name in [name for name in self.steps if name.endswith(ANNOUNCED)]:
            self._choose(name.removesuffix(ANNOUNCED), self.steps.pop(name))

    def _choose(self, name: str, announced: StepEntry) -> None:
        """A run killed while a step's output appeared left two entries: keep the one that is true."""
        self._announced[name] = announced
        before = self.steps.get(name)
        if self._has_outputs(announced) and before is not None and self._has_outputs(before):
            del self.steps[name]  # sizes alone do not tell them apart
        elif self._has_outputs(announced):
            self.steps[name] = announced

    def _has_outputs(self, step: StepEntry) -> bool:
        return all(self._size(part.path) == part.num_bytes for part in step.outputs)

    def _files(self) -> Iterator[str]:
        for entry in self.entries.values():
            yield from self._made_for(entry)
        for step in self.steps.values():
            yield from (self.absolute(part.path) for part in step.outputs)

    # Configuration ------------------------------------------------------------------------------------------

    def check_configuration(self, configuration: Mapping[str, Any]) -> None:
        """Check that what the folder holds was made with the same configuration, if it holds anything.

        Raises:
            ConfigurationError: the folder holds output of another configuration; names what differs.
        """
        there = self.stored_configuration()
        if there is None:
            return
        differences = list(_differences(there, json.loads(json.dumps(configuration)), ""))
        if differences:
            shown = "; ".join(differences[:SHOWN_DIFFERENCES])
            more = f" (and {len(differences) - SHOWN_DIFFERENCES} more)" if len(differences) > SHOWN_DIFFERENCES else ""
            raise ConfigurationError(
                f"{self.paths.output_dir} holds the output of another configuration: {shown}{more}; "
                "choose another output_dir, or overwrite=true to replace it"
            )

    def claim(self, configuration: Mapping[str, Any]) -> None:
        """Note what the output of the folder is made with."""
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

    def erase(self) -> None:
        """Delete what the ledger lists, and the ledger; nothing else."""
        self.load()
        outputs = [part.path for step in self._announced.values() if self._has_outputs(step) for part in step.outputs]
        steps = [part.path for step in self.steps.values() for part in step.outputs]
        entries = [*self.entries.values(), *self.started.values()]
        files = [path for entry in entries for path in self._disposable(entry)]
        self.storage.delete([*files, *self._stale, *map(self.absolute, [*steps, *outputs])])
        keep = {self.paths.lock}
        self.storage.delete([info.path for info in self.storage.list_files(self.paths.folder) if info.path not in keep])
        self.entries, self.started, self.steps, self._announced, self._sizes = {}, {}, {}, {}, {}
        self._stale, self._notes = [], []

    # Partitions ---------------------------------------------------------------------------------------------

    def is_there(self, entry: LedgerEntry) -> bool:
        """Whether everything made for the entry still exists with the sizes noted."""
        quarantine = all(self._size(part.path) == part.num_bytes for part in entry.quarantine)
        made = (part for part in entry.parts if not part.replaces_source)  # of those the keys tell
        return quarantine and all(self.part_source(part) is not None for part in made)

    def part_source(self, part: Part) -> PartSource | None:
        """Where the bytes of a part are now, or None if they are gone."""
        if self._size(part.path) == part.num_bytes:
            return PartSource(self.absolute(part.path), 0, part.num_bytes)
        for step in self.steps.values():
            start, num_bytes = step.ranges.get(part.key, (0, -1))
            if num_bytes == part.num_bytes and self._has_outputs(step):
                return PartSource(self.absolute(step.outputs[0].path), start, num_bytes)
        return None

    def written(self) -> set[str]:
        """All files that runs have written here, parts that were joined since included."""
        return set(self._files())

    def disposable(self) -> Iterator[str]:
        """The output that is deleted with the ledger: parts, but no copies, and what steps made."""
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
        for part in [*entry.parts, *entry.quarantine]:
            self._sizes[self.absolute(part.path)] = part.num_bytes

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
        last = max((int(path.rsplit("/", 1)[1].split(".")[0]) for path in self._notes), default=-1)
        note = join(self.paths.started, f"{last + 1:06d}.jsonl")
        self.storage.write(note, b"".join(entry.to_json() + b"\n" for entry in started.values()))
        self._notes.append(note)
        self.started |= started

    def gather(self) -> None:
        """Put all entries into one file, so that the next run need not read one a partition."""
        notes = list(self._notes)
        if self.started:  # and not finished: they failed
            self.note_started(self.started.values())
        self.storage.delete(notes)
        self._notes = self._notes[len(notes) :]
        self.storage.delete_empty_folder(self.paths.started)
        lines = [entry.to_json() for _, entry in sorted(self.entries.items())]
        self.storage.write(self.paths.gathered, b"\n".join([*lines, b""]))
        loose = [info.path for info in self.storage.list_files(self.paths.entries)]
        self.storage.delete(loose)
        self.storage.delete_empty_folder(self.paths.entries)

    def sweep(self, output_path: str, depth: int = 1) -> None:
        """Remove what a killed run left behind: half-written files, and parts that were never entered.

        Args:
            output_path: the writer's.
            depth: how deep below it the writer's files lie.
        """
        unfinished = [path for entry in self.started.values() for path in self._made_for(entry)]
        self.storage.delete(unfinished)
        self._delete_stale()
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
        for part in step.outputs:
            self._sizes[self.absolute(part.path)] = part.num_bytes

    def step_is_done(self, name: str, inputs_sha256: str) -> bool:
        step = self.steps.get(name)
        return step is not None and step.inputs_sha256 == inputs_sha256 and self._has_outputs(step)

    def drop_parts(self, parts: Iterable[Part]) -> None:
        """Delete part files whose bytes a step has taken over."""
        paths = [self.absolute(part.path) for part in parts]
        self.storage.delete([path for path in paths if self._sizes.pop(path, None) is not None])
        self.storage.delete_empty_folder(self.paths.parts)

    def relative(self, path: str) -> str:
        return relative_to(self.paths.output_dir, path)

    def absolute(self, path: str) -> str:
        is_absolute = "://" in path or path.startswith("/")
        return path if is_absolute else join(self.paths.output_dir, path)

    def _size(self, path: str) -> int | None:
        return self._sizes.get(self.absolute(path))


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
