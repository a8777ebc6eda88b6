from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.ledger import Ledger, LedgerEntry
from curator_audio.pipeline.pending import Pending
from curator_audio.stages.transfer import FileCopierStage, FileTreeReaderStage
from curator_audio.storage.storage import FileInfo, Storage
from curator_audio.tasks import Input, Inputs, Partition
from tests.stages.transfer.trees import write

BYTE = 2**-20
"""Of a MB."""


def keys(partitions: list[Partition]) -> list[str]:
    return [key for partition in partitions for key in partition.inputs]


def finished(partitions: list[Partition]) -> dict[str, Inputs]:
    """What a ledger knows of partitions that are done."""
    return {p.name: Inputs.of({place: Input(mark) for place, mark in p.inputs.items()}) for p in partitions}


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        (None, ["a.npz", "news/a.npz", "news/a.txt", "news/sub/b.npz", "talks/c.npz"]),
        ("*.npz", ["a.npz", "news/a.npz", "news/sub/b.npz", "talks/c.npz"]),
        ("news/*", ["news/a.npz", "news/a.txt", "news/sub/b.npz"]),
        ("news/?.npz", ["news/a.npz"]),
        ("news", []),
        ("a.npz", ["a.npz"]),
        (["talks/*", "*.txt"], ["news/a.txt", "talks/c.npz"]),
        ("[nt]*/[bc].npz", ["news/sub/b.npz", "talks/c.npz"]),
        ("*.NPZ", []),
    ],
)
def test_a_pattern_is_held_against_the_whole_path_below_the_folder(
    include: Any, expected: list[str], tmp_path: Path
) -> None:
    write(str(tmp_path), dict.fromkeys(["a.npz", "news/a.npz", "news/a.txt", "news/sub/b.npz", "talks/c.npz"], b"x"))
    reader = FileTreeReaderStage(str(tmp_path), include=include)
    if expected:
        assert keys(list(reader.partitions())) == expected
        assert reader.num_bytes() == len(expected)
    else:
        with pytest.raises(
            ConfigurationError, match=f"^include={include.replace('*', '.')} matches none of the 5 files"
        ):
            list(reader.partitions())


trees = st.sets(st.text("ab/.", min_size=1, max_size=4).map(lambda name: f"f{name}f".replace("//", "/")), min_size=1)
patterns = st.none() | st.sampled_from(["*", "f*a*", "*/*", "f?f", "*bf"])
limits = st.lists(st.integers(1, 6) | st.none(), max_size=3).map(lambda given: [*given, None])


@given(trees, st.lists(patterns, min_size=1, max_size=3), limits, st.integers(1, 4))
def test_runs_with_other_limits_and_patterns_go_on_from_there(
    names: set[str], includes: list[str | None], limits: list[int | None], size: int
) -> None:
    """Whatever order they come in: no file twice, never more than the limit, and in the end all that are included."""
    root = f"memory://{uuid.uuid4().hex}"
    write(root, dict.fromkeys(names, b"xx"))
    done: dict[str, Inputs] = {}
    for include in includes:
        for limit in limits:
            reader = FileTreeReaderStage(root, size * BYTE, include, limit=limit)
            included = sorted(name for name in names if reader.is_selected(name))
            if not included:
                break
            before = {key for entry in done.values() for key in entry.unpacked()}
            partitions = list(reader.partitions(done))
            new = [partition for partition in partitions if partition.name not in done]
            assert [p for p in partitions if p.name in done] == [p for p in partitions if p not in new]
            wanted = [name for name in included if name not in before]
            room = len(wanted) if limit is None else max(0, limit - (len(included) - len(wanted)))
            assert keys(new) == wanted[:room]
            done |= finished(new)
        else:
            assert set(included) <= {key for entry in done.values() for key in entry.unpacked()}


def test_what_a_killed_run_had_only_begun_counts_as_not_done(tmp_path: Path) -> None:
    write(str(tmp_path), {f"{n}.wav": b"x" for n in range(6)})
    (all_of_it,) = FileTreeReaderStage(str(tmp_path)).partitions()
    ledger = Ledger(Storage(), f"{tmp_path}-out")
    ledger.note_started([LedgerEntry.started(all_of_it, "", "", "")])
    ledger.load()

    pending = Pending(FileTreeReaderStage(str(tmp_path), limit=2), ledger, FileCopierStage(f"{tmp_path}-out"))
    assert keys(list(pending)) == ["0.wav", "1.wav"]


