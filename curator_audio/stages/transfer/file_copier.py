"""Copying files to another folder or prefix."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ClassVar

from curator_audio.errors import AccessError, ConfigurationError, RecordError, StorageError, StorageFullError
from curator_audio.ledger import LedgerPaths, relative_to
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.pace import Pace
from curator_audio.stages.source import REPORTS
from curator_audio.stages.transfer.checks import check_name
from curator_audio.stages.transfer.copying import Copying
from curator_audio.stages.transfer.file_batch import FileBatch
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.links import check_regular
from curator_audio.storage.names import MAX_KEY_BYTES, MAX_PATH_BYTES, short_key
from curator_audio.storage.storage import FileInfo, Storage, is_local, join
from curator_audio.tasks import Part

SMALL_BYTES = 2**20
SMALL_AT_ONCE = 32  # they are waited for: a store takes its time for each
LARGE_AT_ONCE = 4  # they take memory: some blocks each


@dataclass(frozen=True)
class Copy:
    """A file that is in its new place, whether it was put there just now, and how much was read to know."""

    part: Part
    is_new: bool
    bytes_compared: int = 0


@dataclass
class FileCopierStage(WriterStage[FileBatch]):
    """Copies every file to the same path below ``output_path``, unless one of the same size and hash is there.

    Many small files are copied at the same time, and a few large ones, block by block. What is copied is contents and
    names, not times, permissions or empty folders. A file that is no regular one, or a link to something outside of its
    root, or whose name is no path below a folder, is quarantined. A path that is too long where it is copied to (names
    of 255 bytes on a disk, keys of 1024 in a store) is shortened, the same way each time, and counted in
    ``names_shortened``.

    Args:
        output_path: the folder or prefix.

    Example:
        >>> storage = Storage()
        >>> storage.write("memory://doc/corpus/news/a.txt", b"hello")
        >>> batch = FileBatch("memory://doc/corpus", storage.list_files("memory://doc/corpus"))
        >>> [part.path for part in FileCopierStage("memory://doc/backup").write(storage, "", [batch])]
        ['memory://doc/backup/news/a.txt']
    """

    output_path: str

    name = "file_copier"
    suffix: ClassVar[str] = ""
    depth: ClassVar[int] = sys.maxsize
    _output_dir: str = field(default="", init=False, repr=False)
    _attempt: str = field(default="", init=False, repr=False)
    _copies: dict[str, Copy] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_single_file(self) -> bool:
        return False

    def part_path(self, name: str, parts_folder: str) -> str:
        return join(parts_folder, name)  # where nothing is written: files keep their names

    def setup(self, worker: WorkerInfo) -> None:
        self._output_dir = worker.output_dir
        self._attempt, self._copies = "", {}

    def write(self, storage: Storage, part_path: str, tasks: Iterable[FileBatch]) -> list[Part]:
        if self._attempt != part_path:  # else an attempt at this very partition has failed, and some of it is done
            self._attempt, self._copies = part_path, {}
        files = {target: file for task in tasks for target, file in self._targets(task)}
        errors = self._copy({target: file for target, file in files.items() if target not in self._copies}, storage)
        if errors:
            if len(files) > 1 and not self._copies and all(isinstance(error, AccessError) for error in errors):
                raise errors[0]  # which ends the run: no other partition would fare better
            raise StorageError(f"{errors[0]} ({len(errors)} of {len(files)} files could not be copied)")
        copies = [self._copies[target] for target in files]
        for is_new, what in ((True, "copied"), (False, "skipped")):
            parts = [copy.part for copy in copies if copy.is_new is is_new]
            self.log_metrics({f"files_{what}": len(parts), f"bytes_{what}": sum(part.num_bytes for part in parts)})
        self.log_metric("bytes_compared", sum(copy.bytes_compared for copy in copies))
        self._attempt, self._copies = "", {}
        return [copy.part for copy in copies]

    def _copy(self, files: Mapping[str, FileInfo], storage: Storage) -> list[StorageError]:
        """Copy files to the paths they stand under, and put down what is done; returns the errors of the others."""
        errors: list[StorageError] = []
        copying = Copying(storage)
        with ThreadPoolExecutor(SMALL_AT_ONCE) as small, ThreadPoolExecutor(LARGE_AT_ONCE) as large:
            futures = {}
            for target, file in files.items():
                pool = small if file.num_bytes <= SMALL_BYTES else large
                futures[target] = pool.submit(_copy, storage, copying, file, target)
            pace = Pace("files of this partition")
            try:
                for target, future in futures.items():
                    try:
                        self._copies[target] = future.result()
                        pace.at(f"{len(self._copies)} of {len(files)} are there")
                    except StorageFullError:
                        raise
                    except StorageError as error:
                        errors.append(error)
            except BaseException:
                for future in futures.values():
                    future.cancel()
                copying.stop()  # what has begun, now that nothing more begins
                raise
        return errors

    def _targets(self, batch: FileBatch) -> Iterator[tuple[str, FileInfo]]:
        """Where each file goes; those that may go nowhere are set aside."""
        has_objects = not (is_local(batch.root) and is_local(self.output_path))
        taken: set[str] = set()
        for file in batch.files:
            key = relative_to(batch.root, file.path)
            try:
                check_name(key, has_objects)
                if is_local(file.path):
                    check_regular(file.path, batch.root)
            except RecordError as error:
                self.set_aside(file.path, error, {"file": key})
                continue
            target = self._target(key)
            if target in taken:  # a file that an earlier copy has given the name of this one
                taken_name = RecordError("same_name", f"another file is copied to {target}; rename one of them")
                self.set_aside(file.path, taken_name, {"file": key})
                continue
            taken.add(target)
            if _is_of_run(target, self._output_dir):
                raise ConfigurationError(
                    f"{file.path} would be copied to where this run keeps its own; give another output_dir, "
                    f"and output_path={self.output_path}"
                )
            yield target, file

    def _target(self, key: str) -> str:
        """Where a file goes: its path below the root, shortened where its new place takes none so long."""
        if is_local(self.output_path):
            short = short_key(key, len(os.fsencode(join(self.output_path, ""))), MAX_PATH_BYTES)
        elif self.output_path.startswith("memory://"):
            short = key
        else:
            folder = self.output_path.split("://", 1)[-1].partition("/")[2]
            short = short_key(key, len(join(folder, "").encode()), MAX_KEY_BYTES, None)
        if short != key:
            self.log_metric("names_shortened", 1)
        return join(self.output_path, short)


def _copy(storage: Storage, copying: Copying, file: FileInfo, target: str) -> Copy:
    try:
        there = storage.find(target)
    except AccessError:  # what is not to be looked at may well be written
        there = None
    bytes_compared = copying.bytes_to_compare(file, there) if there is not None else 0
    if there is not None and copying.is_same(file, there):
        return Copy(Part(target, file.num_bytes, "", 1, stays=True, version=there.version), False, bytes_compared)
    sha256 = copying.copy(file, target)
    part = Part(target, file.num_bytes, sha256, 1, stays=True, version=copying.versions[target])
    return Copy(part, True, bytes_compared)


def _is_of_run(path: str, output_dir: str) -> bool:
    paths = LedgerPaths(output_dir)
    folders = (paths.folder + "/", paths.quarantine_folder + "/part-")
    return path in [join(output_dir, name) for name in REPORTS] or path.startswith(folders)
