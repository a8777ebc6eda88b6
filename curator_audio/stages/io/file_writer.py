"""The base of the writers that make a file, or several, of every record."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from curator_audio.errors import ConfigurationError, CuratorError, RecordError, place_of
from curator_audio.stages.names import file_name_of
from curator_audio.stages.writer import WriterStage
from curator_audio.storage.storage import Storage, join
from curator_audio.storage.valid_text import Repairs, with_json_values
from curator_audio.tasks import AudioBatch, Part, Record

WRITTEN_AT_ONCE = 64

Files = Mapping[str, bytes]
"""What the files of a record hold, by what their names end in."""


@dataclass
class FileWriterStage(WriterStage[AudioBatch]):
    """Writes every record to ``{output_path}/{channel}/{name}`` and suffixes; a format is its ``files_of``.

    The name is the record's id without its channel; a record without a channel has no folder. What JSON cannot hold is
    replaced before (``with_json_values``) and counted: ``texts_repaired``, ``numbers_not_finite``. A record of which no
    file can be made, or with the name of another of its partition, is quarantined.

    Args:
        output_path: the folder or prefix.

    Raises:
        ConfigurationError: a file instead of a folder.

    Example:
        >>> from curator_audio.storage.json_codec import encode_fields
        >>> @dataclass
        ... class TextAndJsonWriterStage(FileWriterStage):
        ...     '''Writes a text, and beside it a JSON file, of every segment.'''
        ...     def files_of(self, record):
        ...         return {".txt": record["text"].encode(), ".json": encode_fields(record)}
        >>> record = {"segment_id": "news/show_seg_3", "channel": "news", "text": "so be it"}
        >>> parts = TextAndJsonWriterStage("memory://doc/texts").write(Storage(), "", [AudioBatch([record])])
        >>> [(part.path, part.num_records) for part in parts]
        [('memory://doc/texts/news/show_seg_3.txt', 1), ('memory://doc/texts/news/show_seg_3.json', 0)]
    """

    output_path: str

    suffix: ClassVar[str] = ""
    depth: ClassVar[int] = 2
    id_field: ClassVar[str] = "segment_id"
    """After which a record's files are named."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.suffix and self.output_path.endswith(self.suffix):
            raise ConfigurationError(f"output_path is {self.output_path}; give a folder, each record has its own files")

    @property
    def is_single_file(self) -> bool:
        return False

    def inputs(self) -> tuple[list[str], list[str]]:
        return ["records"], [self.id_field]

    @abstractmethod
    def files_of(self, record: Record) -> Files:
        """The files of a record: what they hold, by what their names end in, as ``{".txt": b"so be it"}``.

        Must not change ``record``.

        Raises:
            RecordError: none can be made of it.
        """

    def files_over(self, storage: Storage, record: Record, is_in_place: bool) -> Files:
        """The same where earlier files may be there; override where these matter, and find them by ``path_of``.

        Args:
            storage: where they are.
            record: the record.
            is_in_place: whether it was read from the folder that it is written to (``may_replace_sources``).
        """
        return self.files_of(record)

    def path_of(self, record: Record, suffix: str) -> str:
        """Where the file of a record lies that ends in ``suffix``, if it has no other of a longer one.

        Raises:
            RecordError: its names would lead elsewhere.
        """
        return join(self.output_path, *file_name_of(record, suffix, self.id_field))

    def write(self, storage: Storage, part_path: str, tasks: Iterable[AudioBatch]) -> list[Part]:
        taken: set[str] = set()
        return [part for task in tasks for part in self._written(storage, task, taken)]

    def _written(self, storage: Storage, task: AudioBatch, taken: set[str]) -> Iterator[Part]:
        """Write the records of a task, and give what was written.

        Args:
            storage: where to.
            task: the records.
            taken: what is written of this partition so far, and under which names; those of the task are added.
        """
        repairs = Repairs()
        is_in_place = task.source_path.rstrip("/") == self.output_path.rstrip("/") and self.may_replace_sources
        for begin in range(0, task.num_items, WRITTEN_AT_ONCE):
            records: dict[str, tuple[Record, int]] = {}
            for index, record in enumerate(task.records[begin : begin + WRITTEN_AT_ONCE], begin):
                try:
                    record = with_json_values(record, repairs)
                    name = self.path_of(record, self.suffix)
                    _take([name], taken)
                    records[name] = record, index
                except RecordError as error:
                    self.quarantine(task, index, error)
            made = storage.each(partial(self._made, storage, records, is_in_place), list(records))
            several: list[dict[str, bytes]] = []
            for (name, (_, index)), files in zip(records.items(), made):
                try:
                    if isinstance(files, RecordError):
                        raise files
                    _take(files.keys() - {name}, taken)
                    several.append(files)
                except RecordError as error:
                    self.quarantine(task, index, error)
            yield from _parts(storage, several)
        self.log_metrics(repairs.as_metrics())

    def _made(
        self, storage: Storage, records: dict[str, tuple[Record, int]], is_in_place: bool, name: str
    ) -> dict[str, bytes] | RecordError:
        """The files of a record by path; an error of its own is returned, so that others of its batch are written."""
        record, _ = records[name]
        try:
            files = self.files_over(storage, record, is_in_place)
            self._check(files)
            # All files of a record have one name before their suffix, short enough for the longest of these.
            longest = max(files, key=lambda suffix: len(suffix.encode()))
            stem = self.path_of(record, longest).removesuffix(longest)
            return {stem + suffix: data for suffix, data in files.items()}
        except RecordError as error:
            return error
        except (MemoryError, CuratorError):
            raise
        except Exception as error:  # a bug or an odd record: it must not stop a run that lasts days
            return RecordError(type(error).__name__, f"{error}{place_of(error)}")

    def _check(self, files: Files) -> None:
        """Check what ``files_of`` has returned.

        Raises:
            RecordError: there is no file.
            ConfigurationError: it is something else than files.
        """
        if not isinstance(files, Mapping):
            raise ConfigurationError(
                f"files_of of '{self.name}' returned a {type(files).__name__}; return {{'.txt': …}}"
            )
        if not files:
            raise RecordError("no_files", f"'{self.name}' made no file of the record")
        for suffix, data in files.items():
            if not isinstance(suffix, str) or not suffix.startswith(".") or "/" in suffix or "\0" in suffix:
                raise ConfigurationError(f"files_of of '{self.name}' has {suffix!r}; give the end of a name, as '.txt'")
            if not isinstance(data, bytes):
                kind = type(data).__name__
                raise ConfigurationError(f"files_of of '{self.name}' gave a {kind} for '{suffix}'; give bytes")


def _take(paths: Iterable[str], taken: set[str]) -> None:
    """Take paths for a record.

    Raises:
        RecordError: ``duplicate_segment``: another record of the partition has one of them.
    """
    for path in sorted(paths):
        if path in taken:
            raise RecordError("duplicate_segment", f"a second segment would be written to {path}")
    taken.update(paths)


def _parts(storage: Storage, several: list[dict[str, bytes]]) -> list[Part]:
    """Write the files of some records; the first file of each counts for its record."""
    data = {path: content for files in several for path, content in files.items()}
    first = {next(iter(files)) for files in several}
    versions = storage.each(lambda path: storage.written(path, data[path]), list(data))
    return [
        Part(path, len(content), hashlib.sha256(content).hexdigest(), int(path in first), version=version)
        for (path, content), version in zip(data.items(), versions)
    ]
