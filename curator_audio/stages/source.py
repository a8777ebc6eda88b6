"""The base of the stages a pipeline starts with."""

from __future__ import annotations

import copy
import hashlib
import os
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from curator_audio.errors import ConfigurationError
from curator_audio.ledger import relative_to
from curator_audio.stages.base import Out, ProcessingStage, WorkerInfo
from curator_audio.stages.fields import Fields
from curator_audio.storage.storage import FileInfo, Storage
from curator_audio.tasks import Input, Inputs, Partition, Record

MAX_SLUG_CHARACTERS = 40  # of at most 4 bytes each, so that file names stay below 255 bytes
_NUMBER = re.compile(r"^(\d{6}-)+")
_HASH = re.compile(r"-[0-9a-f]{16}(-\d{13})?$")  # and where in a manifest the partition begins
LEDGER_FOLDER = "/_ledger/"
REPORTS = ("metrics.json", "skipped.jsonl")
"""What a run writes beside its output to tell of it."""

Source = TypeVar("Source", bound="SourceStage[Any]")


class SourceStage(ProcessingStage[Partition, Out]):
    """A stage that lists the partitions of a source, and reads one when it is given it.

    A partition has its ``inputs``: for each place below ``root`` a fingerprint that is cheap to know. Reading must note
    the hash of what was read (``note_content``): where a fingerprint has changed on a later run, it decides whether
    the partition has.
    """

    selecting: ClassVar[tuple[str, ...]] = ()
    """Parameters that choose partitions, and change nothing about what comes of one: a later run may have others."""
    locating: ClassVar[tuple[str, ...]] = ()
    """Those of them that tell where the source is, which may have been moved."""
    missing: ClassVar[Mapping[str, str]] = {}
    """Fingerprints that stand for what is not there, and what that means for what was made of it before: it stays."""
    batch_of: ClassVar[str] = ""
    """What a partition has many of that stay together, such as ``file``; empty where it is one of something."""

    limit: int | None = None
    """A source reads no more than so many of its first inputs, those of earlier runs included; None for all."""
    _storage: Storage | None = None
    _reached_end = False
    """Whether the limit left out nothing, when the partitions were last listed."""

    @property
    def storage(self) -> Storage:
        if self._storage is None:
            self._storage = Storage()
        return self._storage

    def setup(self, worker: WorkerInfo) -> None:
        self._storage = worker.storage

    @property
    @abstractmethod
    def root(self) -> str:
        """What the places of inputs are below."""

    @abstractmethod
    def partitions(self, known: Mapping[str, Inputs] | None = None) -> Iterator[Partition]:
        """All partitions, lazily, in a stable order, without reading more than must be.

        Args:
            known: what earlier runs finished, and what they began, by partition name. A source of batches leaves what
                is in such a partition together, so that what is new makes new partitions, and a run that was killed
                goes on as it began.

        Raises:
            AccessError: the source is not there or may not be read.
        """

    def completed(self, partition: Partition) -> Partition:
        """Return a partition with those of its inputs that cost more to list, to be compared with an earlier run's."""
        return partition

    def content_of(self, partition: Partition, place: str) -> str:
        """Return the hash that reading ``partition`` would note of a place; empty where none would be."""
        return ""

    def of_format_1(self, partition: Partition, noted: Mapping[str, str]) -> Mapping[str, Input]:
        """Return what a partition was made from, of which there is an entry in format 1 of the ledger.

        Args:
            partition: as it is now, completed.
            noted: ``version`` and ``content_sha256`` of the entry.
        """
        return {}

    def keeps(self, source: str, has_output: bool) -> bool:
        """Whether the output of a partition stays when that is not in the source any more.

        Args:
            source: the file of it, below ``root``.
            has_output: whether something came of it.
        """
        return True

    def piece_of(self, place: str) -> tuple[str, int, int] | None:
        """Return the file, the first byte and the end of a place that is a piece of a file; None for any other.

        A piece that overlaps one of an earlier run is made in its place.
        """
        return None

    def as_read_before(self, partition: Partition, places: Collection[str]) -> Partition:
        """Return a partition as far as an earlier run has read it, which made it from ``places``."""
        return partition

    def whole(self: Source) -> Source:
        """Return the same source with nothing left out."""
        chosen = self._chosen_by()
        source = copy.copy(self) if chosen else self  # which has listed itself
        for name in chosen:
            setattr(source, name, None)
        return source

    def place_of(self, path: str) -> str:
        """Return a path below ``root``; empty for ``root`` itself, and what lies elsewhere."""
        return place_below(self.root, path)

    def note_content(self, place: str, content: str, fingerprint: str | None = None) -> None:
        """Note the hash of what was read at a place, and its fingerprint where the partition came without it."""
        self.observed.inputs[place] = (fingerprint, content)

    @property
    def selects_all(self) -> bool:
        """Whether no parameter leaves out anything of the source; of a limit that is known when all is listed."""
        chosen = self._chosen_by()
        return not chosen or (chosen == ["limit"] and self._reached_end)

    def _chosen_by(self) -> list[str]:
        """The parameters that may leave something out."""
        return [name for name in self.selecting if name not in self.locating and getattr(self, name) is not None]

    def sampled_fields(self) -> Fields:
        """The record fields seen in a look at the start of the source; open if nothing can be said."""
        return Fields.any()

    def typed_fields(self) -> Fields:
        """Return the record fields of the source with their types, from which the columns of a dataset are settled.

        Those of the source's own schema where it has one, else of its first 1,000 records. Open where there may be
        others than these.
        """
        return self.sampled_fields()

    def first_records(self, count: int) -> list[tuple[Record, str]]:
        """The first records, each with the file it stands in; fewer than ``count`` where there are no more.

        A source that cannot tell without much reading gives none.
        """
        return []

    @abstractmethod
    def source_paths(self) -> set[str]:
        """The files (or prefixes) that partitions are pieces of, those without any partition included."""

    def folders_read(self) -> set[str]:
        """The folders of which all files are read: what is written there would be, too."""
        return set()

    def remarks(self) -> list[str]:
        """Return what a look at the start of the source tells that a user should know before a run, a line each.

        Raises:
            ConfigurationError: what a parameter names is not there.
        """
        return []

    def num_bytes(self) -> int | None:
        """The size of all partitions together, if it can be known before listing them."""
        return None


