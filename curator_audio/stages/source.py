"""The base of the stages a pipeline starts with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

from curator_audio.stages.base import Out, ProcessingStage, WorkerInfo
from curator_audio.stages.fields import Fields
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Partition


class SourceStage(ProcessingStage[Partition, Out]):
    """A stage that lists the partitions of a source, and reads one when it is given it.

    Reading must log the hash of what was read in ``self.observed.content_sha256``: it decides on a later run
    whether a partition of a changed file has itself changed.
    """

    _storage: Storage | None = None

    @property
    def storage(self) -> Storage:
        if self._storage is None:
            self._storage = Storage()
        return self._storage

    def setup(self, worker: WorkerInfo) -> None:
        self._storage = worker.storage

    @abstractmethod
    def partitions(self) -> Iterator[Partition]:
        """All partitions, lazily, in a stable order, without reading more than must be.

        Raises:
            AccessError: the source is not there or may not be read.
        """

    @abstractmethod
    def content_sha256(self, partition: Partition) -> str:
        """The hash that reading ``partition`` would log."""

    def sampled_fields(self) -> Fields:
        """The record fields seen in a look at the start of the source; open if nothing can be said."""
        return Fields.any()

    @abstractmethod
    def source_paths(self) -> set[str]:
        """The files (or prefixes) that partitions are pieces of, those without any partition included."""

    def num_bytes(self) -> int | None:
        """The size of all partitions together, if it can be known before listing them."""
        return None
