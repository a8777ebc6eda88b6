"""Reading segments from WebDataset tar shards."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, Any, ClassVar

from curator_audio.errors import AccessError, RecordError
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
SAMPLES_LOOKED_AT = 5


@dataclass
class WebDatasetReaderStage(SegmentTreeReaderStage):
    """Reads segments from tar shards: of each key a sound file, ``….json`` with its fields and ``….txt`` with its text.

    The files of a key follow one another. Fields are found by the names they have in known datasets, and by those that
    ``fields`` gives; others are left out and named. A key with neither sound, text nor codes is quarantined, and so is
    a shard that is no tar file or breaks off, from there on. A segment without an id is named after its key.

    Args:
        input_path: the folder or prefix, or a single shard; a local path or any fsspec URL.
        partition_size_mb: shards are put together up to this size in MB (2**20 bytes); 0 leaves each by itself.
        fields: names in the JSON by what they are of a segment, as ``{"text": "transcript"}``.

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
        for key in task.keys:
            path = join(task.source_path, key)
            yield from segment_batches(((record, -1) for record in self._records(path)), path)

    def _records(self, path: str) -> Iterator[Record]:
        try:
            with self.tree.open(path) as file:
                for key, files in _samples(file):
                    try:
                        if isinstance(files, RecordError):
                            raise files
                        yield self._record(key, files)
                    except RecordError as error:
                        self.set_aside(f"{path}/{key}", error)
        except (RecordError, AccessError) as error:
            self.set_aside(path, error)

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
    return described


def _kinds(described: dict[str, Any], files: dict[str, bytes]) -> dict[str, str]:
    """What there is of a key: the fields of its ``.json``, and files that are neither sound nor text."""
    others = {f".{suffix}": "other" for suffix in files if suffix not in (*SOUND, "json", "txt")}
    return {name: kind_of(value) for name, value in described.items()} | others
