"""Reading segments from WebDataset tar shards."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, Any, ClassVar

from curator_audio.errors import AccessError, RecordError
from curator_audio.ledger import StageMetrics
from curator_audio.stages.io.tar_member import UNREADABLE, TarMember, check_end, check_size
from curator_audio.stages.speech.batches import segment_batches
from curator_audio.stages.speech.foreign_fields import kind_of, taken
from curator_audio.stages.speech.npz import recording_of
from curator_audio.stages.speech.segment_tree_reader import SegmentTreeReaderStage, kinds_of
from curator_audio.stages.speech.segments import foreign_segment, id_in, name_in
from curator_audio.storage.json_codec import decode_line
from curator_audio.storage.storage import join
from curator_audio.storage.valid_text import decoded_utf8
from curator_audio.tasks import AudioBatch, Partition, Record

SOUND = ("flac", "wav", "mp3", "ogg", "opus", "m4a")
MAX_TEXT_BYTES = 2**16
"""How large a file may be that is looked into as a text: one of a segment is smaller."""
SAMPLES_LOOKED_AT = 5


@dataclass
class WebDatasetReaderStage(SegmentTreeReaderStage):
    """Reads segments from tar shards: of each key a sound file, ``….json`` with its fields and ``….txt`` with its text.

    The files of a key follow one another. Fields are found by the names they have in known datasets, and by those that
    ``fields`` gives; others are left out and named. So are other files of a key, which are called by what follows the
    key: ``.normalized.txt``. A key with neither sound, text nor codes is quarantined, and so is a shard that is no tar
    file or breaks off, from there on. A segment without an id is named after its key. Where the files of a key do not
    follow one another, each is a segment of its own; that is counted (``keys_not_together``).

    Args:
        input_path: the folder or prefix, or a single shard; a local path or any fsspec URL.
        partition_size_mb: shards are put together up to this size in MB (2**20 bytes); 0 leaves each by itself.
        fields: names in the JSON, or of files, by what they are of a segment, as ``{"text": "transcript"}``.

    Raises:
        ConfigurationError: a parameter out of range, or a field that segments do not have.
    """

    partition_size_mb: float = 0.0

    name = "webdataset_reader"
    version = 2
    suffixes: ClassVar[tuple[str, ...]] = (".tar",)

    def kinds_in(self, path: str) -> dict[str, str]:
        with self.tree.open(path) as file:
            samples = islice(_samples(file), SAMPLES_LOOKED_AT)
            found = ((key, files) for key, files in samples if not isinstance(files, RecordError))
            return kinds_of(_kinds(_described(key, files), files) for key, files in found)

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
                        yield self._record(key, files)
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

    def _record(self, key: str, files: dict[str, bytes]) -> Record:
        folder, _, name = key.rpartition("/")
        described = _described(key, files)
        sources = self.sources_in(_kinds(described, files))
        without_sound = {field: other for field, other in sources.of.items() if field != "audio"}
        record = self.usable(foreign_segment(taken(described, replace(sources, of=without_sound)), ""))
        sound = next((suffix for suffix in SOUND if suffix in files), None)
        if sound is not None:
            record["audio"] = {"bytes": files[sound], "path": f"{name}.{sound}"}
        if sound is None and not record["text"] and not record["codes"]:
            there = ", ".join(f"*.{suffix}" for suffix in files)
            raise RecordError(
                "missing_field", f"{key} has neither sound ({', '.join(SOUND)}), text nor codes, only {there}"
            )
        if not record["channel"] and posixpath.basename(folder) not in ("", ".", ".."):
            record["channel"] = posixpath.basename(folder)
        record["segment_id"] = record["segment_id"] or id_in(record["channel"], name)
        stem = name_in(record["channel"], record["segment_id"])
        record["audio_id"] = record["audio_id"] or recording_of(stem)
        recording = record["audio_id"] if record["audio_id"] != stem else None
        return self.checked(record, described, replace(sources, of=without_sound), recording)


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


def _described(key: str, files: dict[str, bytes]) -> dict[str, Any]:
    """What a key's ``.json`` says; a ``.txt`` is its text where it says none."""
    described = decode_line(files["json"]) if "json" in files else {}
    if not isinstance(described, dict):
        raise RecordError("not_an_object", f"{key}.json holds a {type(described).__name__}, not a JSON object")
    if "txt" in files and not described.get("text"):
        described["text"] = decoded_utf8(files["txt"], f"{key}.txt").removeprefix("\ufeff").strip()
    for suffix, data in _others(files):
        described.setdefault(f".{suffix}", _text_in(data))
    return described


def _others(files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The files of a key that have no place of their own."""
    return ((suffix, data) for suffix, data in files.items() if suffix not in (*SOUND, "json", "txt"))


def _text_in(data: bytes) -> str | None:
    """What a file holds if it is a text; None if it is something else."""
    if len(data) > MAX_TEXT_BYTES or b"\0" in data:
        return None
    try:
        return data.decode().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        return None


def _kinds(described: dict[str, Any], files: dict[str, bytes]) -> dict[str, str]:
    """What there is of a key: the fields of its ``.json``, and files that are neither sound nor text."""
    kinds = {name: kind_of(value) for name, value in described.items()}
    return kinds | {name: "other" for suffix, _ in _others(files) if kinds[name := f".{suffix}"] == "none"}
