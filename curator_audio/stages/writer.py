"""The base of the stages a pipeline ends with.

A format is a subclass of one of three: ``AppendedWriterStage`` (a part is what its tasks give, one behind the other),
``ParquetShardWriterStage`` (a part is a table), ``FileWriterStage`` (a file or several of every record). They lie in
``stages/io``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.stages.base import In, ProcessingStage
from curator_audio.stages.fields import Fields
from curator_audio.stages.source import SourceStage
from curator_audio.storage.storage import Storage, absolute, join
from curator_audio.tasks import Part


class WriterStage(ProcessingStage[In, Part]):
    """A stage that writes the records of a partition, and gives the files it wrote.

    Where ``output_path`` names a file (it ends in ``suffix``), parts are kept aside until they are joined into it; else
    it is a folder in which every part is a shard.
    """

    output_path: str
    suffix: ClassVar[str]
    depth: ClassVar[int] = 1
    """How deep below a folder ``output_path`` its files lie: 1 for those in the folder itself."""
    may_replace_sources: ClassVar[bool] = False
    """Whether it may write into the folder it reads from: it then writes each file in the place of its source."""

    def __post_init__(self) -> None:
        if not isinstance(self.output_path, str) or not self.output_path:
            raise ConfigurationError(f"output_path is {self.output_path!r}; give a file (*{self.suffix}) or a folder")
        self.output_path = absolute(self.output_path)

    @property
    def is_single_file(self) -> bool:
        return self.output_path.endswith(self.suffix)

    @property
    def output_places(self) -> list[str]:
        """The files, and folders with all below them, that it writes to: what ledgers name elsewhere is left alone."""
        return [self.output_path]

    def reading_from(self, source: SourceStage[Any]) -> WriterStage[In]:
        """Return a copy that knows what the records were read by; for one that writes over what was read."""
        return self

    # Which fields it keeps ------------------------------------------------------------------------------------------

    @property
    def looks_at_fields(self) -> bool:
        """Tell whether it must know before a run which fields records have."""
        return type(self).settle is not WriterStage.settle or type(self).lost is not WriterStage.lost

    @property
    def keeps_any(self) -> bool:
        """Tell whether it has a place for any field, of which nobody knew before the run, too."""
        return True

    def settle(self, fields: Fields) -> dict[str, Any] | None:
        """Settle what all files of the output share, such as columns, as JSON can hold it; None where there is nothing.

        The first run of a folder settles it, and notes it for later ones.

        Args:
            fields: of the records, as far as they are known before the run.

        Raises:
            ConfigurationError: a parameter does not fit the fields.
        """
        return None

    def settled_before(self) -> dict[str, Any] | None:
        """Return what holds for a folder that has output and no note of it, as of version 0.1; None to settle it."""
        return None

    def settled_of(self, storage: Storage, path: str, settled: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was settled for a file of the output, where the note of it is lost.

        Args:
            storage: where the file is.
            path: the file.
            settled: what would be settled now.

        Raises:
            ValueError: the file does not tell, or is damaged.
        """
        raise ValueError(path)

    def with_settled(self, settled: Mapping[str, Any]) -> WriterStage[In]:
        """Return a copy that writes what was settled.

        Raises:
            ValueError: it cannot have been.
        """
        return self

    def lost(self, fields: Fields) -> list[str]:
        """Name the known fields that it would not write although no parameter says so; an error before the run."""
        return []

    def keeps(self) -> list[str]:
        """Name what it writes of a record, for the dry run; nothing where it writes all fields as they are."""
        return []

    def leaves_out(self, fields: Fields) -> list[str]:
        """Name the known fields that it does not write, as its parameters say; for the dry run."""
        return []

    # Writing --------------------------------------------------------------------------------------------------------

    def part_path(self, name: str, parts_folder: str) -> str:
        """Where the part of a partition is written: among the parts that wait to be joined, or as a shard."""
        return join(parts_folder if self.is_single_file else self.output_path, name + self.suffix)

    @abstractmethod
    def write(self, storage: Storage, part_path: str, tasks: Iterable[In]) -> list[Part]:
        """Write the tasks of one partition, each file whole or not at all.

        A record that cannot be written goes to ``self.observed.quarantined``.

        Args:
            storage: where to.
            part_path: the file of a writer that makes one of every partition; for no records there is none.
            tasks: the tasks, each made when it is asked for.
        """

    def process(self, task: In) -> Any:
        raise TypeError(f"writer '{self.name}' writes whole partitions; executors call write()")