def test_what_runs_keep_for_themselves_and_half_written_files_are_passed_over(tmp_path: Path) -> None:
    mine = ["metrics.json", "quarantine/part-mine.jsonl", ".hidden", "a.tmp", "run/a.npz", "run/quarantine/mine.txt"]
    theirs = ["run/_ledger/entries.jsonl", "run/metrics.json", "run/quarantine/part-a.jsonl", "sub/.a.0123456789ab.tmp"]
    write(str(tmp_path), dict.fromkeys([*mine, *theirs], b""))
    (tmp_path / "empty" / "folder").mkdir(parents=True)

    assert keys(list(FileTreeReaderStage(str(tmp_path)).partitions())) == sorted(mine)


def test_objects_that_stand_for_a_folder_are_passed_over(s3_bucket: str) -> None:
    Storage()._filesystem(s3_bucket).pipe_file(f"{s3_bucket}/tree/news/", b"")
    write(f"{s3_bucket}/tree", {"news/a.wav": b"x"})

    assert keys(list(FileTreeReaderStage(f"{s3_bucket}/tree").partitions())) == ["news/a.wav"]


def test_a_batch_tells_sizes_and_versions_without_looking_again(s3_bucket: str) -> None:
    write(f"{s3_bucket}/tree", {"a.wav": b"hello", "b/c.wav": b""})
    reader = FileTreeReaderStage(f"{s3_bucket}/tree")
    (partition,) = reader.partitions()
    (batch,) = reader.process(partition)

    assert batch.root == f"{s3_bucket}/tree"
    assert batch.files == [
        FileInfo(f"{s3_bucket}/tree/a.wav", 5, "5-5d41402abc4b2a76b9719d911017c592"),
        FileInfo(f"{s3_bucket}/tree/b/c.wav", 0, "0-d41d8cd98f00b204e9800998ecf8427e"),
    ]
    assert (batch.num_items, partition.end) == (2, 5)


def test_a_link_has_size_and_version_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    (tmp_path / "link").symlink_to("file")
    os.utime(tmp_path / "file", (1, 1))
    (partition,) = FileTreeReaderStage(str(tmp_path)).partitions()

    assert partition.inputs == {"file": "5-1.0", "link": "5-1.0"}


def test_a_file_is_not_a_folder(tmp_path: Path, s3_bucket: str) -> None:
    for root in (str(tmp_path), s3_bucket):
        write(root, {"sub/a.wav": b"x"})
        with pytest.raises(ConfigurationError) as raised:
            list(FileTreeReaderStage(f"{root}/sub/a.wav").partitions())
        assert str(raised.value) == f"{root}/sub/a.wav is a file; give input_path={root}/sub and include=a.wav"


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder in a tree that this process may not look into, not even where it is root."""
    with tempfile.TemporaryDirectory() as root:
        closed = Path(root) / "a" / "closed"
        closed.mkdir(parents=True)
        write(root, {"a/open.wav": b"x", "a/closed/b.wav": b"y"})
        for path, mode in ((root, 0o755), (closed, 0)):
            os.chmod(path, mode)
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.seteuid(65534)
            yield closed
        finally:
            if is_root:
                os.seteuid(0)
            closed.chmod(0o755)


def test_no_folder_is_left_out_in_silence(closed_folder: Path) -> None:
    with pytest.raises(AccessError, match=f"^cannot list {closed_folder}: access denied; check its owner and permissi"):
        list(FileTreeReaderStage(str(closed_folder.parent.parent)).partitions())


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_nothing_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ConfigurationError, match=f"^nothing to read below {tmp_path}/{name}: there are no files; check"
    ):
        list(FileTreeReaderStage(f"{tmp_path}/{name}").partitions())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"limit": 0}, "limit is 0; give a whole number of at least 1, or null for all"),
        ({"limit": True}, "limit is True"),
        ({"limit": 1.5}, "limit is 1.5"),
        ({"limit": "10"}, "limit is '10'"),
        ({"include": []}, "include is []; give a pattern such as '*.wav', or a list of them"),
        ({"include": ""}, "include is ''"),
        ({"include": [3]}, "include is [3]"),
        ({"include": {"a": "b"}}, "include is {'a': 'b'}"),
        ({"input_path": ""}, "input_path is ''"),
        ({"partition_size_mb": -1}, "partition_size_mb is -1"),
    ],
)
def test_parameters_are_checked(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        FileTreeReaderStage(**{"input_path": "/data", **parameters})
    assert str(raised.value).startswith(message)
