"""Listing files that exist, for publishing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from curator_audio.errors import AccessError
from curator_audio.stages.io.tree_reader import TreeReaderStage
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

    def is_selected(self, key: str) -> bool:
        return super().is_selected(key) and not any(name.startswith(".") for name in key.split("/"))

    def _tell_left_out(self) -> None:
        """Say nothing: nobody expects the reports of runs in a dataset."""

    def files(self) -> list[FileInfo]:
        """All files there are to publish, as they were listed."""
        return self._included()

    def process(self, task: Partition) -> Iterator[FileBatch]:
        paths = [join(task.source_path, key) for key in task.keys]
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

    def _partition(self, name: str, files: Mapping[str, FileInfo]) -> Partition:
        return TreeReaderStage._partition(
            self, name, files
        )  # with marks, as ledgers have those of files in their place