def check_limit(limit: object) -> None:
    """Refuse a limit that is not null or a whole number above 0.

    Raises:
        ConfigurationError: it is something else.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ConfigurationError(f"limit is {limit!r}; give a whole number of at least 1, or null for all")


def place_below(root: str, path: str) -> str:
    """Return a path below another; empty for that itself, and for what lies elsewhere.

    Example:
        >>> [place_below("/data", path) for path in ("/data/a/in.jsonl", "/data", "/lists")]
        ['a/in.jsonl', '', '']
    """
    place = relative_to(root, path)
    return "" if place == path else place


def slug_of(path: str) -> str:
    """A short name for a path that no other path has, fit for a file: the start of its stem, and a hash.

    Example:
        >>> slug_of("s3://bucket/news/Evening show.opus")
        'Evening_show-a285b86337a44f44'
    """
    try:
        data = path.encode(errors="surrogateescape")  # names of files that are no UTF-8
    except UnicodeEncodeError:
        data = path.encode(errors="surrogatepass")
    digest = hashlib.sha256(data).hexdigest()
    return f"{_stem(path)[:MAX_SLUG_CHARACTERS]}-{digest[:16]}"


def stem_of(path: str) -> str:
    """The start of a file's stem, fit for a file, without what names of partitions have around it.

    Example:
        >>> stem_of("segments/000001-Evening_show-a285b86337a44f44.parquet")
        'Evening_show'
    """
    return _HASH.sub("", _NUMBER.sub("", _stem(path)))[:MAX_SLUG_CHARACTERS]


def _stem(path: str) -> str:
    return re.sub(r"[^\w-]", "_", os.path.basename(path).split(".")[0])


def without_bookkeeping(files: Iterable[FileInfo]) -> Iterator[FileInfo]:
    """The files, in order of their paths, without ledger, quarantine and reports of the runs that wrote there."""
    quarantines: tuple[str, ...] = ()
    reports: set[str] = set()
    for file in files:
        path = file.path
        if LEDGER_FOLDER in path:  # before which nothing sorts that else tells of its run
            output = path.split(LEDGER_FOLDER)[0]
            if f"{output}/{REPORTS[0]}" not in reports:
                quarantines = (*quarantines, f"{output}/quarantine/part-")
                reports |= {f"{output}/{name}" for name in REPORTS}
        elif not (path.startswith(quarantines) and path.endswith(".jsonl")) and path not in reports:
            yield file
