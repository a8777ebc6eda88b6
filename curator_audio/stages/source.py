"""The base of the stages a pipeline starts with."""

from __future__ import annotations

import hashlib
import os
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping

from curator_audio.stages.base import Out, ProcessingStage, WorkerInfo
from curator_audio.stages.fields import Fields
from curator_audio.storage.ledger import LedgerEntry
from curator_audio.storage.storage import FileInfo, Storage
from curator_audio.tasks import Partition, Record

MAX_SLUG_CHARACTERS = 40  # of at most 4 bytes each, so that file names stay below 255 bytes
_NUMBER = re.compile(r"^(\d{6}-)+")
_HASH = re.compile(r"-[0-9a-f]{16}(-\d{13})?$")  # and where in a manifest the partition begins
LEDGER_FOLDER = "/_ledger/"
REPORTS = ("metrics.json", "skipped.jsonl")
"""What a run writes beside its output to tell of it."""


class SourceStage(ProcessingStage[Partition, Out]):
    """A stage that lists the partitions of a source, and reads one when it is given it.

    Reading must log the hash of what was read in ``self.observed.content_sha256``: it decides on a later run
    whether a partition of a changed file has itself changed.
    """

    _storage: Storage | None = None
    reads_whole_folder: bool = False
    """Whether its ``source_paths`` are folders of which all files are read: what is written there would be, too."""

    keeps_vanished: bool = False
    """Whether what was made of a partition without keys stays when its source no longer has it; of keys it does."""

    @property
    def storage(self) -> Storage:
        if self._storage is None:
            self._storage = Storage()
        return self._storage

    def setup(self, worker: WorkerInfo) -> None:
        self._storage = worker.storage

    @abstractmethod
    def partitions(self, done: Mapping[str, LedgerEntry] | None = None) -> Iterator[Partition]:
        """All partitions, lazily, in a stable order, without reading more than must be.

        Args:
            done: what earlier runs finished, and what they began, by partition name. A source that lists files leaves
                those of such a partition together, so that new ones make new partitions, and a run that was killed
                goes on as it began.

        Raises:
            AccessError: the source is not there or may not be read.
        """

    @abstractmethod
    def content_sha256(self, partition: Partition) -> str:
        """The hash that reading ``partition`` would log."""

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

    def remarks(self) -> list[str]:
        """Return what a look at the start of the source tells that a user should know before a run, a line each.

        Raises:
            ConfigurationError: what a parameter names is not there.
        """
        return []

    def num_bytes(self) -> int | None:
        """The size of all partitions together, if it can be known before listing them."""
        return None


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


def without_bookkeeping(files: list[FileInfo]) -> list[FileInfo]:
    """The files without ledger, quarantine and reports of the runs that wrote into their folders."""
    outputs = {file.path.split(LEDGER_FOLDER)[0] for file in files if LEDGER_FOLDER in file.path}
    ledgers = tuple(output + LEDGER_FOLDER for output in outputs)
    quarantines = tuple(f"{output}/quarantine/part-" for output in outputs)
    told = {f"{output}/{name}" for output in outputs for name in REPORTS}

    def is_ours(path: str) -> bool:
        is_quarantine = path.startswith(quarantines) and path.endswith(".jsonl")
        return path.startswith(ledgers) or is_quarantine or path in told

    return [file for file in files if not is_ours(file.path)]
