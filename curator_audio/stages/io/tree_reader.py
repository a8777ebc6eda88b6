"""The base of the readers of many files below a folder or prefix."""

from __future__ import annotations

import hashlib
import heapq
import math
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import IO, Any, ClassVar

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.ledger import relative_to
from curator_audio.stages.base import Out, WorkerInfo, as_tasks
from curator_audio.stages.source import SourceStage, check_limit, stem_of, without_bookkeeping
from curator_audio.storage.file_list import FileList
from curator_audio.storage.links import is_link_to_folder
from curator_audio.storage.storage import FileInfo, Storage, absolute, is_local, join
from curator_audio.tasks import Inputs, Partition

BLOCK_BYTES = 2**20
MAX_FILES = 5000  # of a partition, however small they are


@dataclass
class TreeReaderStage(SourceStage[Out]):
    """Reads the files below a folder or prefix in batches; a format is its ``suffixes`` and its ``process``.

    Files of one group stay together, and so do those of a partition of an earlier run. A new file of a group that such
    a partition has joins it, and it is read again; all other new files make new partitions, whatever their names. Files
    that changed are read again with those of their partition. Partitions are numbered, so that their parts sort as the
    files do, those of later runs behind.

    Args:
        input_path: the folder or prefix, or a single file; a local path or any fsspec URL.
        partition_size_mb: files are put together up to this size in MB (2**20 bytes); 0 leaves each group by itself.
        limit: read no more than so many of the first files, those of earlier runs included, and what makes one record
            with the last of them; None for all.

    Raises:
        ConfigurationError: a size that is not positive, or no path.
    """

    input_path: str
    partition_size_mb: float = 64.0
    limit: int | None = field(default=None, kw_only=True)

    selecting: ClassVar[tuple[str, ...]] = ("input_path", "limit")
    locating: ClassVar[tuple[str, ...]] = ("input_path",)
    batch_of: ClassVar[str] = "file"
    suffixes: ClassVar[tuple[str, ...]]
    if_none_is_read: ClassVar[str] = "check the path"
    """What to do where no file has one of ``suffixes``."""
    num_of_runs = 0
    """How many files there are of ledgers, quarantines and metrics of runs, which are not read."""
    _is_single_file: bool | None = field(default=None, init=False, repr=False, compare=False)
    _listed: FileList | None = field(default=None, init=False, repr=False, compare=False)
    _tree: Storage | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.input_path, str) or not self.input_path:
            raise ConfigurationError(f"input_path is {self.input_path!r}; give a folder or prefix")
        size = self.partition_size_mb
        if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 <= size < math.inf:
            raise ConfigurationError(f"partition_size_mb is {size!r}; give a number of MB, 0 for no grouping")
        check_limit(self.limit)
        self.input_path = absolute(self.input_path).rstrip("/")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_listed": None, "_tree": None}  # workers are told which files to read

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._is_single_file, self._listed, self._tree = None, None, None  # of an earlier run

    @property
    def is_single_file(self) -> bool:
        if self._is_single_file is None:  # a folder may be named like a file
            is_named_so = self.input_path.endswith(tuple(filter(None, self.suffixes)))
            self._is_single_file = is_named_so and not self.storage.is_folder(self.input_path)
        return self._is_single_file

    @property
    def tree(self) -> Storage:
        """The files below ``input_path``: a link that leads elsewhere is a ``RecordError``."""
        if self._tree is None:
            self._tree = self.storage if self.is_single_file else self.storage.within(self.root)
        return self._tree

    @property
    def root(self) -> str:
        return self.input_path.rpartition("/")[0] if self.is_single_file else self.input_path

    def group_of(self, place: str) -> str:
        """What a file belongs to; files of a group are in one partition, those of later runs too."""
        return place

    def unit_of(self, place: str) -> str:
        """What a file makes one record with; no limit comes between them."""
        return place

    def order_of(self, place: str) -> Any:
        """What files are sorted by; those of a group must come together, and so must those of a unit."""
        return place

    def is_read(self, place: str) -> bool:
        """Whether a file is one that this reads, going by its path below ``input_path`` alone."""
        return place.endswith(self.suffixes)

    def is_selected(self, place: str) -> bool:
        """Whether a file is among those that this run was told to take."""
        return True

    def if_none_is_selected(self) -> str:
        """What to say where there are files, and this run was told to take none of them."""
        return f"none of the {len(self._files())} files below {self.input_path} is selected; check the path"

    @abstractmethod
    def process(self, task: Partition) -> Iterator[Out]:
        """Read the files ``task.inputs`` below ``task.source_path``, by way of ``tree``."""

    def process_partition(self, tasks: Iterator[Partition]) -> Iterator[Any]:
        for task in tasks:
            yield from as_tasks(self.process(task))
            self.note_contents(task)

    def note_contents(self, task: Partition) -> None:
        """Note the hashes of the files that were read, where that is cheap: they are local, and at hand."""
        if is_local(task.source_path):
            for place, fingerprint in task.inputs.items():
                content = self.content_of(task, place)
                file = self.storage.find(join(task.source_path, place))
                if content and file is not None and self.fingerprint_of(file) == fingerprint:
                    self.note_content(place, content)

    def content_of(self, partition: Partition, place: str) -> str:
        path = join(partition.source_path, place)
        if not is_local(path):
            return ""
        try:
            with self.tree.open(path) as file:
                return sha256_of_file(file)[:16]
        except (AccessError, RecordError):  # whoever reads it will tell
            return ""

    def fingerprint_of(self, file: FileInfo) -> str:
        """What changes when a file is written again."""
        return file.mark

    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        if not any(self.is_selected(place) for place, _ in self._by_place()):
            raise ConfigurationError(self.if_none_is_selected())
        known = known or {}
        num_left = math.inf if self.limit is None else self.limit - self._num_selected(known)
        joining = self._joining(known, num_left)
        num_left -= sum(map(len, joining.values()))
        num_to_come = {name: inputs.num for name, inputs in known.items()}
        found: dict[str, dict[str, FileInfo]] = {}
        new = FileList()
        joined = {place for files in joining.values() for place in files}
        for place, file, names in _met(self._by_place(), known):
            for name in names:  # those of a partition mostly follow one another, so that few are in memory
                num_to_come[name] -= 1
            if file is not None and names:
                found.setdefault(names[0], {})[place] = file
            elif file is not None and self.is_selected(place) and place not in joined:
                new.add(file)
            for name in names:
                if not num_to_come[name] and any(map(self.is_selected, files := found.pop(name, {}))):
                    if name in joining:
                        files = dict(sorted({**files, **joining[name]}.items(), key=self._order))
                    yield self._partition(name, files)
        first = max(map(_number_of, known), default=-1) + 1
        for number, batch in enumerate(self._batches(self._in_order(new)), first):
            if num_left <= 0:
                return
            name = f"{number:06d}-{stem_of(next(iter(batch)))}".rstrip("-")
            files = self._first(batch.items(), num_left)
            yield self._partition(name, files, is_cut=len(files) < len(batch))
            num_left -= len(files)

    def as_read_before(self, partition: Partition, places: Collection[str]) -> Partition:
        return replace(partition, inputs={place: mark for place, mark in partition.inputs.items() if place in places})

    def _joining(self, known: Mapping[str, Inputs], num_left: float) -> dict[str, dict[str, FileInfo]]:
        """Find the new files of groups of which a partition has a file that is still there, by that partition.

        Only what is new is held in memory, and not all that is known.
        """
        if not known or type(self).group_of is TreeReaderStage.group_of:
            return {}
        new = FileList()
        groups: set[str] = set()
        for place, file, names in _met(self._by_place(), known):
            if file is not None and not names and self.is_selected(place):
                new.add(file)
                groups.add(self.group_of(place))
        where: dict[str, str] = {}
        for place, file, names in _met(self._by_place(), known) if groups else ():
            if file is not None and names and (group := self.group_of(place)) in groups:
                where.setdefault(group, names[0])
        files = [item for item in self._placed(new) if self.group_of(item[0]) in where]
        joining: dict[str, dict[str, FileInfo]] = {}
        for place, file in self._first(sorted(files, key=self._order), num_left).items():
            joining.setdefault(where[self.group_of(place)], {})[place] = file
        return joining

    def _first(self, files: Iterable[tuple[str, FileInfo]], number: float) -> dict[str, FileInfo]:
        """The first of some files, and those that make one record with the last of them."""
        first: dict[str, FileInfo] = {}
        for _, unit in groupby(files, key=lambda item: self.unit_of(item[0])):
            if len(first) >= number:
                break
            first |= dict(unit)
        return first

    def _num_selected(self, known: Mapping[str, Inputs]) -> int:
        return sum(self.is_selected(place) for inputs in known.values() for place in inputs.unpacked())

    def source_paths(self) -> set[str]:
        return {self.root}

    def folders_read(self) -> set[str]:
        return set() if self.is_single_file else {self.root}

    def num_bytes(self) -> int | None:
        return self._files().num_bytes

    def _by_place(self) -> Iterator[tuple[str, FileInfo]]:
        """The files in the order of their places."""
        return self._placed(self._files())

    def _placed(self, files: FileList) -> Iterator[tuple[str, FileInfo]]:
        return ((relative_to(self.root, file.path), file) for file in files)

    def _order(self, item: tuple[str, FileInfo]) -> Any:
        return self.order_of(item[0])

    def _in_order(self, files: FileList) -> Iterator[tuple[str, FileInfo]]:
        """New files in the order in which they are put together."""
        if type(self).order_of is TreeReaderStage.order_of:
            return self._placed(files)
        return iter(sorted(self._placed(files), key=self._order))

    def _files(self) -> FileList:
        """The files, listed once a run."""
        if self._listed is None:
            listed = FileList()
            if self.is_single_file:
                listed.add(self.storage.info(self.input_path))
                self._listed = listed
                return listed
            num_listed = num_files = 0

            def below() -> Iterator[FileInfo]:
                nonlocal num_listed
                for file in self.storage.files_below(self.input_path):
                    num_listed += 1
                    yield file

            for file in without_bookkeeping(below()):
                num_files += 1
                # A link to a folder is not followed, and whoever would read it tells so.
                if self.is_read(relative_to(self.root, file.path)) or is_link_to_folder(file.path):
                    listed.add(file)
            self.num_of_runs = num_listed - num_files
            if not listed:
                wanted = " or ".join(f"*{suffix}" for suffix in self.suffixes if suffix)
                looked = f"none of the {num_files} files there is read" if num_files else "there are no files"
                raise ConfigurationError(
                    f"nothing to read below {self.input_path}: {looked}{f'; it takes {wanted}' if wanted else ''}; "
                    f"{self.if_none_is_read if num_files else 'check the path'}"
                )
            self._listed = listed
        return self._listed

    def _batches(self, files: Iterator[tuple[str, FileInfo]]) -> Iterator[dict[str, FileInfo]]:
        limit = int(self.partition_size_mb * 2**20)
        batch: dict[str, FileInfo] = {}
        num_bytes = 0
        for _, group in groupby(files, key=lambda item: self.group_of(item[0])):
            more = dict(group)
            group_bytes = sum(file.num_bytes for file in more.values())
            if batch and (num_bytes + group_bytes > limit or len(batch) + len(more) > MAX_FILES):
                yield batch
                batch, num_bytes = {}, 0
            batch |= more
            num_bytes += group_bytes
        if batch:
            yield batch

    def _partition(self, name: str, files: Mapping[str, FileInfo], is_cut: bool = False) -> Partition:
        num_bytes = sum(file.num_bytes for file in files.values())
        inputs = {place: self.fingerprint_of(file) for place, file in files.items()}
        return Partition(name, self.root, 0, num_bytes, num_bytes, inputs, is_cut=is_cut)


