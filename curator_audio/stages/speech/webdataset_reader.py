"""Reading segments from WebDataset tar shards."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.ledger import StageMetrics
from curator_audio.stages.io.tar_member import UNREADABLE, TarMember, check_end, check_size
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.sample_reader import SampleReaderStage, values_of_sample
from curator_audio.stages.speech.segment_tree_reader import kinds_and_types
from curator_audio.storage.storage import join
from curator_audio.tasks import AudioBatch, Partition, Record

SAMPLES_LOOKED_AT = 5


@dataclass
class WebDatasetReaderStage(SampleReaderStage):
    """Reads segments from tar shards: of each key a sound file, ``….json`` with its fields and ``….txt`` with its text.

    The files of a key follow one another. Fields of a segment are found by the names they have in known datasets, and
    by those that ``fields`` gives; all others follow under their own names, and so do other files of a key, which are
    called by what follows the key: ``.normalized.txt``. A key with neither sound, text nor codes is quarantined, and so
    is a shard that is no tar file or breaks off, from there on. A segment without an id is named after its key. Where
    the files of a key do not follow one another, each is a segment of its own; that is counted
    (``keys_not_together``).

    Args:
        input_path: the folder or prefix, or a single shard; a local path or any fsspec URL.
        partition_size_mb: shards are put together up to this size in MB (2**20 bytes); 0 leaves each by itself.
        fields: names in the JSON, or of files, by what they are of a segment, as ``{"text": "transcript"}``.

    Raises:
        ConfigurationError: a parameter out of range, or a field that segments do not have.
    """

    partition_size_mb: float = 0.0

    name = "webdataset_reader"
    version = 3
    suffixes: ClassVar[tuple[str, ...]] = (".tar",)

    def kinds_in(self, path: str) -> tuple[dict[str, str], dict[str, str]]:
        with self.tree.open(path) as file:
            samples = islice(_samples(file), SAMPLES_LOOKED_AT)
            found = ((key, files) for key, files in samples if not isinstance(files, RecordError))
            return kinds_and_types([values_of_sample(key, files) for key, files in found])

    def process(self, task: Partition) -> Iterator[AudioBatch]:
        for key in task.inputs:
            path = join(task.source_path, key)
            yield from segment_batches(((record, -1) for record in self._records(path)), path)

    def _records(self, path: str) -> Iterator[Record]:
        try:
            with self.tree.open(path) as file:
                met: set[str] = set()
                for key, files in _samples(file):
                    if key in met:
                        self.log_metric("keys_not_together", 1)
                    met.add(key)
                    try:
                        if isinstance(files, RecordError):
                            raise files
                        yield self.record_of(key, files)
                    except RecordError as error:
                        self.set_aside(f"{path}/{key}", error)
        except (RecordError, AccessError) as error:
            self.set_aside(path, error)

    def remarks_after(self, metrics: StageMetrics) -> list[str]:
        lines = super().remarks_after(metrics)
        if num_apart := metrics.custom.get("keys_not_together"):
            lines.append(
                f"{num_apart:.0f} times files of one key do not follow one another, and became segments of their own; "
                "write the tars in the order of their names (tar --sort=name)"
            )
        return lines


def _samples(file: IO[bytes]) -> Iterator[tuple[str, dict[str, bytes] | RecordError]]:
    """The files of a tar by key: the path up to the first dot of the name, as WebDataset has it.

    Of a key with more than memory should hold there is the error.
    """
    current = ""
    files: dict[str, bytes] = {}
    error: RecordError | None = None
    try:
        num_bytes = file.seek(0, 2)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r|", tarinfo=TarMember) as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # which would grow with the shard
                if not member.isfile():
                    check_end(archive, num_bytes)
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                key, suffix = posixpath.join(folder, stem), suffix.lower()
                if (files or error) and (key != current or suffix in files):
                    yield current, error or files
                    files, error = {}, None
                current = key
                check_end(archive, num_bytes)
                try:
                    check_size(member, sum(map(len, files.values())))
                except RecordError as found:
                    error, files = error or found, {}
                content = archive.extractfile(member) if error is None else None
                if content is not None:
                    files[suffix] = content.read()
    except UNREADABLE as failure:
        raise RecordError("not_tar", f"it is no tar file, or breaks off at '{current}': {failure}") from None
    if files or error:
        yield current, error or files
