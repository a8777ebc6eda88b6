"""Every reader of a tree passes by what lies outside of it, and tells so."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.finalizers.hub.files import _told_beside
from curator_audio.stages.io import ManifestReaderStage
from curator_audio.stages.source import SourceStage
from curator_audio.stages.speech.npz_reader import NpzReaderStage
from curator_audio.stages.speech.pair_reader import PairReaderStage
from curator_audio.stages.speech.parquet_reader import SegmentParquetReaderStage
from curator_audio.stages.speech.parquet_writer import SegmentParquetWriterStage
from curator_audio.stages.speech.recording_reader import RecordingReaderStage
from curator_audio.stages.speech.webdataset_reader import WebDatasetReaderStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import AudioBatch
from tests.segments import npz, segment


def write_parquet(path: Path) -> None:
    SegmentParquetWriterStage(str(path.parent)).write(Storage(), str(path), [AudioBatch([segment(path.stem)])])


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(f"{path.stem}.txt")
        member.size = len(path.stem)
        archive.addfile(member, io.BytesIO(path.stem.encode()))


def write_npz(path: Path) -> None:
    path.write_bytes(npz())


def write_manifest(path: Path) -> None:
    line = json.dumps({"segment_id": path.name.partition(".")[0], "audio_filepath": f"{path.name}.wav"}).encode()
    path.write_bytes(gzip.compress(line) if path.suffix == ".gz" else line)


KINDS: dict[str, tuple[type[SourceStage[AudioBatch]], Callable[[Path], None], str]] = {
    "npz": (NpzReaderStage, write_npz, ".npz"),
    "parquet": (SegmentParquetReaderStage, write_parquet, ".parquet"),
    "tar": (WebDatasetReaderStage, write_tar, ".tar"),
    "manifest": (ManifestReaderStage, write_manifest, ".jsonl"),
    "packed manifest": (ManifestReaderStage, write_manifest, ".jsonl.gz"),
    "recordings": (RecordingReaderStage, write_manifest, ".jsonl"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_links_in_a_tree(tmp_path: Path, kind: str) -> None:
    reader_of, write, suffix = KINDS[kind]
    for folder in ("tree/news", "other"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("tree/news/a", "tree/news/b", "other/c", "other/d"):
        write(tmp_path / f"{name}{suffix}")
    (tmp_path / f"tree/news/0{suffix}").symlink_to(tmp_path / f"other/c{suffix}")
    (tmp_path / f"tree/news/e{suffix}").symlink_to("nowhere")
    (tmp_path / "tree/folder").symlink_to("../other")
    (tmp_path / f"other/{suffix}").symlink_to(tmp_path / f"tree/news/b{suffix}")
    (tmp_path / f"tree/again{suffix}").symlink_to(tmp_path / f"other/{suffix}")  # by way of outside
    (tmp_path / "alias").symlink_to("tree")

    reader = reader_of(str(tmp_path / "alias"))  # type: ignore[call-arg]
    reader.sampled_fields()
    partitions = list(reader.partitions())
    records = [record for partition in partitions for batch in reader.process(partition) for record in batch.records]

    # Of a tree of npz files, which alone names segments after the file, and after its folder.
    ids = ["again", "news/a", "news/b"] if kind == "npz" else ["a", "b", "b"]
    assert sorted(record["segment_id"] for record in records) == ids
    assert {os.path.basename(bad.source_path): bad.reason for bad in reader.observed.quarantined} == {
        f"0{suffix}": "link_leaves_root",
        f"e{suffix}": "broken_link",
        "folder": "link_leaves_root",
    }
    assert all(bad.record == {"file": os.path.basename(bad.source_path)} for bad in reader.observed.quarantined)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_named_itself_may_be_a_link(tmp_path: Path, kind: str) -> None:
    reader_of, write, suffix = KINDS[kind]
    (tmp_path / "other").mkdir()
    write(tmp_path / f"other/c{suffix}")
    (tmp_path / f"link{suffix}").symlink_to(tmp_path / f"other/c{suffix}")
    reader = reader_of(str(tmp_path / f"link{suffix}"))  # type: ignore[call-arg]
    batches = [batch for partition in reader.partitions() for batch in reader.process(partition)]
    assert [len(batch.records) for batch in batches] == [1] and reader.observed.quarantined == []


def test_a_glob_of_manifests(tmp_path: Path) -> None:
    for folder in ("data/x", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("data/x/a", "elsewhere/c"):
        write_manifest(tmp_path / f"{name}.jsonl")
    (tmp_path / "data/x/0.jsonl").symlink_to(tmp_path / "elsewhere/c.jsonl")
    reader = ManifestReaderStage(str(tmp_path / "data/*/*.jsonl"))
    assert "segment_id" in reader.sampled_fields().known
    found = [batch.records[0]["segment_id"] for part in reader.partitions() for batch in reader.process(part)]
    assert found == ["a"]
    assert [(bad.reason, bad.record) for bad in reader.observed.quarantined] == [
        ("link_leaves_root", {"file": "0.jsonl"})
    ]


def test_pairs_are_not_drawn_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    write_parquet(tmp_path / "c.parquet")
    (tmp_path / "tree/0.parquet").symlink_to("../c.parquet")
    with pytest.raises(ConfigurationError, match=r"tree/0\.parquet .*it is a link to .*c\.parquet; put that below"):
        list(PairReaderStage(str(tmp_path / "tree")).partitions())


def test_the_figures_of_a_card_are_not_taken_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "other.json").write_text('{"pipeline": "p", "stages": {}}')
    (tmp_path / "tree/metrics.json").symlink_to("../other.json")
    assert _told_beside(Storage(), str(tmp_path / "tree")) is None
