"""Lists the folders of speakers and their books, some speakers a batch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from curator_audio.errors import ConfigurationError, RecordError
from curator_audio.ledger import relative_to, sha256_of
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.interleave.batch_list import line_of
from curator_audio.stages.interleave.segment_json_reader import JSON_SUFFIX
from curator_audio.stages.parameters import check_count
from curator_audio.stages.source import SourceStage, check_limit
from curator_audio.storage.failures import explained
from curator_audio.storage.links import Tree
from curator_audio.storage.storage import absolute, is_local, join, local_path
from curator_audio.tasks import AudioBatch, Input, Inputs, Partition

MIN_DIGITS = 4

_Folder = tuple[str, str]
"""Speaker and book."""


@dataclass
class SpeakerBatchReaderStage(SourceStage[AudioBatch]):
    """Finds ``{input_path}/{speaker_id}/{book_id}/*.json`` and puts the folders together, some speakers a batch.

    A folder that is a link is quarantined. Speakers and books are in order of their names, so that the same tree gives
    the same batches. A batch is a partition and named ``{split}-0000-of-0042``. A store is asked for all names below
    ``input_path``, a thousand a request, and not folder by folder.

    Args:
        input_path: the folder or prefix of the tree; a local path or any fsspec URL.
        speakers_per_batch: how many speakers a batch has; the last one has what is left.
        split: what the names of the batches begin with.
        limit: make no more than so many of the first batches, of those there are in all; None for all. Those that are
            done stay beyond it, as long as there are as many in all.

    Raises:
        ConfigurationError: a parameter out of range, or two folders that would be the same line of a list.

    Example:
        >>> from curator_audio.storage.storage import Storage
        >>> for folder in ("1472/1437", "1472/1438", "26/495"):
        ...     Storage().write(f"memory://batches/{folder}/a.json", b"{}")
        >>> reader = SpeakerBatchReaderStage("memory://batches", speakers_per_batch=1)
        >>> for partition in reader.partitions():
        ...     print(partition.name, [batch.records for batch in reader.process(partition)])
        train-0000-of-0002 [[{'folder': '1472-1437'}, {'folder': '1472-1438'}]]
        train-0001-of-0002 [[{'folder': '26-495'}]]
    """

    input_path: str
    speakers_per_batch: int = 10
    split: str = "train"
    limit: int | None = field(default=None, kw_only=True)

    name = "speaker_batch_reader"
    selecting: ClassVar[tuple[str, ...]] = ("input_path", "limit")
    locating: ClassVar[tuple[str, ...]] = ("input_path",)
    _found: list[_Folder] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.input_path, str) or not self.input_path:
            raise ConfigurationError(f"input_path is {self.input_path!r}; give the folder of the tree")
        check_count("speakers_per_batch", self.speakers_per_batch, "of at least 1", 1)
        if not isinstance(self.split, str) or not re.fullmatch(r"\w[\w.-]{0,99}", self.split):
            raise ConfigurationError(f"split is {self.split!r:.120}; give a name such as train")
        check_limit(self.limit)
        self.input_path = absolute(self.input_path).rstrip("/")

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._found = None  # in an earlier run

    def outputs(self) -> tuple[list[str], dict[str, str]]:
        return ["records"], {"folder": "string"}

    @property
    def root(self) -> str:
        return self.input_path

    def keeps(self, source: str, has_output: bool) -> bool:
        return False  # the same folders are in other batches

    @property
    def selects_all(self) -> bool:
        """Whatever the limit: batches beyond it are met where they are done, and all others are of another tree."""
        return True

    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        books: dict[str, list[str]] = {}
        for speaker, book in self._folders():
            books.setdefault(speaker, []).append(book)
        speakers = list(books)
        batches = [speakers[i : i + self.speakers_per_batch] for i in range(0, len(speakers), self.speakers_per_batch)]
        for number, batch in enumerate(batches):
            name = f"{self.split}-{number:0{MIN_DIGITS}d}-of-{len(batches):0{MIN_DIGITS}d}"
            if self.limit is not None and number >= self.limit and name not in (known or {}):
                continue
            folders = "\0".join(f"{speaker}/{book}" for speaker in batch for book in books[speaker])
            data = folders.encode(errors="surrogateescape")
            yield Partition(name, self.input_path, 0, 0, inputs={name: sha256_of(folders)}, data=data)

    def of_format_1(self, partition: Partition, noted: Mapping[str, str]) -> Mapping[str, Input]:
        return {place: Input(noted["version"]) for place in partition.inputs}

    def source_paths(self) -> set[str]:
        return {self.input_path}

    def folders_read(self) -> set[str]:
        return {self.input_path}

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        batch = AudioBatch([], task.source_path)
        tree = Tree(local_path(task.source_path)) if is_local(task.source_path) else None
        for folder in (task.data or b"").decode(errors="surrogateescape").split("\0"):
            try:
                if tree is not None:
                    tree.check_folder(local_path(join(task.source_path, folder)))
                batch.records.append({"folder": line_of(*folder.split("/"))})
                batch.offsets.append(-1)
            except RecordError as error:
                self.set_aside(f"{task.source_path}/{folder}", error, {"folder": folder})
        yield batch

    def _folders(self) -> list[_Folder]:
        """The folders with segments, in order, listed once a run."""
        if self._found is None:
            find = _local_folders if is_local(self.input_path) else self._folders_in_store
            self._found = sorted(set(find(self.input_path)))
            if not self._found:
                raise ConfigurationError(
                    f"there are no folders of speakers and books in {self.input_path}; it takes "
                    "{speaker_id}/{book_id}/*.json"
                )
            self._check_names(self._found)
        return self._found

    def _folders_in_store(self, root: str) -> Iterator[_Folder]:
        for file in self.storage.list_files(root):
            place = relative_to(root, file.path).split("/")
            if len(place) == 3 and place[2].endswith(JSON_SUFFIX):
                yield place[0], place[1]

    def _check_names(self, folders: list[_Folder]) -> None:
        lines: dict[str, _Folder] = {}
        for folder in folders:
            other = lines.setdefault("-".join(folder), folder)
            if other != folder:
                both = f"{'/'.join(other)} and {'/'.join(folder)}"
                raise ConfigurationError(f"{both} would be the same line of a list; rename one of them")


def _local_folders(root: str) -> Iterator[_Folder]:
    """A link to a folder is one without its books or files, for a worker to tell of."""
    with explained(root, "list"):
        for speaker in _folders_in(local_path(root)):
            if speaker.is_symlink():
                yield speaker.name, ""
                continue
            for book in _folders_in(speaker.path):
                if book.is_symlink():
                    yield speaker.name, book.name
                    continue
                with os.scandir(book.path) as files:
                    if any(file.name.endswith(JSON_SUFFIX) for file in files):
                        yield speaker.name, book.name


def _folders_in(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if entry.is_dir()]
