"""Hashing files that exist, for publishing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from curator_audio.errors import RecordError, StorageError
from curator_audio.ledger import relative_to
from curator_audio.stages.hub.contents import contents_of
from curator_audio.stages.transfer.checks import check_name
from curator_audio.stages.transfer.file_batch import FileBatch
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.links import check_regular
from curator_audio.storage.storage import FileInfo, Storage, is_local, join
from curator_audio.tasks import Part


@dataclass
class FileHasherStage(WriterStage[FileBatch]):
    """Notes the hash and the number of examples of every file; the files stay where they are, as they are.

    A file that is no regular one, or a link to something outside of its root, or no whole Parquet or tar file though it
    is named so, is quarantined.

    Args:
        output_path: the folder of the run, in which nothing is written but its ledger.

    Example:
        >>> storage = Storage()
        >>> storage.write("memory://doc/hashed/a.txt", b"hello")
        >>> batch = FileBatch("memory://doc/hashed", [storage.info("memory://doc/hashed/a.txt")])
        >>> [part.sha256[:8] for part in FileHasherStage("memory://doc/publish").write(storage, "", [batch])]
        ['2cf24dba']
    """

    output_path: str

    name = "file_hasher"
    suffix: ClassVar[str] = ""

    @property
    def is_single_file(self) -> bool:
        return False

    def part_path(self, name: str, parts_folder: str) -> str:
        return join(parts_folder, name)  # where nothing is written: files stay in their places

    def write(self, storage: Storage, part_path: str, tasks: Iterable[FileBatch]) -> list[Part]:
        hashed: list[tuple[FileInfo, Part]] = []
        for batch in tasks:
            tree = storage.within(batch.root)
            for file in batch.files:
                try:
                    hashed.append((file, _hashed(tree, file, batch.root)))
                except RecordError as error:
                    self.set_aside(file.path, error, {"file": relative_to(batch.root, file.path)})
        for file, part in hashed:  # the ledger has them in the version they have after this
            if part.num_bytes != file.num_bytes or storage.info(file.path).version != file.version:
                raise StorageError(f"{file.path} was written again while it was read; run again when it is finished")
        return [part for _, part in hashed]


def _hashed(storage: Storage, file: FileInfo, root: str) -> Part:
    check_name(relative_to(root, file.path), has_objects=True)
    if is_local(file.path):
        check_regular(file.path, root)
    sha256, num_bytes, num_records = contents_of(storage, file.path)
    # It is the user's own file: no run deletes it.
    return Part(file.path, num_bytes, sha256, num_records, place=relative_to(root, file.path))
