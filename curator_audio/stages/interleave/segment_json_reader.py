"""Reading trees of JSON files, one a segment, by batch lists."""

from __future__ import annotations

import hashlib
import posixpath
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import ClassVar, TypeAlias

import orjson
from loguru import logger

from curator_audio.errors import AccessError, ConfigurationError, RecordError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.interleave.batch_list import SUFFIX, folders_of, lines_of
from curator_audio.stages.source import SourceStage, check_limit
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.limits import MAX_JSON_BYTES
from curator_audio.storage.names import short_name
from curator_audio.storage.storage import FileInfo, Storage, absolute, join
from curator_audio.tasks import AudioBatch, Input, Inputs, Partition, Record

JSON_SUFFIX = ".json"
NAMED_AFTER_BYTES = 55  # put around the name of a list in those of other files
PROGRESS_INTERVAL_SEC = 10.0
NAMES_SHOWN = 3

_Folder = tuple[str, list[FileInfo]]
"""A folder below the root, and its files."""

_Content: TypeAlias = "bytes | AccessError | RecordError"
"""What is in a file, or why it could not be read."""


@dataclass
class SegmentJsonReaderStage(SourceStage[AudioBatch]):
    """Reads ``{input_path}/{speaker_id}/{book_id}/*.json``, one JSON object a segment, by batch lists.

    A list is a text file that names folders, one ``speaker_id-book_id`` a line. It is a partition, named after the
    list, and done again when the list or one of its files changed; what was made of a list that is gone goes, too. A
    folder is a batch: a worker holds one at a time.

    A file that is no JSON object, a link that leads out of ``input_path``, and a line that names no folder below it
    (or one that is a link) are quarantined. Folders that
    are missing or empty are skipped and counted, and so is a folder that a list names again.

    Args:
        input_path: the folder or prefix of the tree; a local path or any fsspec URL.
        list_dir: the folder of the lists (``*.txt``), or a single list.
        limit: read no more than so many of the first lists; None for all.

    Raises:
        ConfigurationError: no path.

    Example:
        >>> from curator_audio.storage.storage import Storage
        >>> Storage().write("memory://doc/tree/1472/1437/a.json", b'{"entry_id": "a", "transcript": "so be it"}')
        >>> Storage().write("memory://doc/lists/train-0000.txt", b"1472-1437")
        >>> reader = SegmentJsonReaderStage("memory://doc/tree", "memory://doc/lists")
        >>> (partition,) = reader.partitions()
        >>> partition.name, [batch.records for batch in reader.process(partition)]
        ('train-0000', [[{'entry_id': 'a', 'transcript': 'so be it'}]])
    """

    input_path: str
    list_dir: str
    limit: int | None = field(default=None, kw_only=True)

    name = "segment_json_reader"
    selecting: ClassVar[tuple[str, ...]] = ("input_path", "list_dir", "limit")
    locating: ClassVar[tuple[str, ...]] = ("input_path", "list_dir")
    _tree: Storage | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, what in (("input_path", "the folder of the tree"), ("list_dir", "the folder of the batch lists")):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ConfigurationError(f"{name} is {value!r}; give {what}")
            setattr(self, name, absolute(value).rstrip("/"))
        check_limit(self.limit)

    def setup(self, worker: WorkerInfo) -> None:
        super().setup(worker)
        self._tree = None  # of an earlier run

    def outputs(self) -> tuple[list[str], list[str]]:
        return ["records"], []

    @property
    def tree(self) -> Storage:
        """The files below ``input_path``: a link that leads elsewhere is a ``RecordError``."""
        if self._tree is None:
            self._tree = self.storage.within(self.input_path)
        return self._tree

    # The driver: which lists there are ----------------------------------------------------------------------

    @property
    def root(self) -> str:
        return self.input_path

    def keeps(self, source: str, has_output: bool) -> bool:
        return False

    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        if not self.storage.is_folder(self.input_path):
            raise ConfigurationError(f"{self.input_path} has no files; give the folder above those of the speakers")
        lists = self._lists()
        self._reached_end = self.limit is not None and len(lists) <= self.limit
        for file in lists[: self.limit]:
            try:
                data = self._list(file.path)
            except RecordError:  # which the worker will tell
                data = b""
            inputs = {posixpath.basename(file.path): hashlib.sha256(data).hexdigest()[:16]}
            yield Partition(_name_of(file.path), self.list_dir, 0, file.num_bytes, file.num_bytes, inputs, data)

    def completed(self, partition: Partition) -> Partition:
        inputs = dict(partition.inputs)
        for _, folders in self._listed(_Listing(partition).lines):
            inputs |= {self.place_of(folder): _fingerprint_of(files) for folder, files in folders}
        return replace(partition, inputs=inputs)

    def content_of(self, partition: Partition, place: str) -> str:
        if "/" not in place:
            return ""  # a list is known by its hash
        files = self._files(join(self.input_path, place))
        if not isinstance(files, list):
            return ""
        content = _FolderContent()
        for file, data in zip(files, self.storage.ahead(self._content, files)):
            content.add(file, data)
        return content.sha256

    def of_format_1(self, partition: Partition, noted: Mapping[str, str]) -> Mapping[str, Input]:
        digest = hashlib.sha256(partition.data or b"")  # of the list, and names and versions of the files
        for _, folders in self._listed(_Listing(partition).lines):
            for folder, files in folders:
                digest.update("\n".join([folder, *map(_named, files), ""]).encode(errors="surrogateescape"))
        is_same = digest.hexdigest() == noted["content_sha256"]
        return {place: Input(fingerprint) for place, fingerprint in partition.inputs.items()} if is_same else {}

    def source_paths(self) -> set[str]:
        return {self.list_dir, self.input_path}

    def folders_read(self) -> set[str]:
        return {self.list_dir, self.input_path}

    def num_bytes(self) -> int | None:
        return sum(file.num_bytes for file in self._lists()[: self.limit])

    def _list(self, path: str) -> bytes:
        """What is in a list; one that is a link to somewhere else is a ``RecordError``."""
        return (self.storage if self._is_one_list else self.storage.within(self.list_dir)).read(path)

    def _path_of(self, name: str) -> str:
        """The list that a partition is named after."""
        path = self.list_dir if self._is_one_list else join(self.list_dir, name + SUFFIX)
        if not self.storage.exists(path):  # its name was shortened
            path = next((file.path for file in self._lists() if _name_of(file.path) == name), path)
        return path

    @property
    def _is_one_list(self) -> bool:
        return self.list_dir.endswith(SUFFIX) and not self.storage.is_folder(self.list_dir)

    def _lists(self) -> list[FileInfo]:
        if self._is_one_list:
            return [self.storage.info(self.list_dir)]
        listed = self.storage.list_files(self.list_dir, max_depth=1)
        files = [file for file in listed if file.path.endswith(SUFFIX) and not _is_hidden(file)]
        if not files:
            raise ConfigurationError(f"there are no lists (*{SUFFIX}) in {self.list_dir}; make them with batch_lists")
        return files

    # A worker: the segments of one list, folder by folder ----------------------------------------------------

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        listing = _Listing(task)
        ready: deque[_Folder] = deque()

        def listed() -> Iterator[FileInfo]:
            for line, folders in self._listed(listing.lines):
                for folder, files in folders:
                    self.note_content(self.place_of(folder), "", _fingerprint_of(files))
                for folder, files in listing.add(line, folders):
                    ready.append((folder, files))
                    yield from files

        contents = self.storage.ahead(self._content, listed())
        progress = _Progress(task.name, len(listing.lines))
        for first in contents:
            folder, files = ready.popleft()
            yield self._batch(folder, files, chain([first], islice(contents, len(files) - 1)))
            progress.folder_done()
        path = self._path_of(task.name)
        if not listing.lines:
            try:
                self._list(path)
            except RecordError as error:
                self.set_aside(path, error)
        self._report(path, listing)

    def _listed(self, lines: list[_Line]) -> Iterator[tuple[_Line, list[_Folder]]]:
        """The folders that each line may mean, those without files left out; a line may turn out to mean none."""
        folders = [join(self.input_path, folder) for line in lines for folder in line.folders]
        found = zip(folders, self.storage.ahead(self._files, folders))
        for line in lines:
            of_line: list[_Folder] = []
            for folder, files in islice(found, len(line.folders)):
                if isinstance(files, RecordError):
                    line.error = files
                elif isinstance(files, AccessError):
                    line.error = RecordError("unreadable_folder", str(files))
                elif files:
                    of_line.append((folder, files))
            yield line, of_line

    def _files(self, folder: str) -> list[FileInfo] | AccessError | RecordError:
        try:
            listed = self.tree.list_files(folder, max_depth=1)
        except (AccessError, RecordError) as error:  # it is a file, say, or may not be looked into, or is a link
            return error
        return [file for file in listed if file.path.endswith(JSON_SUFFIX)]

    def _content(self, file: FileInfo) -> _Content:
        try:
            if file.num_bytes > MAX_JSON_BYTES:
                raise RecordError("too_large", f"it has {file.num_bytes} bytes, more than the {MAX_JSON_BYTES} allowed")
            return self.tree.read(file.path)
        except (AccessError, RecordError) as error:  # it has gone since, may not be read, or is a link
            return error

    def _batch(self, folder: str, files: list[FileInfo], contents: Iterable[_Content]) -> AudioBatch:
        batch, read = AudioBatch([], folder), _FolderContent()
        for file, content in zip(files, contents):
            read.add(file, content)
            try:
                batch.records.append(_decoded(content))
            except (RecordError, AccessError) as error:
                self.set_aside(file.path, error, content if isinstance(content, bytes) else None)
                continue
            batch.offsets.append(-1)
            batch.paths.append(file.path)
        self.log_metric("folders", 1)
        self.note_content(self.place_of(folder), read.sha256, _fingerprint_of(files))
        return batch

    def _report(self, path: str, listing: _Listing) -> None:
        """Tell what of a list could not be read."""
        for line in listing.lines:
            if line.error is not None:
                self.set_aside(path, line.error, line.content, line.offset)
        if listing.num_repeated:
            self.log_metric("folders_repeated", listing.num_repeated)
        if listing.missing:
            shown = ", ".join(listing.missing[:NAMES_SHOWN]) + (" …" if len(listing.missing) > NAMES_SHOWN else "")
            message = f"{path}: {len(listing.missing)} folder(s) missing or empty: {shown}"
            self.warn_and_count("folders_missing_or_empty", message, len(listing.missing))


