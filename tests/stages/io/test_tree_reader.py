from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.stages.base import WorkerInfo
from curator_audio.stages.io import tree_reader
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Input, Inputs, Partition
from tests.text_trees import TextTreeReader, write_tree

BYTE = 2**-20
"""Of a MB."""


def entries(partitions: list[Partition]) -> dict[str, Inputs]:
    """What a ledger would know of partitions that are finished."""
    return {p.name: Inputs.of({place: Input(mark) for place, mark in p.inputs.items()}) for p in partitions}


def keys(partitions: list[Partition]) -> list[list[str]]:
    return [list(partition.inputs) for partition in partitions]


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.getfixturevalue('s3_bucket')}/tree" if request.param == "s3" else f"{tmp_path}/tree"


def test_folders_are_put_together_up_to_the_size(root: str) -> None:
    write_tree(root, {"a/1.txt": "xx", "a/2.txt": "xx", "b/1.txt": "xxx", "c/1.txt": "x" * 9, "d/1.txt": "x"})

    partitions = list(TextTreeReader(root, partition_size_mb=8 * BYTE).partitions())

    assert keys(partitions) == [["a/1.txt", "a/2.txt", "b/1.txt"], ["c/1.txt"], ["d/1.txt"]]
    assert [(p.source_path, p.start, p.end) for p in partitions] == [(root, 0, 7), (root, 0, 9), (root, 0, 1)]
    assert [p.name.partition("-")[0] for p in partitions] == ["000000", "000001", "000002"]
    assert keys(list(TextTreeReader(root, partition_size_mb=0).partitions()))[0] == ["a/1.txt", "a/2.txt"]


def test_a_partition_has_a_limited_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_reader, "MAX_FILES", 3)
    write_tree(f"{tmp_path}/tree", {f"{folder}/{n}.txt": "" for folder in "abc" for n in range(2)})
    assert keys(list(TextTreeReader(f"{tmp_path}/tree").partitions())) == [
        ["a/0.txt", "a/1.txt"],
        ["b/0.txt", "b/1.txt"],
        ["c/0.txt", "c/1.txt"],
    ]


trees = st.dictionaries(
    st.builds(
        "{}/{}.txt".format, st.text("abc-.", min_size=1, max_size=2).filter(lambda n: n[0] != "."), st.integers(0, 3)
    ),
    st.text("x", max_size=5),
    min_size=1,
    max_size=12,
)


@given(trees, st.integers(0, 12))
def test_every_file_is_in_one_partition_and_folders_stay_together(texts: dict[str, str], limit: int) -> None:
    root = f"memory://{uuid.uuid4().hex}/tree"
    write_tree(root, texts)
    partitions = list(TextTreeReader(root, partition_size_mb=limit * BYTE).partitions())

    found = [key for partition in partitions for key in partition.inputs]
    assert sorted(found) == sorted(texts)
    folders = [key.rpartition("/")[0] for key in found]
    assert folders == sorted(folders)
    for partition in partitions:
        inside = {key.rpartition("/")[0] for key in partition.inputs}
        assert not inside & {folder for p in partitions if p is not partition for folder in map(folder_of, p.inputs)}
        assert partition.end <= limit or len(inside) == 1


def folder_of(key: str) -> str:
    return key.rpartition("/")[0]


# What earlier runs had ----------------------------------------------------------------------------------------


def test_new_files_make_new_partitions_but_for_those_of_a_known_group(root: str) -> None:
    texts = {"b/1.txt": "1", "b/3.txt": "3", "c/1.txt": "1"}
    write_tree(root, texts)
    before = list(TextTreeReader(root, partition_size_mb=0).partitions())
    write_tree(root, texts | {"a/1.txt": "new", "b/2.txt": "new", "c/0.txt": "new"}, texts)

    now = list(TextTreeReader(root, partition_size_mb=0).partitions(entries(before)))

    assert keys(now) == [["b/1.txt", "b/2.txt", "b/3.txt"], ["c/0.txt", "c/1.txt"], ["a/1.txt"]]
    assert [p.name for p in now[:2]] == [p.name for p in before], "which keep their names, and are done again"
    assert now[0].inputs.items() > before[0].inputs.items(), "and the marks of what they had"
    assert [p.name.partition("-")[0] for p in now] == ["000000", "000001", "000002"]


