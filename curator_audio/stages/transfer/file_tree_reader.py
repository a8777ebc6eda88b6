"""Listing a tree of files of any kind."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice
from typing import ClassVar

from loguru import logger

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.ledger import relative_to
from curator_audio.stages.io.tree_reader import TreeReaderStage
from curator_audio.stages.transfer.file_batch import FileBatch
from curator_audio.storage.atomic_file import is_temporary
from curator_audio.storage.file_list import FileList
from curator_audio.storage.storage import FileInfo, is_local, join
from curator_audio.tasks import Inputs, Partition


@dataclass
class FileTreeReaderStage(TreeReaderStage[FileBatch]):
    """Lists the files below a folder or prefix, of any kind, in batches; does not read them.

    Passed over are half-written files, objects that stand for a folder (their names end in ``/``), and what runs keep
    for themselves (``_ledger/``, and ``quarantine/`` and ``metrics.json`` beside it).

    Args:
        input_path: the folder or prefix; a local path or any fsspec URL.
        partition_size_mb: files are put together up to this size in MB (2**20 bytes).
        include: take only files whose path below ``input_path`` matches this pattern, or one of these: ``*`` stands for
            any characters, ``/`` among them, ``?`` for one; None for all.
        limit: take at most so many of the first of them, those of earlier runs included; None for all.

    Raises:
        ConfigurationError: a parameter out of range.

    Example:
        >>> from curator_audio.storage.storage import Storage
        >>> for name in ("news/a.wav", "news/a.txt", "talks/b.wav"):
        ...     Storage().write(f"memory://doc/tree/{name}", b"")
        >>> reader = FileTreeReaderStage("memory://doc/tree", include="*.wav")
        >>> [list(partition.inputs) for partition in reader.partitions()]
        [['news/a.wav', 'talks/b.wav']]
    """

    partition_size_mb: float = 512.0
    include: str | list[str] | None = None

    name = "file_tree_reader"
    suffixes: ClassVar[tuple[str, ...]] = ("",)
    selecting: ClassVar[tuple[str, ...]] = ("input_path", "include", "limit")
    free_parameters: ClassVar[tuple[str, ...]] = ("partition_size_mb",)

    def __post_init__(self) -> None:
        super().__post_init__()
        patterns = [self.include] if isinstance(self.include, str) else self.include
        if patterns is not None and not (
            isinstance(patterns, list) and patterns and all(isinstance(item, str) and item for item in patterns)
        ):
            raise ConfigurationError(f"include is {self.include!r}; give a pattern such as '*.wav', or a list of them")
        self._patterns = patterns

    def is_read(self, place: str) -> bool:
        return not place.endswith("/") and not is_temporary(place)

    def is_selected(self, place: str) -> bool:
        return self._patterns is None or any(fnmatchcase(place, pattern) for pattern in self._patterns)

    def if_none_is_selected(self) -> str:
        return (
            f"include={self.include} matches none of the {len(self._files())} files below {self.input_path}; "
            "a pattern is held against the whole path below it"
        )

    def fingerprint_of(self, file: FileInfo) -> str:
        return file.version  # in full: it tells the size, and the etag

    def note_contents(self, task: Partition) -> None:
        """Note nothing: who compares and copies the files reads them."""

    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        for partition in super().partitions(known):
            yield replace(partition, is_cut=False)  # what is put together makes no difference: the rest comes by itself

    def num_bytes(self) -> int:
        return sum(file.num_bytes for file in islice(self._included(), self.limit))

    def process(self, task: Partition) -> Iterator[FileBatch]:
        yield FileBatch(
            task.source_path,
            [
                FileInfo(join(task.source_path, key), int(version.partition("-")[0]), version)
                for key, version in task.inputs.items()
            ],
        )

    def _files(self) -> FileList:
        if self._listed is None:
            if is_local(self.input_path):
                _check_listable(self.input_path)
            files = super()._files()
            if len(files) == 1 and next(iter(files)).path == self.input_path:
                folder, _, name = self.input_path.rpartition("/")
                raise ConfigurationError(f"{self.input_path} is a file; give input_path={folder} and include={name}")
            self._tell_left_out()
            self._listed = FileList()
            for file in files:
                self._listed.add(self._behind_link(file))
        return self._listed

    def _tell_left_out(self) -> None:
        """Say that what tells of earlier runs is not copied."""
        if self.num_of_runs:
            logger.info(
                f"{self.num_of_runs} file(s) below {self.input_path} are left out: _ledger/, quarantine/ and reports "
                "tell of the run that wrote them, and hold for its folder only"
            )

    def _behind_link(self, file: FileInfo) -> FileInfo:
        """A link with size and version of what it leads to, where it was listed with its own."""
        if is_local(file.path) and os.path.islink(file.path):
            with suppress(AccessError):  # it leads nowhere, or to a folder: whoever opens it will tell
                return self.storage.info(file.path)
        return file

    def _included(self) -> Iterator[FileInfo]:
        return (file for file in self._files() if self.is_selected(relative_to(self.input_path, file.path)))


def _check_listable(folder: str) -> None:
    """Check that no folder below would be left out in silence, because it may not be looked into."""

    def stop(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise AccessError(f"cannot list {error.filename}: access denied; check its owner and permissions")

    for _ in os.walk(folder, onerror=stop):
        pass
