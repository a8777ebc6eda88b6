import gzip
import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.ledger import Ledger, LedgerEntry, StageMetrics, StepEntry, fingerprint_of, relative_to
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Input, Inputs, Part, Partition

CONFIGURATION = {
    "reader": {"stage": "package.Reader", "version": 1, "manifest_path": "in.jsonl"},
    "builder": {"stage": "package.Builder", "version": 1, "min_speakers": 2, "drop_fields": ["words"]},
}


@pytest.fixture(params=["local", "memory", "s3"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An output folder on each kind of storage."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/out"
    return f"{tmp_path}/out" if request.param == "local" else f"memory://{uuid.uuid4().hex}/out"


def loaded(out: str) -> Ledger:
    ledger = Ledger(Storage(), out)
    ledger.load()
    return ledger


def entry(name: str, data: bytes = b"", quarantine: bytes = b"", **changes: Any) -> LedgerEntry:
    part = (
        [Part(f"_ledger/parts/{name}.jsonl", len(data), "hash of " + data.decode(), data.count(b"\n"))] if data else []
    )
    bad = [Part(f"quarantine/part-{name}.jsonl", len(quarantine), "", 1)] if quarantine else []
    values: dict[str, Any] = {
        "partition": name,
        "source": "in.jsonl",
        "start": 0,
        "end": 10,
        "inputs": Inputs.of({"in.jsonl[0:10]": Input("10-1.5", "abc")}),
        "parts": part,
        "quarantine": bad,
        "quarantined": {"invalid_json": 1} if quarantine else {},
        "metrics": {"reader": StageMetrics(0.5, 1, 0, 2, 0, {"audio_duration": 12.5})},
    }
    return LedgerEntry(**values | changes)


def commit(out: str, name: str, data: bytes = b"", quarantine: bytes = b"") -> LedgerEntry:
    """What a worker does with a finished partition."""
    storage, paths = Storage(), Ledger(Storage(), out).paths
    done = entry(name, data, quarantine)
    for part, content in zip([*done.parts, *done.quarantine], [c for c in (data, quarantine) if c]):
        storage.write(f"{out}/{part.path}", content)
    storage.write(paths.entry(name), done.to_json())
    return done


def files(out: str) -> set[str]:
    return {info.path.removeprefix(f"{out}/") for info in Storage().list_files(out)}


# Entries -----------------------------------------------------------------------------------------------------

names = st.text(min_size=1, max_size=8)
parts = st.builds(Part, names, st.integers(0, 2**60), names, st.integers(0, 2**40), names, st.booleans(), names)
inputs = st.builds(Inputs.of, st.dictionaries(names, st.builds(Input, names, names), max_size=20))
numbers = st.floats(allow_nan=False, allow_infinity=False)
metrics = st.builds(
    StageMetrics,
    numbers,
    st.integers(0),
    st.integers(0),
    st.integers(0),
    st.integers(0),
    st.dictionaries(names, numbers),
)


@given(
    st.builds(
        LedgerEntry,
        names,
        names,
        st.integers(0),
        st.integers(0),
        inputs,
        st.lists(parts, max_size=2),
        st.lists(parts, max_size=2),
        st.dictionaries(names, st.integers(0), max_size=3),
        st.dictionaries(names, metrics, max_size=3),
        names,
    )
)
def test_an_entry_survives_being_written(entry: LedgerEntry) -> None:
    written = entry.to_json()
    assert b"\n" not in written
    assert LedgerEntry.from_json(json.loads(written)) == entry
    elsewhere = json.loads(entry.to_json(("inputs-0123456789abcdef.gz", 0, 1)))
    assert elsewhere.pop("inputs_at") and LedgerEntry.from_json(elsewhere, entry.inputs) == entry


def test_a_file_name_that_is_no_text_survives_too() -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    odd = entry("a", source=name, inputs=Inputs.of({name: Input("10-1.5")}))
    assert LedgerEntry.from_json(json.loads(odd.to_json())) == odd


def test_a_metric_that_is_no_number_is_no_harm() -> None:
    odd = entry("a", metrics={"reader": StageMetrics(custom={"mean": float("nan")})})
    metrics = LedgerEntry.from_json(json.loads(odd.to_json())).metrics["reader"]
    metrics.add(metrics)
    assert metrics.custom["mean"] != metrics.custom["mean"]


def test_what_workers_commit_the_next_run_finds(out: str) -> None:
    done = [commit(out, "a", b"one\n", quarantine=b"{}\n"), commit(out, "b", b"two\nthree\n"), commit(out, "c")]

    ledger = loaded(out)

    assert ledger.entries == {entry.partition: entry for entry in done}
    assert [entry.num_records for entry in done] == [1, 2, 0]
    assert all(ledger.is_there(entry) for entry in done)


def test_a_single_entry_is_found(out: str) -> None:
    done = commit(out, "a", b"one\n")
    assert loaded(out).entries == {"a": done}


def test_gathered_entries_are_one_file(out: str) -> None:
    for name in ("b", "a", "c"):
        commit(out, name, name.encode() + b"\n")
    ledger = loaded(out)

    ledger.gather()

    lines = Storage().read(f"{out}/_ledger/entries.jsonl").splitlines()
    assert [json.loads(line)["partition"] for line in lines] == ["a", "b", "c"]
    assert not any(name.startswith("_ledger/entries/") for name in files(out))
    assert loaded(out).entries == ledger.entries


def test_a_newer_entry_counts_more_than_a_gathered_one(out: str) -> None:
    commit(out, "a", b"old\n")
    loaded(out).gather()
    newer = commit(out, "a", b"newer\n")
    assert loaded(out).entries == {"a": newer}


def test_a_damaged_entry_stands_for_nothing_done(out: str) -> None:
    commit(out, "a", b"one\n")
    loaded(out).gather()
    done = commit(out, "b", b"two\n")
    gathered = Storage().read(f"{out}/_ledger/entries.jsonl")
    Storage().write(f"{out}/_ledger/entries.jsonl", gathered[:-20] + b"\n")
    Storage().write(f"{out}/_ledger/entries/c.json", b"")

    assert loaded(out).entries == {"b": done}


SHARD, OTHER = Part("shards/1-a.jsonl", 4, "", 1), Part("shards/1-b.jsonl", 4, "", 1)
OWN = Part("npz/mine.npz", 4, "", 1, place="mine.npz")
COPY = Part("copies/a.npz", 4, "", 1, stays=True)


@pytest.mark.parametrize(
    ("damage", "deleted"),
    [
        (
            lambda line: line.replace(b'"num_inputs":1', b'"num_inputs":2'),
            {SHARD.path, OTHER.path, "quarantine/part-1.jsonl"},
        ),
        (lambda line: line[:-5], {SHARD.path, OTHER.path, "quarantine/part-1.jsonl"}),
        (lambda line: b"\0" + line[1:], {SHARD.path, OTHER.path, "quarantine/part-1.jsonl"}),
        (lambda line: line[: line.index(b'"quarantine"') + 20], {SHARD.path, OTHER.path}),
        (lambda line: line[: line.index(b"1-b.jsonl")], {SHARD.path}),
        (
            lambda line: line.replace(b'"num_records":1', b'"num_records":"1"', 1),
            {OTHER.path, "quarantine/part-1.jsonl"},
        ),
        (lambda line: line[: line.index(b'"parts"')], set()),
        (lambda line: line[: line.index(b"shards")] + b"../outside" + line[line.index(b"-b.jsonl") : -5], set()),
    ],
)
def test_what_a_damaged_entry_names_is_deleted_before_it_is_made_again(
    damage: Any, deleted: set[str], out: str, warned: list[str]
) -> None:
    names = {part.path for part in (SHARD, OTHER, OWN, COPY)} | {"quarantine/part-1.jsonl", "shards/mine.jsonl"}
    for name in names:
        Storage().write(f"{out}/{name}", b"one\n")
    line = entry("1", parts=[SHARD, OTHER, OWN, COPY], quarantine=b"one\n").to_json()
    Storage().write(f"{out}/_ledger/entries.jsonl", damage(line) + b"\n")

    ledger = loaded(out)
    assert files(out) == names | {"_ledger/entries.jsonl"} and ledger.entries == {}
    ledger.sweep(f"{out}/shards")
    ledger.gather()

    assert files(out) == (names - deleted) | {"_ledger/entries.jsonl"}
    assert (f"{len(deleted)} file(s) that damaged entries" in "".join(warned)) == bool(deleted)
    assert loaded(out).entries == {} and sum("is damaged" in message for message in warned) == 1


def test_a_file_that_another_entry_has_is_not_deleted_with_a_damaged_one(out: str) -> None:
    Storage().write(f"{out}/{SHARD.path}", b"one\n")
    Storage().write(f"{out}/{OTHER.path}", b"one\n")
    Storage().write(f"{out}/_ledger/entries.jsonl", entry("1", parts=[SHARD, OTHER]).to_json()[:-3])
    noted(out, entry("1", parts=[SHARD]))

    loaded(out).sweep(f"{out}/shards")

    assert files(out) == {SHARD.path, "_ledger/entries.jsonl", "_ledger/entries/1.json"}


def test_what_a_damaged_entry_of_another_configuration_names_stays_where_it_may_be_anybodys(out: str) -> None:
    Storage().write(f"{out}/{SHARD.path}", b"one\n")
    version = Storage().list_files(f"{out}/shards")[0].version
    Ledger(Storage(), out).claim(CONFIGURATION)
    for noted_version, is_left in [(f"{version}0", True), (version, False)]:
        part = Part(SHARD.path, 4, "", 1, version=noted_version)
        line = entry("1", parts=[part], made_with="another").to_json()
        Storage().write(f"{out}/_ledger/entries.jsonl", line.replace(b'"num_inputs":1', b'"num_inputs":2'))
        resumed(out).sweep(f"{out}/shards")
        assert (SHARD.path in files(out)) == is_left


def test_what_a_damaged_entry_names_is_erased_too(out: str) -> None:
    for part in (SHARD, COPY):
        Storage().write(f"{out}/{part.path}", b"one\n")
    Storage().write(f"{out}/_ledger/entries.jsonl", entry("1", parts=[SHARD, COPY]).to_json()[:-3])
    ledger = Ledger(Storage(), out)
    ledger.load(to_erase=True)
    assert list(ledger.disposable()) == [f"{out}/{SHARD.path}"]
    ledger.erase()
    assert files(out) == {COPY.path}


@pytest.mark.parametrize("lost", ["_ledger/parts/a.jsonl", "quarantine/part-a.jsonl"])
def test_files_that_are_gone_or_of_another_size_are_not_there(out: str, lost: str) -> None:
    done = commit(out, "a", b"one\n", quarantine=b"{}\n")

    Storage().write(f"{out}/{lost}", b"another size")
    assert not loaded(out).is_there(done)

    Storage().delete([f"{out}/{lost}"])
    assert not loaded(out).is_there(done)


def test_a_folder_may_be_moved(tmp_path: Path) -> None:
    done = commit(f"{tmp_path}/out", "a", b"one\n")
    (tmp_path / "out").rename(tmp_path / "moved")
    assert loaded(f"{tmp_path}/moved").is_there(done)


def test_paths_are_relative_where_they_lie_below() -> None:
    assert relative_to("s3://bucket/out/", "s3://bucket/out/a/b.jsonl") == "a/b.jsonl"
    assert relative_to("/out", "/output/b.jsonl") == "/output/b.jsonl"
    assert Ledger(Storage(), "s3://bucket/out").absolute("s3://other/b.jsonl") == "s3://other/b.jsonl"


def test_partitions_that_are_no_longer_in_a_source_are_forgotten(out: str) -> None:
    kept, gone = commit(out, "a", b"one\n"), commit(out, "b", b"two\n", quarantine=b"{}\n")
    ledger = loaded(out)

    ledger.forget([gone])

    assert ledger.entries == {"a": kept}
    assert files(out) == {"_ledger/entries/a.json", "_ledger/parts/a.jsonl"}


# What many files were made from ------------------------------------------------------------------------------


def large(name: str, num: int = 20) -> LedgerEntry:
    return entry(name, inputs=Inputs.of({f"{name}/{n}.npz": Input(f"{n}", f"content {n}") for n in range(num)}))


def noted(out: str, *entries: LedgerEntry) -> None:
    for done in entries:
        Storage().write(Ledger(Storage(), out).paths.entry(done.partition), done.to_json())


def beside(out: str) -> set[str]:
    return {name for name in files(out) if name.startswith("_ledger/inputs-")}


def test_what_large_partitions_were_made_from_lies_in_one_file(out: str) -> None:
    done = {name: large(name) for name in "ab"} | {"c": entry("c")}
    noted(out, *done.values())
    loaded(out).gather()
    assert loaded(out).entries == done
    (name,) = beside(out)
    lines = gzip.decompress(Storage().read(f"{out}/{name}")).splitlines()
    assert [json.loads(line)["a/0.npz"] for line in lines[:1]] == [["0", "content 0"]] and len(lines) == 2

    loaded(out).gather()
    assert beside(out) == {name}
    noted(out, large("a", 21))
    loaded(out).gather()
    assert loaded(out).entries == done | {"a": large("a", 21)}
    assert len(beside(out)) == 1 and beside(out) != {name}
    ledger = loaded(out)
    ledger.forget([ledger.entries[name] for name in "ab"])
    ledger.gather()
    assert beside(out) == set() and loaded(out).entries == {"c": done["c"]}


@pytest.mark.parametrize("written", [0, 1])
def test_killed_while_that_is_gathered(written: int, out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noted(out, large("a"))
    loaded(out).gather()
    noted(out, large("a", 21), large("b"))
    with monkeypatch.context() as patch:
        write, files_written = Storage.write, []

        def killed(self: Storage, path: str, data: bytes) -> None:
            if len(files_written) == written:
                raise KeyboardInterrupt
            files_written.append(path)
            write(self, path, data)

        patch.setattr(Storage, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            loaded(out).gather()
    assert loaded(out).entries == {"a": large("a", 21), "b": large("b")}
    loaded(out).gather()
    assert loaded(out).entries == {"a": large("a", 21), "b": large("b")} and len(beside(out)) == 1


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_entries_without_it_stand_for_nothing_done(damage: str, out: str, warned: list[str]) -> None:
    noted(out, large("a"), entry("b"))
    loaded(out).gather()
    (name,) = beside(out)
    data = Storage().read(f"{out}/{name}")
    other = {"gone": b"", "cut": data[:-9], "other": large("a", 21).inputs.packed}
    Storage().write(f"{out}/{name}", other[damage])
    ledger = loaded(out)
    assert list(ledger.entries) == ["b"]
    assert len(warned) == 1 and "is damaged and passed over" in warned[0]

    ledger.add(large("a"))  # done again, which gives a file of the same name
    ledger.gather()
    assert beside(out) == {name} and Storage().read(f"{out}/{name}") == data
    assert loaded(out).entries == {"a": large("a"), "b": entry("b")} and len(warned) == 1


def test_what_would_fill_the_memory_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = large("a", 1000).inputs
    monkeypatch.setattr("curator_audio.tasks.inputs.MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(ValueError, match="take too much room"):
        packed.unpacked()


@pytest.mark.parametrize("place", ["../mine", "/mine", "a/../../mine", "a//b"])
def test_a_file_of_the_source_lies_below_it(place: str, out: str, warned: list[str]) -> None:
    noted(out, entry("a", parts=[Part("n/1.npz", 1, "", 1, place=place)]))
    assert loaded(out).entries == {} and len(warned) == 1


# Configurations ----------------------------------------------------------------------------------------------


def changed(stage: str, **parameters: Any) -> dict[str, Any]:
    return CONFIGURATION | {stage: CONFIGURATION[stage] | parameters}


@pytest.mark.parametrize(
    ("configuration", "differences"),
    [
        (changed("builder", min_speakers=3), "builder.min_speakers: 2 → 3"),
        (changed("reader", version=2), "reader.version: 1 → 2"),
        (changed("builder", drop_fields=["words", "text"]), 'builder.drop_fields: ["words"] → ["words", "text"]'),
        (changed("builder", truncation=False), "builder.truncation: null → false"),
        (changed("reader", manifest_path="ä.jsonl"), 'reader.manifest_path: "in.jsonl" → "ä.jsonl"'),
        (
            changed("builder", min_speakers=1) | {"reader": CONFIGURATION["reader"] | {"version": 5}},
            "reader.version: 1 → 5; builder.min_speakers: 2 → 1",
        ),
        (changed("builder", **{f"p{i}": i for i in range(7)}), "builder.p4: null → 4 (and 2 more)"),
        (
            {"reader": CONFIGURATION["reader"], "writer": {"version": 1}},
            "no stage builder; a new stage writer",
        ),
    ],
)
def test_another_configuration_is_refused_by_what_differs(
    tmp_path: Path, configuration: dict[str, Any], differences: str
) -> None:
    ledger = Ledger(Storage(), f"{tmp_path}/out")
    ledger.claim(CONFIGURATION)

    with pytest.raises(ConfigurationError) as raised:
        ledger.check_configuration(configuration)

    assert str(raised.value).startswith(f"{tmp_path}/out holds the output of another configuration: ")
    assert f"{differences}; choose another output_dir, or overwrite=true" in str(raised.value)


def test_the_same_configuration_and_an_empty_folder_are_fine(out: str) -> None:
    ledger = Ledger(Storage(), out)
    ledger.check_configuration(CONFIGURATION)
    ledger.claim(CONFIGURATION)
    ledger.check_configuration(json.loads(json.dumps(CONFIGURATION)))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}'])
def test_a_damaged_configuration_is_told(tmp_path: Path, content: bytes) -> None:
    Storage().write(f"{tmp_path}/out/_ledger/configuration.json", content)
    with pytest.raises(ConfigurationError, match=r"_ledger/configuration\.json is damaged.*overwrite=true"):
        Ledger(Storage(), f"{tmp_path}/out").check_configuration(CONFIGURATION)


def test_the_ledger_of_another_version_is_told(tmp_path: Path) -> None:
    Storage().write(f"{tmp_path}/out/_ledger/configuration.json", b'{"format": 9, "configuration": {}}')
    with pytest.raises(ConfigurationError, match=r"_ledger has format 9, this version reads 2; .*overwrite=true"):
        Ledger(Storage(), f"{tmp_path}/out").check_configuration(CONFIGURATION)


# Deleting ----------------------------------------------------------------------------------------------------


def test_erase_deletes_what_the_ledger_lists_and_nothing_else(out: str) -> None:
    storage = Storage()
    ledger = loaded(out)
    ledger.claim(CONFIGURATION)
    storage.write(ledger.paths.lock, b"{}")
    commit(out, "a", b"one\n", quarantine=b"{}\n")
    loaded(out).gather()
    commit(out, "b", b"two\n")
    storage.write(f"{out}/all.jsonl", b"one\n")
    ledger.finish_step("join_parts", StepEntry("1", [Part("all.jsonl", 4, "", 1)]))
    mine = {"notes.txt", "quarantine/notes.txt", "other/all.jsonl"}
    for name in mine:
        storage.write(f"{out}/{name}", b"mine")

    loaded(out).erase()

    assert files(out) == {*mine, "_ledger/lock.json"}
    assert loaded(out).entries == {}


def test_sweep_removes_what_a_killed_run_left(tmp_path: Path) -> None:
    out = f"{tmp_path}/out"
    commit(out, "a", b"one\n", quarantine=b"{}\n")
    before = files(out)
    temporary = ".a.jsonl.0123456789ab.tmp"
    for folder in ("", "_ledger/", "_ledger/entries/", "_ledger/parts/", "_ledger/after/", "quarantine/", "shards/"):
        Storage().write(f"{out}/{folder}{temporary}", b"half")
    Storage().write(f"{out}/_ledger/parts/without-entry.jsonl", b"whole")
    mine = {"draft.tmp", f"runs/2/_ledger/{temporary}"}  # the second belongs to a run of its own, maybe at work
    for name in mine:
        Storage().write(f"{out}/{name}", b"mine")

    loaded(out).sweep(f"{out}/shards")

    assert files(out) == before | mine


def test_sweep_on_a_store_removes_parts_without_entry(s3_bucket: str) -> None:
    commit(f"{s3_bucket}/out", "a", b"one\n")
    before = files(f"{s3_bucket}/out")
    Storage().write(f"{s3_bucket}/out/_ledger/parts/without-entry.jsonl", b"whole")

    loaded(f"{s3_bucket}/out").sweep(f"{s3_bucket}/out/all.jsonl")

    assert files(f"{s3_bucket}/out") == before


# Partitions that were started ---------------------------------------------------------------------------------


def started(name: str, *keys: str) -> LedgerEntry:
    partition = Partition(name, "/data/tree", 0, 10, inputs=dict.fromkeys(keys, "mark"))
    return LedgerEntry.started(partition, "", f"shards/{name}.jsonl", f"quarantine/part-{name}.jsonl")


def test_what_was_started_and_not_finished_is_found(out: str) -> None:
    ledger = loaded(out)
    ledger.note_started([started("a", "a/1", "a/2"), started("b", "b/1")])
    ledger.note_started([started("c", "c/1")])
    done = commit(out, "b", b"two\n")

    again = loaded(out)

    assert again.entries == {"b": done}
    assert list(again.started) == ["a", "c"]
    assert list(again.started["a"].inputs.unpacked()) == ["a/1", "a/2"]


def test_what_was_started_and_not_finished_is_swept(out: str) -> None:
    storage = Storage()
    loaded(out).note_started([started("a"), started("b")])
    commit(out, "b", b"two\n")
    for name in ("shards/a.jsonl", "quarantine/part-a.jsonl", "shards/mine.jsonl"):
        storage.write(f"{out}/{name}", b"x")

    ledger = loaded(out)
    ledger.sweep(f"{out}/shards")

    left = {"_ledger/parts/b.jsonl", "_ledger/entries/b.json", "shards/mine.jsonl"}
    assert files(out) == {*left, "_ledger/started/000000.jsonl"}
    assert list(loaded(out).started) == ["a"], "should this run be killed too"

    ledger.gather()
    assert files(out) == {"_ledger/parts/b.jsonl", "_ledger/entries.jsonl", "shards/mine.jsonl"}


def test_what_failed_is_remembered(out: str) -> None:
    ledger = loaded(out)
    ledger.note_started([started("a"), started("b")])
    ledger.note_started([started("c")])
    ledger.add(commit(out, "b", b"two\n"))
    ledger.gather()
    assert list(loaded(out).started) == ["a", "c"]
    assert files(out) == {"_ledger/entries.jsonl", "_ledger/started/000002.jsonl", "_ledger/parts/b.jsonl"}


def test_notes_of_several_runs_have_names_of_their_own(out: str) -> None:
    for name in "abc":
        loaded(out).note_started([started(name)])
    assert list(loaded(out).started) == ["a", "b", "c"]


def test_a_damaged_note_is_passed_over(out: str) -> None:
    loaded(out).note_started([started("a"), started("b")])
    note = f"{out}/_ledger/started/000000.jsonl"
    Storage().write(note, Storage().read(note).replace(b'"partition":"a"', b'"partition'))
    assert list(loaded(out).started) == ["b"]


def test_erase_deletes_what_was_started_too(out: str) -> None:
    loaded(out).note_started([started("a")])
    for name in ("shards/a.jsonl", "quarantine/part-a.jsonl", "shards/mine.jsonl"):
        Storage().write(f"{out}/{name}", b"x")
    loaded(out).erase()
    assert files(out) == {"shards/mine.jsonl"}


def test_temporary_files_deep_in_a_tree_are_swept_after_a_kill(tmp_path: Path) -> None:
    out = f"{tmp_path}/out"
    temporary = ".a.npz.0123456789ab.tmp"
    for name in (f"npz/{temporary}", f"npz/news/{temporary}", f"npz/other/run/{temporary}"):
        Storage().write(f"{out}/{name}", b"half")
    loaded(out).sweep(f"{out}/npz", depth=2)
    assert f"npz/news/{temporary}" in files(out), "no run of this folder was killed"
    loaded(out).note_started([started("a")])
    loaded(out).sweep(f"{out}/npz", depth=2)
    assert files(out) == {f"npz/other/run/{temporary}", "_ledger/started/000000.jsonl"}


# Partitions that are done again -------------------------------------------------------------------------------


def tree_entry(out: str, name: str, *parts: Part) -> LedgerEntry:
    """A partition of which several files were made."""
    done = entry(name, parts=list(parts), inputs=Inputs.of({"k": Input("mark")}))
    for made in parts:
        Storage().write(f"{out}/{made.path}", b"x" * made.num_bytes)
    Storage().write(Ledger(Storage(), out).paths.entry(name), done.to_json())
    return done


def test_files_that_are_not_made_again_go(out: str) -> None:
    ledger = loaded(out)
    ledger.add(tree_entry(out, "a", Part("n/1.npz", 1, "", 1), Part("n/2.npz", 1, "", 1)))
    ledger.gather()
    ledger = loaded(out)
    ledger.add(tree_entry(out, "b", Part("n/4.npz", 1, "", 1), Part("n/5.npz", 1, "", 1)))
    ledger.gather()
    ledger = loaded(out)
    ledger.add(tree_entry(out, "a", Part("n/2.npz", 2, "", 1), Part("n/3.npz", 1, "", 1), Part("n/4.npz", 1, "", 1)))
    ledger.add(tree_entry(out, "b"))
    ledger.forget([])
    entries = {f"_ledger/{name}" for name in ("entries.jsonl", "entries/a.json", "entries/b.json")}
    assert files(out) == {"n/2.npz", "n/3.npz", "n/4.npz", *entries}, "which has moved from one partition to another"


def test_files_that_are_not_made_again_go_after_a_kill_too(out: str) -> None:
    ledger = loaded(out)
    ledger.add(tree_entry(out, "a", Part("n/1.npz", 1, "", 1), Part("n/2.npz", 1, "", 1)))
    ledger.gather()
    tree_entry(out, "a", Part("n/2.npz", 2, "", 1))  # and before the driver knew, it was killed
    before = files(out)
    ledger = loaded(out)
    assert files(out) == before
    ledger.sweep(f"{out}/n")
    assert files(out) == before - {"n/1.npz"}


def test_files_written_in_the_place_of_their_source_are_never_deleted(out: str) -> None:
    mine, made = Part("n/1.npz", 1, "", 1, place="1.npz"), Part("n/2.npz", 1, "", 1)
    done = tree_entry(out, "a", mine, made)
    ledger = loaded(out)
    assert ledger.is_there(done)
    ledger.add(tree_entry(out, "a"))
    ledger.forget([])
    assert "n/1.npz" in files(out) and "n/2.npz" not in files(out)

    done = tree_entry(out, "a", mine, made)
    loaded(out).forget([done])
    assert "n/1.npz" in files(out) and "n/2.npz" not in files(out)

    tree_entry(out, "a", mine, made)
    loaded(out).erase()
    assert files(out) == {"n/1.npz"}


def test_of_files_in_the_place_of_their_source_the_ledger_says_nothing(out: str) -> None:
    """One that has gone is no reason to do the others again."""
    done = tree_entry(out, "a", Part("n/1.npz", 1, "", 1, place="1.npz"), Part("n/2.npz", 1, "", 1))
    Storage().delete([f"{out}/n/1.npz"])
    assert loaded(out).is_there(done)
    Storage().delete([f"{out}/n/2.npz"])
    assert not loaded(out).is_there(done)


# Steps after the map -----------------------------------------------------------------------------------------

OLD, NEW = b"one\n", b"one\ntwo\n"


def step(data: bytes, inputs: str = "") -> StepEntry:
    """The entry of a join of parts ``one`` and ``two``."""
    ranges = {f"{word.decode()}#": (data.index(word), len(word) + 1) for word in data.split()}
    return StepEntry(inputs or f"hash of {data!r}", [Part("all.jsonl", len(data), "", data.count(b"\n"))], ranges)


def joined(out: str, data: bytes) -> Ledger:
    """A folder in which a join has been done."""
    ledger = loaded(out)
    Storage().write(f"{out}/all.jsonl", data)
    ledger.finish_step("join", step(data))
    return loaded(out)


def part(word: str) -> Part:
    return Part(word, len(word) + 1, "", 1)


def test_parts_are_found_in_the_joined_file(out: str) -> None:
    ledger = joined(out, NEW)

    assert {name: (one.inputs_sha256, one.ranges) for name, one in ledger.steps.items()} == {
        "join": (step(NEW).inputs_sha256, step(NEW).ranges)
    }
    source = ledger.part_source(part("two"))
    assert source is not None
    assert Storage().read_range(source.path, source.start, source.start + source.num_bytes) == b"two\n"
    assert ledger.part_source(part("three")) is None
    assert ledger.part_source(Part("two", 4, "of another content", 1)) is None


def test_a_step_is_done_while_its_inputs_are_the_same_and_its_output_is_there(out: str) -> None:
    assert joined(out, NEW).step_is_done("join", step(NEW).inputs_sha256)
    assert not joined(out, NEW).step_is_done("join", "other inputs")
    assert not joined(out, NEW).step_is_done("publish", step(NEW).inputs_sha256)

    Storage().write(f"{out}/all.jsonl", b"mended by hand\n")
    assert not loaded(out).step_is_done("join", step(NEW).inputs_sha256)
    assert loaded(out).part_source(part("two")) is None


def test_killed_before_the_new_output_appeared(out: str) -> None:
    joined(out, OLD).announce_step("join", step(NEW))

    ledger = loaded(out)

    assert ledger.step_is_done("join", step(OLD).inputs_sha256)
    assert ledger.part_source(part("one")) is not None and ledger.part_source(part("two")) is None


def test_killed_after_the_new_output_appeared(out: str) -> None:
    joined(out, OLD).announce_step("join", step(NEW))
    Storage().write(f"{out}/all.jsonl", NEW)

    ledger = loaded(out)

    assert ledger.step_is_done("join", step(NEW).inputs_sha256)
    assert ledger.part_source(part("two")) is not None


def test_killed_where_nothing_tells_old_from_new(out: str) -> None:
    joined(out, OLD).announce_step("join", step(OLD, inputs="others"))

    ledger = loaded(out)

    assert not ledger.step_is_done("join", step(OLD).inputs_sha256)
    assert not ledger.step_is_done("join", "others")
    assert ledger.part_source(part("one")) is None


@pytest.mark.parametrize("appeared", [False, True])
def test_a_first_output_that_was_announced(out: str, appeared: bool) -> None:
    loaded(out).announce_step("join", step(NEW))
    if appeared:
        Storage().write(f"{out}/all.jsonl", NEW)

    assert loaded(out).step_is_done("join", step(NEW).inputs_sha256) is appeared


@pytest.mark.parametrize("appeared", [b"", OLD, NEW])
def test_looking_changes_nothing_and_sweeping_settles_it(out: str, appeared: bytes) -> None:
    joined(out, OLD).announce_step("join", step(NEW))
    Storage().write(f"{out}/all.jsonl", appeared)
    before = files(out)

    ledger = loaded(out)
    steps = dict(ledger.steps)
    done = [ledger.step_is_done("join", step(data).inputs_sha256) for data in (OLD, NEW)]
    assert done == [appeared == OLD, appeared == NEW]
    assert files(out) == before, "a dry run looks while another run may be at work"

    ledger.sweep(f"{out}/all.jsonl")
    assert not any(name.endswith(".announced.json") for name in files(out))
    for settled in (ledger, loaded(out)):
        assert settled.steps == steps
        assert [settled.step_is_done("join", step(data).inputs_sha256) for data in (OLD, NEW)] == done


@pytest.mark.parametrize("new", [NEW, OLD])
def test_erase_after_a_kill_deletes_the_output(out: str, new: bytes) -> None:
    joined(out, OLD).announce_step("join", step(new, inputs="others"))
    Storage().write(f"{out}/all.jsonl", new)

    loaded(out).erase()

    assert files(out) == set()


def test_parts_go_when_a_step_has_taken_them_over(out: str) -> None:
    done = [commit(out, "a", b"one\n"), commit(out, "b", b"two\n")]
    ledger = loaded(out)

    ledger.drop_parts(part for entry in done for part in entry.parts)
    ledger.drop_parts(part for entry in done for part in entry.parts)

    assert not any("parts" in name for name in files(out))


def test_a_file_written_again_with_the_same_content_is_noted(out: str) -> None:
    done = commit(out, "a", b"one\n")
    ledger = loaded(out)

    now = Inputs.of({"in.jsonl[0:10]": Input("10-2.5", "abc")})
    ledger.refreshed(ledger.entries["a"], Partition("a", "/data/in.jsonl", 0, 10), "in.jsonl", now)
    ledger.gather()

    again = loaded(out).entries["a"]
    assert again.inputs == now
    assert again.parts == done.parts


# What tells a file -------------------------------------------------------------------------------------------


def made(out: str, name: str, data: bytes) -> LedgerEntry:
    """A partition as a worker commits it."""
    storage = Storage()
    path = f"{out}/shards/{name}.jsonl"
    storage.write(path, data)
    version = storage.list_files(f"{out}/shards", max_depth=1)[-1].version
    part = Part(f"shards/{name}.jsonl", len(data), hashlib.sha256(data).hexdigest(), 1, version=version)
    done = entry(name, parts=[part])
    storage.write(Ledger(storage, out).paths.entry(name), done.to_json())
    return done


def test_a_part_that_was_written_again_with_other_bytes_of_the_same_size_is_not_there(out: str) -> None:
    made(out, "a", b"one\n")
    ledger = loaded(out)
    assert ledger.is_there(ledger.entries["a"], may_read=False)

    written_later(f"{out}/shards/a.jsonl", b"two\n")
    ledger = loaded(out)
    assert not ledger.is_there(ledger.entries["a"])


def test_a_part_that_was_written_again_with_the_same_bytes_is_read_once(
    out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read = [], Storage.read_range
    monkeypatch.setattr(Storage, "read_range", lambda self, path, *at: reads.append(path) or read(self, path, *at))
    made(out, "a", b"one\n")
    is_another = written_later(f"{out}/shards/a.jsonl", b"one\n")

    for num_reads in (is_another, is_another):
        ledger = loaded(out)
        assert ledger.is_there(ledger.entries["a"])
        assert len(reads) == num_reads
        ledger.gather()


def written_later(path: str, data: bytes) -> bool:
    """Write a file again; returns whether its version must differ: an etag tells the same of the same bytes."""
    Storage().write(path, data)
    if path.startswith("/"):
        os.utime(path, ns=(10**18, 10**18))
    return not path.startswith("s3")


def test_a_folder_that_was_copied_is_read_once_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a joined file, which has no hash: those of the parts in it decide."""
    out = f"{tmp_path}/out"
    words = [b"one\n", b"three\n"]
    parts = [Part(f"_ledger/parts/{n}.jsonl", len(w), hashlib.sha256(w).hexdigest(), 1) for n, w in enumerate(words)]
    Storage().write(f"{out}/all.jsonl", b"".join(words))
    ranges = {part.key: (4 * n, part.num_bytes) for n, part in enumerate(parts)}
    ledger = loaded(out)
    joined = Part("all.jsonl", 10, "", 2, version=Storage().info(f"{out}/all.jsonl").version)
    ledger.finish_step("join", StepEntry("inputs", [joined], ranges))
    shutil.copytree(out, f"{tmp_path}/copy")
    os.utime(f"{tmp_path}/copy/all.jsonl", ns=(10**17, 10**17))

    copied = loaded(f"{tmp_path}/copy")
    assert copied.step_is_done("join", "inputs")
    assert [copied.part_source(part) is not None for part in parts] == [True, True]
    copied.gather()
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "read_range", lambda *_: pytest.fail("read again"))
        assert loaded(f"{tmp_path}/copy").step_is_done("join", "inputs")

    written_later(f"{tmp_path}/copy/all.jsonl", b"one\nthirty\n"[:10])
    assert not loaded(f"{tmp_path}/copy").step_is_done("join", "inputs")
    assert loaded(f"{tmp_path}/copy").part_source(parts[0]) is None


def test_an_entry_without_versions_counts_by_size_and_takes_up_what_is_there(out: str) -> None:
    """As version 0.1 wrote them."""
    done = entry("a", b"one\n", b"{}\n")
    values = json.loads(done.to_json())
    del values["made_with"]
    for part in values["parts"] + values["quarantine"]:
        del part["version"]
    Storage().write(f"{out}/_ledger/parts/a.jsonl", b"one\n")
    Storage().write(f"{out}/quarantine/part-a.jsonl", b"{}\n")
    Storage().write(f"{out}/_ledger/entries.jsonl", json.dumps(values).encode())
    loaded(out).claim(CONFIGURATION)

    ledger = Ledger(Storage(), out)
    ledger.check_configuration(CONFIGURATION)
    ledger.load()
    assert ledger.is_there(ledger.entries["a"], may_read=False)
    ledger.gather()

    again = loaded(out).entries["a"]
    assert again.made_with == fingerprint_of(CONFIGURATION)
    assert all(part.version for part in [*again.parts, *again.quarantine])


def test_parts_that_are_replaced_while_they_are_read_are_told(out: str) -> None:
    for name in "ab":
        made(out, name, b"one\n")
    ledger = loaded(out)
    parts = [part for entry in ledger.entries.values() for part in entry.parts]
    for some in (parts, parts[1:]):
        ledger.check_unchanged(some)
    written_later(f"{out}/shards/b.jsonl", b"two\n")
    for some in (parts, parts[1:]):
        with pytest.raises(StorageError, match=r"shards/b.jsonl has gone or was replaced while the run was going on"):
            ledger.check_unchanged(some)
    ledger.check_unchanged(parts[:1])


# Entries of others -------------------------------------------------------------------------------------------


def resumed(out: str) -> Ledger:
    ledger = Ledger(Storage(), out)
    ledger.check_configuration(CONFIGURATION)
    ledger.load()
    return ledger


def test_an_entry_of_another_configuration_displaces_and_deletes_nothing(out: str) -> None:
    loaded(out).claim(CONFIGURATION)
    made(out, "a", b"one\n")
    resumed(out).gather()
    right = resumed(out).entries
    late = entry("a", parts=[Part("shards/a-0.jsonl", 4, "", 1, version="4-1.5")], made_with="of another")
    Storage().write(f"{out}/_ledger/entries/a.json", late.to_json())
    Storage().write(f"{out}/shards/a-0.jsonl", b"mine")

    ledger = resumed(out)
    assert ledger.entries == right and ledger.is_there(ledger.entries["a"])
    ledger.sweep(f"{out}/shards")
    ledger.gather()

    assert resumed(out).entries == right
    assert {"shards/a.jsonl", "shards/a-0.jsonl"} <= files(out)
    assert "_ledger/entries/a.json" not in files(out)


def test_a_file_that_only_such_an_entry_has_is_deleted(out: str) -> None:
    loaded(out).claim(CONFIGURATION)
    made(out, "a", b"one\n")
    late = made(out, "late", b"two\n")
    late.made_with = "of another"
    Storage().write(f"{out}/_ledger/entries/late.json", late.to_json())

    resumed(out).sweep(f"{out}/shards")

    assert "shards/a.jsonl" in files(out) and "shards/late.jsonl" not in files(out)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": {"b": None}}, {"a": {}}),
        ({"a": {"b": [1, {"c": None}]}}, {"a": {"b": [1, {}]}}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_configurations_that_mean_the_same_have_one_fingerprint(one: Any, other: Any) -> None:
    assert fingerprint_of(one) == fingerprint_of(other) != fingerprint_of({"a": {"b": 3}})


def test_a_configuration_in_other_words_keeps_the_fingerprint_of_the_first(out: str) -> None:
    Ledger(Storage(), out).claim({"builder": {"min_sec": 2}})
    ledger = Ledger(Storage(), out)
    ledger.check_configuration({"builder": {"min_sec": 2.0, "limit": None}})
    ledger.claim({"builder": {"min_sec": 2.0, "limit": None}})
    again = Ledger(Storage(), out)
    again.check_configuration({"builder": {"min_sec": 2}})
    assert ledger.fingerprint == again.fingerprint == fingerprint_of({"builder": {"min_sec": 2}})


# Paths that lead out -----------------------------------------------------------------------------------------

OUTSIDE = ["../mine", "shards/../../mine", "{root}/mine", "{root}/out/../mine", "link/mine", "{root}/outmine"]


@pytest.mark.parametrize("kind", ["part", "quarantine", "started", "step", "partition"])
@pytest.mark.parametrize("path", OUTSIDE)
def test_what_a_ledger_names_outside_of_its_folder_stays(
    kind: str, path: str, tmp_path: Path, warned: list[str]
) -> None:
    out, path = f"{tmp_path}/out", path.format(root=tmp_path)
    for file in ("mine", "mine.json", "outmine", "out/shards/ours.jsonl"):
        Storage().write(f"{tmp_path}/{file}", b"x")
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    ours, outside = Part("shards/ours.jsonl", 1, "", 1), Part(path, 1, "", 1)
    listed = entry(path if kind == "partition" else "a", parts=[ours, outside] if kind == "part" else [ours])
    if kind == "quarantine":
        listed.quarantine = [outside]
    Storage().write(f"{out}/_ledger/entries.jsonl", listed.to_json())
    if kind == "started":
        loaded(out).note_started([entry("b", parts=[outside])])
    if kind == "step":
        loaded(out).finish_step("join", StepEntry("", [outside], {outside.key: (0, 1)}))

    resumed = loaded(out)
    assert resumed.started == {} and not any(step.ranges for step in resumed.steps.values())
    assert resumed.part_source(outside) is None or kind == "step"
    resumed.forget(list(resumed.entries.values()))
    resumed.sweep(f"{out}/shards")
    ledger = Ledger(Storage(), out)
    ledger.load(to_erase=True)
    ledger.erase()

    assert {info.path for info in Storage().list_files(str(tmp_path), max_depth=1)} == {
        f"{tmp_path}/{name}" for name in ("mine", "mine.json", "outmine")
    }
    assert "shards/ours.jsonl" not in files(out)
    named = [line for line in warned if f"lie neither in {out} nor where this run writes: " in line]
    assert all(path in line for line in named) and (named or kind == "partition")


@pytest.mark.parametrize("path", ["", ".", "shards/", "shards/.", "a\0b", "\ud800", "a\udfff/b"])
def test_what_can_be_no_file_is_not_deleted(path: str, tmp_path: Path) -> None:
    out = f"{tmp_path}/out"
    Storage().write(f"{out}/shards/ours.jsonl", b"x")
    made = [Part(path, 1, "", 1), Part("shards/ours.jsonl", 1, "", 1)]
    Storage().write(f"{out}/_ledger/entries.jsonl", entry("a", parts=made).to_json())
    assert loaded(out).entries == {}
    ledger = Ledger(Storage(), out)
    ledger.load(to_erase=True)
    ledger.erase()
    assert files(out) == set()


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": None},
        {"inputs": {"a": 1}},
        {"inputs": {"in.jsonl[0:10]": ["10-1.5", "abc", "def"]}},
        {"inputs": {"in.jsonl[0:10]": "10-2.5"}},
        {"source": 1},
        {"end": "10"},
        {"quarantined": []},
        {"metrics": {"s": {"process_time": "1"}}},
    ],
)
def test_values_of_another_kind_are_damage(wrong: dict[str, Any], out: str, warned: list[str]) -> None:
    Storage().write(
        f"{out}/_ledger/entries/a.json", json.dumps(json.loads(entry("a", b"x\n").to_json()) | wrong).encode()
    )
    assert loaded(out).entries == {} and "is damaged and passed over" in warned[0]


def test_what_lies_where_this_run_writes_is_its_own(tmp_path: Path) -> None:
    out, elsewhere = f"{tmp_path}/out", f"{tmp_path}/elsewhere"
    Storage().write(f"{elsewhere}/a.jsonl", b"x")
    made_there = entry("a", parts=[Part(f"{elsewhere}/a.jsonl", 1, "", 1)])
    Storage().write(f"{out}/_ledger/entries.jsonl", made_there.to_json())
    ledger = Ledger(Storage(), out, [elsewhere])
    ledger.load()
    assert ledger.is_there(ledger.entries["a"])
    ledger.erase()
    assert files(elsewhere) == set()


@pytest.mark.parametrize("folder", ["_ledger", "_ledger/parts", "_ledger/entries", "quarantine"])
def test_a_folder_of_the_ledger_that_is_a_link_is_refused(folder: str, tmp_path: Path) -> None:
    Storage().write(f"{tmp_path}/mine/a.jsonl", b"x")
    (tmp_path / "out" / folder).parent.mkdir(parents=True)
    (tmp_path / "out" / folder).symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigurationError, match=rf"out/{folder} is a link to .*/mine, and runs delete what they find"):
        loaded(f"{tmp_path}/out")
    assert files(f"{tmp_path}/mine") == {"a.jsonl"}