def test_a_new_folder_leaves_known_partitions_as_they_were(root: str) -> None:
    texts = {"b/1.txt": "1", "b/3.txt": "3", "c/1.txt": "1"}
    write_tree(root, texts)
    before = list(TextTreeReader(root, partition_size_mb=0).partitions())
    write_tree(root, texts | {"a/1.txt": "new", "bb/2.txt": "new"}, texts)
    now = list(TextTreeReader(root, partition_size_mb=0).partitions(entries(before)))
    assert now[:2] == before and keys(now[2:]) == [["a/1.txt"], ["bb/2.txt"]]


def test_a_new_file_joins_no_partition_of_which_all_of_its_group_is_gone(tmp_path: Path) -> None:
    """That would drop what was made of the others."""
    root = f"{tmp_path}/tree"
    texts = {"a/1.txt": "1", "b/1.txt": "1"}
    write_tree(root, texts)
    before = list(TextTreeReader(root).partitions())
    write_tree(root, {"a/1.txt": "1", "b/2.txt": "2"}, texts)
    assert keys(list(TextTreeReader(root).partitions(entries(before)))) == [["a/1.txt"], ["b/2.txt"]]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1, [["b/1.txt"]]),
        (2, [["b/0.txt", "b/1.txt"]]),
        (3, [["b/0.txt", "b/1.txt", "b/2.txt"]]),
        (4, [["b/0.txt", "b/1.txt", "b/2.txt"], ["a/1.txt"]]),
    ],
)
def test_new_files_of_known_groups_come_first_below_a_limit(
    limit: int, expected: list[list[str]], tmp_path: Path
) -> None:
    root = f"{tmp_path}/tree"
    write_tree(root, {"b/1.txt": "1"})
    before = list(TextTreeReader(root).partitions())
    write_tree(root, {"a/1.txt": "1", "a/2.txt": "1", "b/0.txt": "0", "b/2.txt": "2"})
    now = list(TextTreeReader(root, partition_size_mb=0, limit=limit).partitions(entries(before)))
    assert keys(now) == expected
    assert [p.is_cut for p in now] == [False, True][: len(now)]


def test_files_that_have_gone_leave_their_partition(root: str) -> None:
    texts = {"a/1.txt": "1", "a/2.txt": "2", "b/1.txt": "1"}
    write_tree(root, texts)
    before = list(TextTreeReader(root, partition_size_mb=0).partitions())
    write_tree(root, {"a/2.txt": "2"}, texts)

    (left,) = TextTreeReader(root, partition_size_mb=0).partitions(entries(before))

    assert (left.name, left.inputs) == (before[0].name, {"a/2.txt": before[0].inputs["a/2.txt"]})


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Evening show.txt", "000000-Evening_show"),
        ("show-a285b86337a44f44.txt", "000000-show"),  # of a recording
        ("show-a285b86337a44f44-0000000001234.txt", "000000-show"),  # of a manifest
        ("000007-show.txt", "000000-show"),  # of a tree, as this one's will be
        ("000007.txt", "000000-000007"),
        ("x" * 99 + ".txt", f"000000-{'x' * 40}"),
        (".txt", "000000"),
    ],
)
def test_a_partition_is_named_after_its_first_file_whatever_pipelines_that_has_passed(
    file: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "tree" / "a").mkdir(parents=True)
    (tmp_path / "tree" / "a" / file).write_text("1")
    (partition,) = TextTreeReader(f"{tmp_path}/tree").partitions()
    assert partition.name == name


def test_a_file_that_comes_back_joins_those_it_was_with(root: str) -> None:
    """Their partition was done again without it, and kept the name."""
    texts = {"a/1.txt": "1", "a/2.txt": "2"}
    write_tree(root, texts)
    (first,) = TextTreeReader(root).partitions()
    del first.inputs["a/1.txt"]

    now = list(TextTreeReader(root).partitions(entries([first])))

    assert [(p.name, list(p.inputs)) for p in now] == [(first.name, ["a/1.txt", "a/2.txt"])]


