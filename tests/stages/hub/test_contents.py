"""What files hold: their hashes, and as many examples as ``datasets`` finds."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator_audio.errors import RecordError, StorageError
from curator_audio.stages.hub import FileHasherStage
from curator_audio.stages.hub.contents import contents_of
from curator_audio.stages.transfer import FileBatch
from curator_audio.storage.storage import FileInfo, Storage
from tests.extras import needs


def write_tar(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"data"))


def test_hash_and_size(tmp_path: Path) -> None:
    data = bytes(range(256)) * 40_000  # more than a block
    (tmp_path / "a.npz").write_bytes(data)
    assert contents_of(Storage(), f"{tmp_path}/a.npz") == (hashlib.sha256(data).hexdigest(), len(data), 1)


def test_rows_of_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(7))}), tmp_path / "a.parquet")
    sha256, num_bytes, num_rows = contents_of(Storage(), f"{tmp_path}/a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    assert (sha256, num_bytes, num_rows) == (hashlib.sha256(data).hexdigest(), len(data), 7)


@pytest.mark.parametrize(("text", "num_lines"), [(b"", 0), (b"{}\n{}\n", 2), (b"{}\n\n{}", 2)])
def test_lines_of_jsonl(text: bytes, num_lines: int, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(text)
    assert contents_of(Storage(), f"{tmp_path}/a.jsonl")[2] == num_lines


def test_samples_of_a_tar(tmp_path: Path) -> None:
    names = ["a.flac", "a.json", "b.flac", "b.seg.json", "x.y/a.flac", "no_dot", ".hidden.json", "c.flac"]
    write_tar(tmp_path / "a.tar", names)
    sha256, _, num_samples = contents_of(Storage(), f"{tmp_path}/a.tar")
    assert sha256 == hashlib.sha256((tmp_path / "a.tar").read_bytes()).hexdigest()
    assert num_samples == 4  # a, b, x.y/a, c


def test_samples_as_datasets_counts_them(tmp_path: Path) -> None:
    datasets: Any = needs("datasets")
    write_tar(tmp_path / "a.tar", ["a.bin", "b.bin", "d/a.bin", "d/c.bin"])
    loaded = datasets.load_dataset("webdataset", data_files=f"{tmp_path}/a.tar", cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == contents_of(Storage(), f"{tmp_path}/a.tar")[2] == 4


def test_a_parquet_file_whose_footer_is_damaged(tmp_path: Path) -> None:
    """Which pyarrow tells by an error of another kind."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"x" * 100 + (50).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(RecordError, match="unreadable_file: it is no whole Parquet file"):
        contents_of(Storage(), str(tmp_path / "a.parquet"))


@pytest.mark.parametrize("name", ["a.parquet", "a.tar"])
def test_files_that_are_not_what_they_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"something else, and not short of it" * 100)
    with pytest.raises(RecordError, match="unreadable_file: it is no whole"):
        contents_of(Storage(), f"{tmp_path}/{name}")


def test_a_tar_that_was_cut(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", ["a.bin", "b.bin"])
    (tmp_path / "b.tar").write_bytes((tmp_path / "a.tar").read_bytes()[: 512 + 512 + 100])
    with pytest.raises(RecordError, match="no whole tar archive"):
        contents_of(Storage(), f"{tmp_path}/b.tar")


# The stage -----------------------------------------------------------------------------------------------------


def hashed(root: Path) -> tuple[FileHasherStage, list[Any]]:
    stage, storage = FileHasherStage(f"{root}/publish"), Storage()
    files = [storage.info(str(path)) for path in sorted(root.glob("in/*"))]
    return stage, stage.write(storage, "", [FileBatch(f"{root}/in", files)])


def test_parts_are_the_users_own_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_bytes(b"{}")
    _, (part,) = hashed(tmp_path)
    assert (part.path, part.num_bytes, part.num_records) == (f"{tmp_path}/in/a.json", 2, 1)
    assert part.place == "a.json"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.json", "in"]


def test_what_cannot_be_published_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_bytes(b"{}")
    (tmp_path / "in" / "b.parquet").write_bytes(b"cut")
    (tmp_path / "secret").write_bytes(b"elsewhere")
    (tmp_path / "in" / "c.json").symlink_to(tmp_path / "secret")
    stage, parts = hashed(tmp_path)
    assert [part.path for part in parts] == [f"{tmp_path}/in/a.json"]
    assert [(bad.record, bad.reason) for bad in stage.observed.quarantined] == [
        ({"file": "b.parquet"}, "unreadable_file"),
        ({"file": "c.json"}, "link_leaves_root"),
    ]


def test_a_file_that_is_being_written_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    listed = FileInfo(f"{tmp_path}/a.json", 1, "1-0")
    with pytest.raises(StorageError, match=r"a\.json was written again while it was read; run again"):
        FileHasherStage(f"{tmp_path}/out").write(Storage(), "", [FileBatch(str(tmp_path), [listed])])