def sha256_of_file(file: IO[bytes]) -> str:
    """Return the hash of what is in an open file."""
    digest = hashlib.sha256()
    while data := file.read(BLOCK_BYTES):
        digest.update(data)
    return digest.hexdigest()


def _met(
    files: Iterator[tuple[str, FileInfo]], known: Mapping[str, Inputs]
) -> Iterator[tuple[str, FileInfo | None, list[str]]]:
    """All places in order: the file that is there, and the partitions that had it, if any."""
    listed = ((place, "", file) for place, file in files)
    noted = ((place, name, None) for place, name in _places_of(known))
    for place, those in groupby(heapq.merge(listed, noted, key=itemgetter(0)), key=itemgetter(0)):
        there = list(those)
        file = next((file for *_, file in there if file is not None), None)
        yield place, file, [name for _, name, _ in there if name]


def _places_of(known: Mapping[str, Inputs]) -> Iterator[tuple[str, str]]:
    """The places of all partitions in order; each is unpacked when its turn comes."""
    waiting = sorted(((inputs.first, name) for name, inputs in known.items() if inputs.num), reverse=True)
    open_ones: list[tuple[str, str, Iterator[str]]] = []
    while waiting or open_ones:
        while waiting and (not open_ones or waiting[-1] <= open_ones[0][:2]):
            first, name = waiting.pop()
            places = iter(known[name].unpacked())
            next(places)
            heapq.heappush(open_ones, (first, name, places))
        place, name, places = open_ones[0]
        yield place, name
        following = next(places, None)
        if following is None:
            heapq.heappop(open_ones)
        else:
            heapq.heapreplace(open_ones, (following, name, places))


def _number_of(name: str) -> int:
    """The number of a partition, with which its name begins."""
    return int(name.partition("-")[0])
