"""The base of the readers of many files below a folder or prefix."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.stages.base import Out, WorkerInfo
from curator_audio.stages.source import SourceStage, stem_of, without_bookkeeping
from curator_audio.storage.ledger import LedgerEntry, relative_to
from curator_audio.storage.links import is_link_to_folder
from curator_audio.storage.storage import FileInfo, Storage, absolute
from curator_audio.tasks import Partition

MAX_FILES = 5000  # of a partition, however small they are


@dataclass
class TreeReaderStage(SourceStage[Out]):
    """Reads the files below a folder or prefix in batches; a format is its ``suffixes`` and its ``process``.

    Files of one group stay together, and so do those of a partition of an earlier run: files that are new make new
    partitions, whatever their names; files that changed are read again with those of their partition. Partitions are
    numbered, so that their parts sort as the files do, those of later runs behind.

    Args:
        input_path: the folder or prefix, or a single file; a local path or any fsspec URL.
        partition_size_mb: files are put together up to this size in MB (2**20 bytes); 0 leaves each group by itself.

    Raises:
        ConfigurationError: a size that is not positive, or no path.
    """

    input_path: str
    partition_size_mb: float = 64.0

    suffixes: ClassVar[tuple[str, ...]]
    if_none_is_read: ClassVar[str] = "check the path"
    """What to do where no file has one of ``suffixes``."""
    num_of_runs = 0
    """How many files there are of ledgers, quarantines and metrics of runs, which are not read."""
    _is_single_file: bool | None = field(default=None, init=False, repr=False, compare=False)
    _listed: list[FileInfo] | None = field(default=None, init=False, repr=False, compare=False)
    _tree: Storage | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.input_path, str) or not self.input_path:
            raise ConfigurationError(f"input_path is {self.input_path!r}; give a folder or prefix")
        size = self.partition_size_mb
        if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 <= size < math.inf:
            raise ConfigurationError(f"partition_size_mb is {size!r}; give a number of MB, 0 for no grouping")
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
    def reads_whole_folder(self) -> bool:  # type: ignore[override]
        return not self.is_single_file

    @property
    def tree(self) -> Storage:
        """The files below ``input_path``: a link that leads elsewhere is a ``RecordError``."""
        if self._tree is None:
            self._tree = self.storage if self.is_single_file else self.storage.within(self._root)
        return self._tree

    @property
    def _root(self) -> str:
        """The folder that all files lie below."""
        return self.input_path.rpartition("/")[0] if self.is_single_file else self.input_path

    def group_of(self, key: str) -> str:
        """What a file belongs to; files of a group that follow one another are in one partition."""
        return key

    def order_of(self, key: str) -> Any:
        """What files are sorted by; those of a group must come together."""
        return key

    def is_selected(self, key: str) -> bool:
        """Whether a file is read, going by its path below ``input_path`` alone."""
        return key.endswith(self.suffixes)

    @abstractmethod
    def process(self, task: Partition) -> Iterator[Out]:
        """Read the files ``task.keys`` below ``task.source_path``, by way of ``tree``."""

    def partitions(self, done: Mapping[str, LedgerEntry] | None = None) -> Iterator[Partition]:
        root = self._root
        files = {relative_to(root, file.path): file for file in self._files()}
        together = {name: entry.keys for name, entry in (done or {}).items() if entry.source_path == root}
        num_before = 0
        for name in sorted(together, key=_number_of):
            num_before = _number_of(name) + 1
            found = {key: file for key in together[name] if (file := files.pop(key, None))}
            if found:
                yield self._partition(name, found)
        new = self._batches({key: files[key] for key in sorted(files, key=self.order_of)})
        for number, batch in enumerate(new, num_before):
            yield self._partition(f"{number:06d}-{stem_of(next(iter(batch)))}".rstrip("-"), batch)

    def content_sha256(self, partition: Partition) -> str:
        return ""  # the marks of its files tell whether it changed

    def source_paths(self) -> set[str]:
        return {self._root}

    def num_bytes(self) -> int | None:
        return sum(file.num_bytes for file in self._files())

    def _files(self) -> list[FileInfo]:
        """The files, listed once a run."""
        if self._listed is None:
            if self.is_single_file:
                self._listed = [self.storage.info(self.input_path)]
                return self._listed
            listed = self.storage.list_files(self.input_path)
            found = without_bookkeeping(listed)
            self.num_of_runs = len(listed) - len(found)
            files = [
                file
                for file in found
                # A link to a folder is not followed, and whoever would read it tells so.
                if self.is_selected(relative_to(self._root, file.path)) or is_link_to_folder(file.path)
            ]
            if not files:
                wanted = " or ".join(f"*{suffix}" for suffix in self.suffixes if suffix)
                looked = f"none of the {len(found)} files there is read" if found else "there are no files"
                raise ConfigurationError(
                    f"nothing to read below {self.input_path}: {looked}{f'; it takes {wanted}' if wanted else ''}; "
                    f"{self.if_none_is_read if found else 'check the path'}"
                )
            self._listed = files
        return self._listed

    def _batches(self, files: Mapping[str, FileInfo]) -> Iterator[dict[str, FileInfo]]:
        limit = int(self.partition_size_mb * 2**20)
        batch: dict[str, FileInfo] = {}
        num_bytes = 0
        for group in self._groups(files):
            group_bytes = sum(file.num_bytes for file in group.values())
            if batch and (num_bytes + group_bytes > limit or len(batch) + len(group) > MAX_FILES):
                yield batch
                batch, num_bytes = {}, 0
            batch |= group
            num_bytes += group_bytes
        if batch:
            yield batch

    def _groups(self, files: Mapping[str, FileInfo]) -> Iterator[dict[str, FileInfo]]:
        group: dict[str, FileInfo] = {}
        name = ""
        for key, file in files.items():
            if group and self.group_of(key) != name:
                yield group
                group = {}
            name = self.group_of(key)
            group[key] = file
        if group:
            yield group

    def _partition(self, name: str, files: Mapping[str, FileInfo]) -> Partition:
        num_bytes = sum(file.num_bytes for file in files.values())
        keys = {key: file.mark for key, file in files.items()}
        return Partition(name, self._root, 0, num_bytes, num_bytes, keys=keys)


def _number_of(name: str) -> int:
    """The number of a partition, with which its name begins."""
    return int(name.partition("-")[0])
