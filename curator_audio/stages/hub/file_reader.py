"""Listing files that exist, for publishing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curator_audio.errors import AccessError
from curator_audio.stages.transfer.file_batch import FileBatch
from curator_audio.stages.transfer.file_tree_reader import FileTreeReaderStage
from curator_audio.storage.storage import FileInfo, join
from curator_audio.tasks import Partition


@dataclass
class PublishedFileReaderStage(FileTreeReaderStage):
    """Lists the files below a folder or prefix, in batches; passes over hidden ones, and what runs keep for themselves.

    Parameters are those of ``FileTreeReaderStage``.

    Example:
        >>> from curator_audio.storage.storage import Storage
        >>> for name in ("data/train-0000.parquet", ".cache/train-0000.parquet", "data/.part"):
        ...     Storage().write(f"memory://doc/published/{name}", b"")
        >>> [file.path for file in PublishedFileReaderStage("memory://doc/published").files()]
        ['memory://doc/published/data/train-0000.parquet']
    """

    name = "file_reader"

    def is_read(self, place: str) -> bool:
        return super().is_read(place) and not any(name.startswith(".") for name in place.split("/"))

    def fingerprint_of(self, file: FileInfo) -> str:
        return file.mark  # as ledgers have those of files in their place

    def _tell_left_out(self) -> None:
        """Say nothing: nobody expects the reports of runs in a dataset."""

    def files(self) -> list[FileInfo]:
        """All files there are to publish, as they were listed."""
        return list(self._included())

    def process(self, task: Partition) -> Iterator[FileBatch]:
        paths = [join(task.source_path, key) for key in task.inputs]
        batch = FileBatch(task.source_path, [])
        for path, found in zip(paths, self.storage.each(self._looked_at, paths)):
            if isinstance(found, AccessError):
                self.set_aside(path, found)
            else:
                batch.files.append(found)
        yield batch

    def _looked_at(self, path: str) -> FileInfo | AccessError:
        try:
            return self.storage.info(path)
        except AccessError as error:  # a link to a folder, or to nothing
            return error