def test_a_changed_file_has_another_mark(root: str) -> None:
    texts = {"a/1.txt": "one", "a/2.txt": "two"}
    write_tree(root, texts)
    (before,) = TextTreeReader(root).partitions()
    write_tree(root, {"a/1.txt": "ONE", "a/2.txt": "two"}, texts)
    (now,) = TextTreeReader(root).partitions(entries([before]))
    assert now.name == before.name
    assert now.inputs["a/1.txt"] != before.inputs["a/1.txt"]
    assert now.inputs["a/2.txt"] == before.inputs["a/2.txt"]


@given(st.lists(trees, min_size=1, max_size=4), st.integers(0, 8))
def test_names_are_unique_and_files_stay_where_they_are(versions: list[dict[str, str]], limit: int) -> None:
    root = f"memory://{uuid.uuid4().hex}/tree"
    known: dict[str, Inputs] = {}
    before: dict[str, str] = {}
    for texts in versions:
        write_tree(root, texts, before)
        partitions = list(TextTreeReader(root, partition_size_mb=limit * BYTE).partitions(known))
        where = {place: name for name, inputs in known.items() for place in inputs.unpacked()}
        assert len({p.name for p in partitions}) == len(partitions)
        assert sorted(key for p in partitions for key in p.inputs) == sorted(texts)
        for partition in partitions:
            assert all(where.get(key, partition.name) == partition.name for key in partition.inputs)
            assert partition.name in known or not any(key in where for key in partition.inputs)
        known |= entries(partitions)
        before = texts


# One file, none, and others ----------------------------------------------------------------------------------


def test_a_single_file(root: str) -> None:
    write_tree(root, {"a/1.txt": "one", "a/2.txt": "two"})
    reader = TextTreeReader(f"{root}/a/1.txt")
    (partition,) = reader.partitions()
    assert (partition.source_path, list(partition.inputs), partition.end) == (f"{root}/a", ["1.txt"], 3)
    assert [record["text"] for batch in reader.process(partition) for record in batch.records] == ["one"]
    assert reader.folders_read() == set()


def test_a_folder_named_like_a_file(root: str) -> None:
    write_tree(f"{root}/all.txt", {"1.txt": "one"})
    reader = TextTreeReader(f"{root}/all.txt/")
    assert keys(list(reader.partitions())) == [["1.txt"]]
    assert reader.folders_read() == {f"{root}/all.txt"}


def test_a_file_that_is_not_there(root: str) -> None:
    with pytest.raises(AccessError, match=r"cannot read .*/none\.txt: there is no such file"):
        list(TextTreeReader(f"{root}/none.txt").partitions())


def test_nothing_to_read(root: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"nothing to read below .*/tree: there are no files; it takes \*\.txt"
    ):
        list(TextTreeReader(root).partitions())
    Storage().write(f"{root}/a.wav", b"")
    with pytest.raises(
        ConfigurationError, match=r"none of the 1 files there is read; it takes \*\.txt; check the path"
    ):
        list(TextTreeReader(root).partitions())


def test_what_runs_keep_for_themselves_is_no_input(root: str) -> None:
    names = ["_ledger/entries.txt", "quarantine/part-a.jsonl", "metrics.json", "quarantine/recordings.txt", "a/1.txt"]
    for name in names:
        Storage().write(f"{root}/{name}", b"")
    assert keys(list(TextTreeReader(root).partitions())) == [["a/1.txt", "quarantine/recordings.txt"]]


def test_the_files_are_listed_anew_for_every_run(tmp_path: Path) -> None:
    write_tree(f"{tmp_path}/tree", {"a/1.txt": ""})
    reader = TextTreeReader(f"{tmp_path}/tree")
    assert keys(list(reader.partitions())) == [["a/1.txt"]]
    write_tree(f"{tmp_path}/tree", {"a/2.txt": ""})
    reader.setup(WorkerInfo())
    assert keys(list(reader.partitions())) == [["a/1.txt", "a/2.txt"]]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"input_path": ""}, "input_path is ''; give a folder or prefix"),
        ({"input_path": None}, "input_path is None; give a folder or prefix"),
        ({"input_path": "in", "partition_size_mb": -1}, "partition_size_mb is -1; give a number of MB"),
        ({"input_path": "in", "partition_size_mb": float("nan")}, "partition_size_mb is nan"),
        ({"input_path": "in", "partition_size_mb": True}, "partition_size_mb is True"),
        ({"input_path": "in", "partition_size_mb": "64"}, "partition_size_mb is '64'"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TextTreeReader(**parameters)
