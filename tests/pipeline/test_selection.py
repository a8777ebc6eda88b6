"""What chooses partitions is not what configures: runs that take other parts of a source, and sources that moved."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.report.dry_run import dry_run
from curator_audio.report.result import RunResult
from curator_audio.report.summary import summary
from curator_audio.stages.general import CallFunctionStage, GetAudioDurationStage
from curator_audio.stages.interleave import SegmentJsonReaderStage
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.stages.speech import RecordingReaderStage
from tests.pipeline.old_ledgers import pipelines, run
from tests.text_trees import TextTreeReader, write_tree


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@dataclass
class Corpus:
    """Six recordings of two channels, and runs over them that write one file."""

    root: Path
    log: Path = field(init=False)
    place: str = "in"

    def __post_init__(self) -> None:
        self.log = self.root / "log"
        for name in ("b/1", "a/1", "b/2", "a/2", "a/3", "b/3"):
            path = self.root / f"in/{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        names = ("b/1", "a/1", "b/2", "a/2", "a/3", "b/3")
        (self.root / "in/in.jsonl").write_text(lines(*({"audio_filepath": f"{name}.wav"} for name in names)))

    def pipeline(self, out: str, **selection: Any) -> Pipeline:
        reader = RecordingReaderStage(f"{self.root}/{self.place}/in.jsonl", **selection)
        noting = CallFunctionStage("tests.functions.noted", {"log_path": str(self.log)})
        return Pipeline("test", [reader, noting, ManifestWriterStage(f"{self.root}/{out}/all.jsonl")], [JoinParts()])

    def run(self, out: str, **selection: Any) -> tuple[list[str], RunResult]:
        """The recordings that were done, and what came of the run."""
        self.log.write_text("")
        result = self.pipeline(out, **selection).run(LocalExecutor())
        return self.log.read_text().split(), result

    def output(self, out: str) -> bytes:
        return (self.root / out / "all.jsonl").read_bytes()


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def test_channels_one_after_the_other(corpus: Corpus) -> None:
    assert corpus.run("out", channels=["b"])[0] == ["b/1.wav", "b/2.wav", "b/3.wav"]
    assert corpus.run("out", channels=["a", "b"])[0] == ["a/1.wav", "a/2.wav", "a/3.wav"]
    both = corpus.output("out")

    seen, result = corpus.run("out", channels=["b"])
    assert seen == [] and corpus.output("out") == both
    assert result.num_output_records == 6, "output_dir holds one truth"
    assert "  Outside of the selection: 3 partitions with 3 records, kept" in summary(result)
    assert result.to_json()["partitions"]["outside_selection"] == 3

    corpus.run("together", channels=["a", "b"])
    assert corpus.output("together") == both
    assert corpus.run("out")[0] == [], "all there are"


def test_a_dry_run_shows_the_one_truth(corpus: Corpus) -> None:
    corpus.run("out", channels=["a"])
    out = f"{corpus.root}/out"
    told = dry_run(corpus.pipeline("out", channels=["b"]), LocalExecutor(), out, {})
    assert "partitions: 3 to do, 0 done before, 3 outside of the selection\n" in told
    assert "partitions: 3 to do, 3 done before\n" in dry_run(corpus.pipeline("out"), LocalExecutor(), out, {})


def test_the_joined_file_is_that_of_the_entries_whatever_the_way_there(corpus: Corpus) -> None:
    corpus.run("at_once")
    for step in ({"limit": 2}, {"channels": ["a"]}, {"limit": 4, "channels": ["b"]}, {}):
        corpus.run("by_steps", **step)
    assert corpus.output("by_steps") == corpus.output("at_once")


def test_another_parameter_is_refused_with_what_it_costs(corpus: Corpus) -> None:
    corpus.run("out", channels=["a"])
    with pytest.raises(ConfigurationError) as refused:
        corpus.run("out", channels=["b"], channel_mapping={"b": "c"})
    message = str(refused.value)
    assert "another configuration: recording_reader.channel_mapping.b: null" in message
    assert message.endswith("or overwrite=true to replace it (its 3 partition(s) would be done again)")


# Limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
@pytest.mark.parametrize("limit", [1, 7, 8, 20])
def test_the_first_lines_of_a_manifest(name: str, limit: int, tmp_path: Path) -> None:
    data = lines(*({"n": n, "text": "x" * (n % 5)} for n in range(20))).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)

    def output(out: str, limit: int | None = None) -> tuple[list[int], RunResult]:
        reader = ManifestReaderStage(f"{tmp_path}/{name}", 0.0001, limit=limit)
        writer = ManifestWriterStage(f"{tmp_path}/{out}/all.jsonl")
        result = Pipeline("test", [reader, writer], [JoinParts()]).run(LocalExecutor())
        return [json.loads(line)["n"] for line in (tmp_path / out / "all.jsonl").read_text().splitlines()], result

    whole, done = output("whole")
    numbers, first = output("out", limit)
    assert numbers == list(range(limit))
    assert {e.partition for e in first.entries} <= {e.partition for e in done.entries}, "with their full names"
    assert output("out", limit)[1].num_done_before == len(first.entries)
    assert output("out", 8)[0] == list(range(max(limit, 8)))
    assert output("out")[0] == whole
    numbers, again = output("out", limit)
    assert numbers == whole and again.num_done_before == len(first.entries), "what is done is not done to less"


@pytest.mark.parametrize("limit", [1, 3, 4, 9])
def test_the_first_files_of_a_tree(limit: int, tmp_path: Path) -> None:
    tree = {f"{folder}/{n}.txt": f"{folder}{n}" for folder in "abc" for n in range(3)}
    write_tree(f"{tmp_path}/in", tree)

    def output(out: str, limit: int | None = None, size: int = 10) -> tuple[dict[str, bytes], RunResult]:
        reader = TextTreeReader(f"{tmp_path}/in", size / 2**20, limit=limit)
        result = Pipeline("test", [reader, ManifestWriterStage(f"{tmp_path}/{out}/lines")]).run(
            LocalExecutor(), output_dir=f"{tmp_path}/{out}"
        )
        return {path.name: path.read_bytes() for path in (tmp_path / out / "lines").iterdir()}, result

    whole, _ = output("whole")
    files, first = output("out", limit)
    assert sum(data.count(b"\n") for data in files.values()) == limit
    assert files.keys() <= whole.keys(), "with their full names"
    assert output("out", limit)[1].num_done_before == len(first.entries)
    assert sum(data.count(b"\n") for data in output("out", 5)[0].values()) == max(5, limit)
    assert output("out")[0] == whole, "a partition that was cut short is replaced"
    assert output("out", limit)[0] == whole


def test_a_partition_that_was_cut_short_is_not_there_twice(tmp_path: Path) -> None:
    """New files may sort first, and the partition of all has another name then."""
    tree = {f"b/{n}.txt": f"{n}" for n in range(4)}
    write_tree(f"{tmp_path}/in", tree)

    def output(limit: int | None) -> str:
        reader = TextTreeReader(f"{tmp_path}/in", 1.0, limit=limit)
        Pipeline("test", [reader, ManifestWriterStage(f"{tmp_path}/out")]).run(LocalExecutor())
        return "".join(path.read_text() for path in (tmp_path / "out").glob("*.jsonl"))

    assert output(2).count("\n") == 2
    write_tree(f"{tmp_path}/in", tree | {"a/0.txt": "new"}, tree)
    assert output(3).count("\n") == 3
    assert output(None).count("\n") == 5


def test_a_manifest_that_was_moved_and_became_shorter_drops_nothing(tmp_path: Path) -> None:
    text = [f'{{"n": {n}}}\n' for n in range(10, 30)]
    (tmp_path / "in.jsonl").write_text("".join(text))

    def done(name: str) -> tuple[int, int]:
        reader = ManifestReaderStage(f"{tmp_path}/{name}", 40 / 2**20)
        result = Pipeline("test", [reader, ManifestWriterStage(f"{tmp_path}/out")]).run(LocalExecutor())
        return result.num_done_before, result.num_output_records

    assert done("in.jsonl") == (0, 20)
    (tmp_path / "head.jsonl").write_text("".join(text[:10]))
    with pytest.raises(
        ConfigurationError, match=r"not only moved: 3 of the 5 partitions done are others or not all there"
    ):
        done("head.jsonl")
    (tmp_path / "more.jsonl").write_text("".join([*text, text[0]]))
    assert done("more.jsonl") == (5, 21)


@dataclass
class Manifest:
    """A manifest of numbered lines, of which a run takes the first, in pieces of two or three."""

    root: Path
    name: str
    place: str = "in"

    def write(self, *numbers: int) -> None:
        path = self.root / self.place / self.name
        path.parent.mkdir(exist_ok=True)
        data = lines(*({"n": n} for n in numbers)).encode()
        path.write_bytes(gzip.compress(data) if self.name.endswith(".gz") else data)

    def run(self, limit: int | None = None) -> list[int]:
        reader = ManifestReaderStage(f"{self.root}/{self.place}", 25 / 2**20, limit=limit)
        result = Pipeline("test", [reader, ManifestWriterStage(f"{self.root}/out/lines")]).run(
            LocalExecutor(), output_dir=f"{self.root}/out"
        )
        made = [
            json.loads(line)["n"] for p in (self.root / "out/lines").iterdir() for line in p.read_text().splitlines()
        ]
        assert result.num_output_records == len(made)
        return sorted(made)

    def move(self, place: str) -> None:
        (self.root / self.place).rename(self.root / place)
        self.place = place


@pytest.fixture(params=["in.jsonl", "in.jsonl.gz"])
def manifest(request: pytest.FixtureRequest, tmp_path: Path) -> Manifest:
    return Manifest(tmp_path, request.param)


@pytest.mark.parametrize("limit", [13, 1000, None])
def test_a_piece_that_grew_is_there_once_wherever_the_manifest_is(manifest: Manifest, limit: int | None) -> None:
    manifest.write(*range(10, 20))
    assert manifest.run() == [*range(10, 20)]
    manifest.move("elsewhere")
    assert manifest.run() == [*range(10, 20)]
    manifest.write(*range(10, 23))
    assert manifest.run(limit) == [*range(10, 23)]


def test_a_piece_that_a_limit_cut_is_replaced_wherever_the_manifest_is(manifest: Manifest) -> None:
    manifest.write(*range(10, 20))
    for place, limit in (("a", 2), ("b", 4), ("c", 3), ("d", 5), ("e", 9)):
        manifest.move(place)
        assert manifest.run(limit) == [*range(10, 10 + max(limit, 4 if place == "c" else 0))]
    manifest.move("f")
    assert manifest.run() == [*range(10, 20)]


@pytest.mark.parametrize("limit", [5, 1000])
def test_what_a_manifest_has_no_more_goes_when_a_limit_reaches_its_end(manifest: Manifest, limit: int) -> None:
    manifest.write(*range(10, 20))
    manifest.run()
    manifest.write(*range(10, 15))
    assert manifest.run(limit) == [*range(10, 15)]


def test_pieces_that_begin_elsewhere_replace_those_they_overlap(manifest: Manifest) -> None:
    """What the limit leaves stays, as nothing is known of it."""
    manifest.write(*range(10, 20))
    manifest.run()
    manifest.write(1000, *range(11, 20))
    made = manifest.run(7)
    assert len(made) == len(set(made)) and made[-1] == 1000 and 10 not in made
    assert manifest.run() == [*range(11, 20), 1000]


@pytest.mark.parametrize("limit", [3, 9])
def test_a_list_that_was_renamed_is_read_once(limit: int, tmp_path: Path) -> None:
    for name in "123":
        path = tmp_path / f"in/{name}/{name}/0.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"entry_id": name}))
        (tmp_path / "lists").mkdir(exist_ok=True)
        (tmp_path / f"lists/t-{name}.txt").write_text(f"{name}-{name}\n")

    def made() -> list[str]:
        reader = SegmentJsonReaderStage(f"{tmp_path}/in", f"{tmp_path}/lists", limit=limit)
        Pipeline("test", [reader, ManifestWriterStage(f"{tmp_path}/out/all.jsonl")]).run(LocalExecutor())
        return [json.loads(line)["entry_id"] for line in (tmp_path / "out/all.jsonl").read_text().splitlines()]

    assert made() == ["1", "2", "3"]
    (tmp_path / "lists/t-2.txt").rename(tmp_path / "lists/a-2.txt")
    assert sorted(made()) == ["1", "2", "3"]


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "all"])
def test_limits_are_checked(limit: Any, tmp_path: Path) -> None:
    for make in (TextTreeReader, ManifestReaderStage, RecordingReaderStage):
        with pytest.raises(ConfigurationError, match=r"limit is .*; give a whole number of at least 1, or null"):
            make(str(tmp_path), limit=limit)


# Sources and outputs that moved ------------------------------------------------------------------------------

KINDS = [kind for kind in pipelines(Path("/")) if kind != "npz_in_place"]  # with an output_path beside its output_dir
KNOWN_BY_TIME = ("recordings", "transfer", "pairs")
"""What is too large to be read for its hash: copies with other times are others."""


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_moved_is_not_done_again(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    make, pipeline = pipelines(one)[kind]
    make(one)
    first = run(pipeline(), one)
    one.rename(two)
    moved = run(pipelines(two)[kind][1](), two)
    assert moved.num_done_before == len(moved.entries) == len(first.entries)

    shutil.copytree(two, one, copy_function=shutil.copyfile)  # with other times
    for path in one.rglob("*"):
        os.utime(path, (10**9, 10**9))
    copied = run(pipelines(one)[kind][1](), one) if kind not in KNOWN_BY_TIME else moved
    assert copied.num_done_before == len(copied.entries) == len(first.entries)
    assert copied.num_output_records == first.num_output_records


# Batch lists go by names alone, and shards that are no shards are told of as such where pairs are drawn from them.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("batch_lists", "pairs")])
def test_another_source_in_its_place_is_refused(kind: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    make, pipeline = pipelines(one)[kind]
    make(one)
    run(pipeline(), one)
    shutil.copytree(one, two)
    for path in filter(Path.is_file, two.rglob("*")):
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"text", b"TEXT")))
        elif "out" not in path.parts:
            data = path.read_bytes()
            path.write_bytes(data.replace(b"text", b"TEXT") if path.suffix == ".jsonl" else data + b" ")
    before = {path: path.read_bytes() for path in two.rglob("*") if path.is_file()}
    with pytest.raises(ConfigurationError, match=r"it was not only moved: \d of the \d partitions done are others"):
        run(pipelines(two)[kind][1](), two)
    assert {path: path.read_bytes() for path in two.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("limit", [None, 2, 100])
def test_another_tree_that_shares_a_file_is_refused(size: float, limit: int | None, tmp_path: Path) -> None:
    write_tree(f"{tmp_path}/one", {f"{name}/0.txt": name for name in "abcd"} | {"LICENSE.txt": "free"})
    write_tree(f"{tmp_path}/two", {f"{name}/0.txt": name for name in "wxyz"})
    shutil.copy2(tmp_path / "one/LICENSE.txt", tmp_path / "two/LICENSE.txt")

    def done(place: str, limit: int | None = None) -> set[str]:
        reader = TextTreeReader(f"{tmp_path}/{place}", size, limit=limit)
        Pipeline("test", [reader, ManifestWriterStage(f"{tmp_path}/out/all.jsonl")]).run(LocalExecutor())
        return {json.loads(line)["text"] for line in (tmp_path / "out/all.jsonl").read_text().splitlines()}

    assert done("one") == {*"abcd", "free"}
    with pytest.raises(
        ConfigurationError, match=r"it was not only moved: \d of the \d partitions done are others or not"
    ):
        done("two", limit)
    (tmp_path / "one").rename(tmp_path / "three")
    write_tree(f"{tmp_path}/three", {"e/0.txt": "e"})
    assert done("three", limit) >= {*"abcd", "free"}
    assert done("three") == {*"abcde", "free"}
    (tmp_path / "three").rename(tmp_path / "four")
    (tmp_path / "four/b/0.txt").unlink()
    with pytest.raises(ConfigurationError, match=r"not only moved: 1 of .*; put back what is missing, choose another"):
        done("four", limit)


def test_a_selection_of_a_tree_that_was_moved(tmp_path: Path) -> None:
    write_tree(f"{tmp_path}/0", {f"{n}/0.txt": f"{n}" for n in range(5)})
    for place, limit, num in (("1", 2, 2), ("2", 3, 3), ("3", 1, 3), ("4", None, 5)):
        (tmp_path / f"{int(place) - 1}").rename(tmp_path / place)
        reader = TextTreeReader(f"{tmp_path}/{place}", 1.0, limit=limit)
        Pipeline("test", [reader, ManifestWriterStage(f"{tmp_path}/out/all.jsonl")]).run(LocalExecutor())
        assert (tmp_path / "out/all.jsonl").read_text().count("\n") == num


def test_other_channels_of_a_corpus_that_was_moved(corpus: Corpus) -> None:
    assert corpus.run("out", channels=["a"])[0] == ["a/1.wav", "a/2.wav", "a/3.wav"]
    (corpus.root / "in").rename(corpus.root / "moved")
    corpus.place = "moved"
    seen, result = corpus.run("out", channels=["b"])
    assert seen == ["b/1.wav", "b/2.wav", "b/3.wav"] and result.num_output_records == 6
    (corpus.root / "moved").rename(corpus.root / "again")
    corpus.place = "again"
    (corpus.root / "again/a/2.wav").unlink()
    with pytest.raises(ConfigurationError, match="it was not only moved: 1 of the 6 partitions done are others or not"):
        corpus.run("out", channels=["b"])


def test_a_folder_of_audio_is_the_same_however_it_is_written_and_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text(lines(*({"audio_filepath": f"ch/{n}.wav", "n": n} for n in range(3))))
    for folder in ("in", "other"):
        (tmp_path / folder / "ch").mkdir(parents=True)
        for n in range(3):
            (tmp_path / folder / f"ch/{n}.wav").write_text(folder)

    def done(audio_dir: str | None, duration_of: str | None = None) -> tuple[int, int]:
        reader = RecordingReaderStage("in.jsonl", audio_dir=audio_dir)
        durations = GetAudioDurationStage("audio_filepath", "duration", audio_dir=duration_of or audio_dir)
        result = Pipeline("test", [reader, durations, ManifestWriterStage(f"{tmp_path}/out/all.jsonl")]).run(
            LocalExecutor()
        )
        return result.num_done_before, len(result.entries)

    assert done("in") == (0, 3)
    for same in ("./in", "in/", str(tmp_path / "in"), "other/../in"):
        assert done(same) == (3, 3)
    (tmp_path / "in").rename(tmp_path / "moved")
    assert done("moved") == (3, 3)
    for other in ("other", None):
        with pytest.raises(ConfigurationError, match=r"audio_dir: .*; it was not only moved: 3 of the 3"):
            done(other)
    with pytest.raises(
        ConfigurationError, match=r"another configuration: get_audio_duration.audio_dir: null → \"other\""
    ):
        done("moved", "other")
