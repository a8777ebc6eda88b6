"""Which speakers go into one list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.stages.interleave import BatchListWriterStage, SpeakerBatchReaderStage
from curator_audio.storage.storage import Storage
from tests.stages.interleave.trees import write_tree


def lists_of(root: str | Path, **parameters: Any) -> dict[str, list[str]]:
    reader = SpeakerBatchReaderStage(str(root), **parameters)
    lists = {}
    for partition in reader.partitions():
        (batch,) = reader.process(partition)
        lists[partition.name] = BatchListWriterStage("lists").encode(batch).decode().splitlines()
    return lists


def test_distinct_speakers_by_batch_sorted(tmp_path: Path) -> None:
    write_tree(tmp_path, {"26/495": 1, "1472/1438": 2, "1472/1437": 1, "3/1": 1})
    assert lists_of(tmp_path, speakers_per_batch=2) == {
        "train-0000-of-0002": ["1472-1437", "1472-1438", "26-495"],
        "train-0001-of-0002": ["3-1"],
    }
    assert list(lists_of(tmp_path, split="dev")) == ["dev-0000-of-0001"]


def test_what_is_no_folder_of_segments_is_left_out(tmp_path: Path) -> None:
    write_tree(tmp_path, {"26/495": 1})
    for path in ("26/notes.json", "readme.json", "26/495/deep/er.json", "27/1/a.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("{}")
    (tmp_path / "28/1").mkdir(parents=True)
    assert lists_of(tmp_path) == {"train-0000-of-0001": ["26-495"]}


def test_links_to_folders_are_told_and_not_followed(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", {"26/495": 1, "27/1": 1})
    write_tree(tmp_path / "elsewhere", {"3/1": 1, "4/2": 1})
    (tmp_path / "tree/3").symlink_to(tmp_path / "elsewhere/3")
    (tmp_path / "tree/26/2").symlink_to(tmp_path / "elsewhere/4/2")
    (tmp_path / "tree/28").symlink_to("27")
    (tmp_path / "tree/26/loop").symlink_to("..")
    (tmp_path / "tree/26/nowhere").symlink_to("nothing")
    (tmp_path / "link").symlink_to("tree")
    reader = SpeakerBatchReaderStage(str(tmp_path / "link"))
    (partition,) = reader.partitions()
    (batch,) = reader.process(partition)
    assert [record["folder"] for record in batch.records] == ["26-495", "27-1"]
    assert {bad.record["folder"]: bad.reason for bad in reader.observed.quarantined} == {
        "3/": "link_leaves_root",
        "26/2": "link_leaves_root",
        "28/": "link_to_folder",
        "26/loop": "link_leaves_root",
    }


def test_a_store_is_listed_with_a_handful_of_requests(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.hooks import HierarchicalEmitter

    write_tree(f"{s3_bucket}/tree", {f"{speaker}/{book}": 1 for speaker in range(30) for book in range(4)})
    asked: list[str] = []
    real = HierarchicalEmitter.emit

    def watched(self: Any, event_name: str, **kwargs: Any) -> Any:
        if event_name.startswith("before-call."):
            asked.append(event_name.rsplit(".", 1)[1])
        return real(self, event_name, **kwargs)

    monkeypatch.setattr(HierarchicalEmitter, "emit", watched)
    lists = lists_of(f"{s3_bucket}/tree")
    assert len(lists) == 3 and sum(map(len, lists.values())) == 120
    assert len(asked) <= 5


def test_lists_of_another_number_go_whatever_the_limit(tmp_path: Path) -> None:
    def lists(limit: int | None) -> dict[str, str]:
        reader = SpeakerBatchReaderStage(f"{tmp_path}/tree", speakers_per_batch=1, limit=limit)
        Pipeline("lists", [reader, BatchListWriterStage(f"{tmp_path}/lists")]).run(LocalExecutor())
        return {path.stem: path.read_text().strip() for path in sorted((tmp_path / "lists").glob("*.txt"))}

    write_tree(tmp_path / "tree", {"1/1": 1, "2/1": 1, "3/1": 1})
    of_three = {"train-0000-of-0003": "1-1", "train-0001-of-0003": "2-1"}
    assert lists(2) == of_three
    assert lists(1) == of_three, "what is done stays"
    write_tree(tmp_path / "tree", {"0/1": 1})
    assert lists(1) == {"train-0000-of-0004": "0-1"}
    assert list(lists(None).values()) == ["0-1", "1-1", "2-1", "3-1"]


@given(
    st.dictionaries(st.integers(0, 50), st.sets(st.integers(0, 9), min_size=1, max_size=3), min_size=1, max_size=20),
    st.integers(1, 8),
)
def test_every_folder_is_in_one_list_and_speakers_are_not_torn_apart(
    books: dict[int, set[int]], speakers_per_batch: int
) -> None:
    storage = Storage()
    storage.delete([file.path for file in storage.list_files("memory://speakers")])
    for speaker, of_speaker in books.items():
        for book in of_speaker:
            storage.write(f"memory://speakers/{speaker}/{book}/a.json", b"{}")
    lists = lists_of("memory://speakers", speakers_per_batch=speakers_per_batch)
    lines = [line for of_list in lists.values() for line in of_list]
    assert sorted(lines) == sorted(f"{speaker}-{book}" for speaker, them in books.items() for book in them)
    speakers = [list(dict.fromkeys(line.split("-")[0] for line in of_list)) for of_list in lists.values()]
    assert [name for them in speakers for name in them] == sorted(map(str, books))
    assert (
        all(len(them) == speakers_per_batch for them in speakers[:-1]) and 0 < len(speakers[-1]) <= speakers_per_batch
    )
    assert list(lists) == [f"train-{number:04d}-of-{len(lists):04d}" for number in range(len(lists))]


def test_a_folder_that_no_line_can_name_is_set_aside(tmp_path: Path) -> None:
    write_tree(tmp_path, {"26/495": 1, "27 /1": 1, "28/a ": 1})
    reader = SpeakerBatchReaderStage(str(tmp_path))
    (partition,) = reader.partitions()
    (batch,) = reader.process(partition)
    assert batch.records == [{"folder": "26-495"}, {"folder": "27 -1"}]
    (bad,) = reader.observed.quarantined
    assert (bad.reason, bad.record) == ("invalid_name", {"folder": "28/a "})


@pytest.mark.parametrize(
    ("folders", "parameters", "message"),
    [
        ([], {}, "there are no folders of speakers and books in .*; it takes {speaker_id}/{book_id}/"),
        (["a/b-c", "a-b/c"], {}, "a/b-c and a-b/c would be the same line of a list; rename one|a-b/c and a/b-c would"),
        (["a/b"], {"speakers_per_batch": 0}, "speakers_per_batch is 0; give a whole number of at least 1"),
        (["a/b"], {"split": "a/b"}, "split is 'a/b'; give a name such as train"),
        (["a/b"], {"split": ""}, "split is ''; give a name such as train"),
    ],
)
def test_what_is_refused(folders: list[str], parameters: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_tree(tmp_path, dict.fromkeys(folders, 1))
    with pytest.raises(ConfigurationError, match=message):
        lists_of(tmp_path, **parameters)