def _name_of(path: str) -> str:
    """What the partition of a list is called, and the files that come of it."""
    return short_name(posixpath.basename(path).removesuffix(SUFFIX), NAMED_AFTER_BYTES)


@dataclass
class _Line:
    """A line of a list, and the folders it may mean or what is wrong with it."""

    offset: int
    content: bytes
    folders: list[str]
    error: RecordError | None = None


class _Listing:
    """What a list names.

    Attributes:
        missing: lines whose folder has no files.
        num_repeated: how many lines stand there again.
    """

    def __init__(self, partition: Partition) -> None:
        self.lines: list[_Line] = []
        self.missing: list[str] = []
        self.num_repeated = 0
        met: set[bytes] = set()
        for offset, content in lines_of(partition.data or b""):
            if content in met:
                self.num_repeated += 1
                continue
            met.add(content)
            try:
                self.lines.append(_Line(offset, content, folders_of(content)))
            except RecordError as error:
                self.lines.append(_Line(offset, content, [], error))

    def add(self, line: _Line, folders: list[_Folder]) -> list[_Folder]:
        """Take in what there is of a line; returns the folder to read, if there is one."""
        if len(folders) > 1:
            both = " and ".join(folder for folder, _ in folders)
            line.error = RecordError("ambiguous_folder", f"it may mean {both}; rename one of them")
        elif not folders and line.error is None:
            self.missing.append(line.content.decode())
        return folders if line.error is None else []


class _FolderContent:
    """The hash of what is in a folder: names of files and what they hold; none where one could not be read."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._is_whole = True

    def add(self, file: FileInfo, content: _Content) -> None:
        """Take in the next file."""
        self._is_whole &= isinstance(content, bytes)
        if isinstance(content, bytes):
            name = posixpath.basename(file.path).encode(errors="surrogateescape")
            self._digest.update(b"%d %s %d " % (len(name), name, len(content)))
            self._digest.update(content)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()[:16] if self._is_whole else ""


class _Progress:
    """Says now and then how far a list is: one of many folders takes long."""

    def __init__(self, name: str, num_folders: int) -> None:
        self._name, self._num_folders, self._num_done = name, num_folders, 0
        self._last = time.monotonic()

    def folder_done(self) -> None:
        self._num_done += 1
        if time.monotonic() - self._last >= PROGRESS_INTERVAL_SEC:
            self._last = time.monotonic()
            logger.info(f"{self._name}: {self._num_done} of {self._num_folders} folders")


def _named(file: FileInfo) -> str:
    return f"{posixpath.basename(file.path)} {file.version}"


def _fingerprint_of(files: list[FileInfo]) -> str:
    """What changes when a file of a folder is written again, or another one comes or goes."""
    return hashlib.sha256("\n".join(map(_named, files)).encode(errors="surrogateescape")).hexdigest()[:16]


def _is_hidden(file: FileInfo) -> bool:
    return posixpath.basename(file.path).startswith(".")


def _decoded(content: _Content) -> Record:
    """The segment in a file.

    Raises:
        AccessError: the file could not be read.
        RecordError: it may not be, or holds no JSON object.
    """
    if not isinstance(content, bytes):
        raise content
    if not content:
        raise RecordError("empty_file", "the file has 0 bytes; write it again")
    try:
        record = orjson.loads(content)
    except orjson.JSONDecodeError:
        record = decode_line(content)  # which takes more, and says better what is wrong
    if not isinstance(record, dict):
        raise RecordError("not_an_object", f"the file holds a {type(record).__name__}, not a JSON object")
    return record
