"""Manifests read a recording at a time."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.executors.local import LocalExecutor
from curator_audio.pipeline.pipeline import Pipeline, parameters
from curator_audio.report.result import RunResult
from curator_audio.stages.general import CallFunctionStage
from curator_audio.stages.io import ManifestWriterStage
from curator_audio.stages.speech import RecordingReaderStage
from curator_audio.storage.storage import Storage
from curator_audio.tasks import Partition, Record
from tests.storage.servers import reply, serving

Entries = list[Any]
"""Of a manifest: an entry is an object, or the text of a line."""


def entry(path: str, text: str = "hello", **fields: Any) -> Record:
    return {"audio_filepath": path, "segments": [{"start": 0, "end": 1, "speaker": "a", "text": text}], **fields}


def text_of(entries: Entries) -> bytes:
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in entries]
    return b"".join(line + b"\n" for line in lines)


class Corpus:
    """A manifest with its audio, the pipeline that goes through it, and what it did."""

    def __init__(self, base: str, log: Path, manifest: str = "manifest.jsonl", **parameters: Any) -> None:
        self.base, self.log = base, log
        self.reader = RecordingReaderStage(f"{base}/in/{manifest}", **parameters)

    def write(self, entries: Entries, name: str = "manifest.jsonl") -> None:
        data = text_of(entries)
        Storage().write(f"{self.base}/in/{name}", gzip.compress(data) if name.endswith(".gz") else data)

    def audio(self, *paths: str, content: bytes = b"sound") -> None:
        for path in paths:
            Storage().write(f"{self.base}/in/{path}", content)

    def run(self, **options: Any) -> list[str]:
        """The recordings that were processed."""
        self.log.write_text("")
        noting = CallFunctionStage("tests.functions.noted", {"log_path": str(self.log)})
        writer = ManifestWriterStage(f"{self.base}/out")
        self.result: RunResult = Pipeline("segment", [self.reader, noting, writer]).run(LocalExecutor(), **options)
        return self.log.read_text().split()

    def records(self) -> list[Record]:
        """All that is in the output, in the order of the names of recordings."""
        shards = [file.path for file in Storage().list_files(f"{self.base}/out", max_depth=1)]
        lines = [line for path in shards if path.endswith(".jsonl") for line in Storage().read(path).splitlines()]
        return sorted(map(json.loads, lines), key=lambda record: (record["channel"], record["audio_id"]))

    def texts(self) -> dict[str, str]:
        return {f"{r['channel']}/{r['audio_id']}": r["segments"][0]["text"] for r in self.records()}


@pytest.fixture(params=["local", "s3"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Corpus:
    base = request.getfixturevalue("s3_bucket") if request.param == "s3" else str(tmp_path)
    corpus = Corpus(base, tmp_path / "log")
    corpus.audio("news/a.wav", "news/b.wav", "talks/c.wav")
    return corpus


ENTRIES = [entry("news/a.wav"), entry("news/b.wav"), entry("talks/c.wav")]
PATHS = ["news/a.wav", "news/b.wav", "talks/c.wav"]


@contextmanager
def warnings() -> Iterator[list[str]]:
    found: list[str] = []
    sink = logger.add(lambda message: found.append(message.record["message"]), level="WARNING")
    try:
        yield found
    finally:
        logger.remove(sink)


# What is read ------------------------------------------------------------------------------------------------


def test_a_partition_a_recording(corpus: Corpus) -> None:
    corpus.write(ENTRIES)
    partitions = list(corpus.reader.partitions())
    assert [partition.name.rpartition("-")[0] for partition in partitions] == ["a", "b", "c"]
    line = json.dumps(ENTRIES[1]).encode()
    start = len(json.dumps(ENTRIES[0])) + 1
    assert (partitions[1].start, partitions[1].end, partitions[1].data) == (start, start + len(line), line)
    (batch,) = corpus.reader.process(partitions[1])
    assert batch.records == [{**ENTRIES[1], "audio_id": "b", "channel": "news"}]
    assert batch.offsets == [start] and batch.source_path == f"{corpus.base}/in/manifest.jsonl"


def test_channel_and_name_of_a_recording(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log", channel_mapping={"Atheer_-": "Atheer"})
    corpus.write(
        [
            entry("Atheer_-/show.12.mp3"),
            entry("s3://bucket/deep/down/x.opus"),
            entry("https://host/pod/cast.mp3"),
            entry("flat.wav"),
            entry("news/own.wav", channel="Atheer_-"),
            entry("news/number.wav", channel=7),
            entry("news/empty.wav", channel=""),
        ]
    )
    reader = corpus.reader
    found = [
        (record["channel"], record["audio_id"])
        for partition in _unlooked(reader)
        for batch in reader.process(partition)
        for record in batch.records
    ]
    assert found == [
        ("Atheer", "show.12"),
        ("down", "x"),
        ("pod", "cast"),
        ("in", "flat"),
        ("Atheer", "own"),
        ("7", "number"),
        ("news", "empty"),
    ]


def _unlooked(reader: RecordingReaderStage) -> list[Partition]:
    """The partitions without a look for their audio."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "curator_audio.stages.speech.audio_versions.AudioVersions.of", lambda self, audio: ["1"] * len(audio)
        )
        return list(reader.partitions())


def test_channels_are_selected(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log", channels=["talks"], channel_mapping={"lectures": "talks"})
    corpus.audio("news/a.wav", "talks/c.wav", "lectures/d.wav")
    corpus.write([*ENTRIES[::2], entry("lectures/d.wav")])
    assert corpus.run() == ["talks/c.wav", "lectures/d.wav"]
    assert list(corpus.texts()) == ["talks/c", "talks/d"]
    with pytest.raises(ConfigurationError, match=r"manifest\.jsonl has no recordings of the channels none; check it"):
        list(RecordingReaderStage(f"{tmp_path}/in/manifest.jsonl", channels=["none"]).partitions())


@pytest.mark.parametrize("name", ["manifest.jsonl.gz", "", "*.jsonl", "manifest.jsonl"])
def test_manifests_of_all_kinds(name: str, corpus: Corpus) -> None:
    corpus.reader = RecordingReaderStage(f"{corpus.base}/in/{name}", partition_size_mb=1e-4)
    if name.endswith(".gz"):
        corpus.write(ENTRIES, name)
    elif name == "manifest.jsonl":
        corpus.write([b"\xef\xbb\xbf" + json.dumps(ENTRIES[0]).encode() + b"\r", b"", *ENTRIES[1:]])
    else:
        corpus.write(ENTRIES[:2], "one.jsonl")
        corpus.write(ENTRIES[2:], "two.jsonl")
    assert corpus.run() == PATHS
    assert corpus.texts() == {"news/a": "hello", "news/b": "hello", "talks/c": "hello"}
    assert corpus.run() == []


def test_an_audio_dir_that_is_not_there(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log", audio_dir=f"{tmp_path}/sond")
    corpus.write([entry("a.wav")])
    with pytest.raises(ConfigurationError, match=r"audio_dir is .*/sond, and there is no such folder; check the path"):
        corpus.run()


def test_audio_may_lie_in_another_folder(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log", audio_dir=f"{tmp_path}/sound/")
    corpus.write(ENTRIES[:1])
    Storage().write(f"{tmp_path}/sound/news/a.wav", b"sound")
    assert corpus.run() == ["news/a.wav"] and corpus.run() == []
    Storage().write(f"{tmp_path}/sound/news/a.wav", b"another sound")
    assert corpus.run() == ["news/a.wav"]


# Lines that are no recordings ---------------------------------------------------------------------------------

BAD_LINES = [
    (b"{not json", "invalid_json"),
    (b"[1, 2]", "not_an_object"),
    (b'{"text": "no audio"}', "missing_field"),
    (b'{"audio_filepath": 5}', "missing_field"),
    (b'{"audio_filepath": ""}', "missing_field"),
    (b'{"audio_filepath": "s3://bucket/folder/"}', "missing_field"),
    (b'{"audio_filepath": "../../etc/passwd"}', "path_leaves_root"),
    (b'{"audio_filepath": "htps://host/a.wav"}', "unknown_protocol"),
]


def test_lines_that_are_none_are_set_aside_by_what_is_wrong(corpus: Corpus) -> None:
    corpus.write([*ENTRIES, *(line for line, _ in BAD_LINES)])
    assert corpus.run() == PATHS
    assert Counter(corpus.result.quarantined) == Counter(reason for _, reason in BAD_LINES)
    assert corpus.result.metrics["recording_reader"].num_quarantined == len(BAD_LINES)

    with warnings() as told:
        assert corpus.run() == []
    assert told == [], "they are no recordings that are gone"
    assert sum(corpus.result.quarantined.values()) == len(BAD_LINES)

    corpus.write([*ENTRIES, *(line for line, _ in BAD_LINES[3:])])
    assert corpus.run() == []
    assert Counter(corpus.result.quarantined) == Counter(reason for _, reason in BAD_LINES[3:])


@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.jsonl.gz"])
def test_a_line_beyond_the_limit(name: str, tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log", name, partition_size_mb=0.01, max_line_mb=0.1)
    corpus.audio(*PATHS)
    long = json.dumps(entry("news/long.wav", "x" * 200_000)).encode()
    corpus.write([ENTRIES[0], long, *ENTRIES[1:]], name)
    assert corpus.run() == PATHS
    assert corpus.result.quarantined == {"line_too_long": 1}
    (file,) = (tmp_path / "out" / "quarantine").iterdir()
    assert json.loads(file.read_text())["num_bytes"] == len(long)
    assert corpus.run() == []


def test_a_manifest_of_nothing_but_bad_lines(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log")
    corpus.write([b"{not json", b"[]"])
    assert corpus.run() == [] and corpus.result.exit_status == 1
    for content in ([b"", b"  "], []):
        corpus.write(content)
        with pytest.raises(ConfigurationError, match=r"has no recordings; check it|is empty"):
            corpus.run()


# Names that two have -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (entry("news/a.mp3"), "in/news/a.wav and .*in/news/a.mp3 have the same name in the same channel"),
        (entry("old/news/a.wav"), "in/news/a.wav and .*in/old/news/a.wav have the same name in the same channel"),
        (entry("x/a.wav", channel="news"), "in/news/a.wav and .*in/x/a.wav have the same name in the same channel"),
        (entry("Atheer_-/a.wav"), "in/news/a.wav and .*in/Atheer_-/a.wav have the same name in the same channel"),
        (entry("news/a.wav", "another text"), r"in/news/a.wav stands in two lines of the manifest"),
    ],
)
def test_two_recordings_of_one_name_are_refused_before_anything_runs(
    second: Record, message: str, tmp_path: Path
) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log", channel_mapping={"Atheer_-": "news"})
    corpus.write([*ENTRIES, second])
    with pytest.raises(ConfigurationError, match=message):
        corpus.run()
    assert corpus.log.read_text() == "" and not (tmp_path / "out" / "_ledger" / "configuration.json").exists()


def test_one_name_in_two_channels_is_fine(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log")
    corpus.write([entry("news/a.wav"), entry("talks/a.wav"), entry("x/a.mp3", channel="mine")])
    assert len(corpus.run()) == 3 and len(corpus.result.entries) == 3


# What a later run does ---------------------------------------------------------------------------------------


def test_only_what_is_new_or_changed_is_done(corpus: Corpus) -> None:
    corpus.write(ENTRIES)
    assert corpus.run() == PATHS
    assert corpus.run() == [] and corpus.result.num_done_before == 3

    corpus.audio("news/z.wav", "first/a.wav")
    now = [entry("first/a.wav"), ENTRIES[0], entry("news/z.wav"), *ENTRIES[1:]]
    corpus.write(now)
    assert corpus.run() == ["first/a.wav", "news/z.wav"], "lines that have moved are as they were"

    now[3] = entry("news/b.wav", "corrected")
    corpus.write(now)
    assert corpus.run() == ["news/b.wav"]

    corpus.audio("talks/c.wav", content=b"another sound")
    assert corpus.run() == ["talks/c.wav"]
    expected = {"first/a": "hello", "news/a": "hello", "news/b": "corrected", "news/z": "hello", "talks/c": "hello"}
    assert corpus.texts() == expected

    corpus.write(now[1:])
    with warnings() as told:
        assert corpus.run() == []
    assert corpus.texts() == expected, "what came of a recording stays"
    assert told == ["1 recording(s) of an earlier run are not in the manifest; their output is kept"]
    assert corpus.result.num_output_records == 5


def test_audio_that_has_gone_is_reported_and_what_came_of_it_kept(corpus: Corpus) -> None:
    corpus.write(ENTRIES)
    corpus.run()
    Storage().delete([f"{corpus.base}/in/news/a.wav", f"{corpus.base}/in/talks/c.wav"])
    for _ in range(2):
        with warnings() as told:
            assert corpus.run() == []
        assert told == ["2 recording(s) that an earlier run read are gone; their output is kept"]
        assert len(corpus.texts()) == 3 and corpus.result.num_output_records == 3
    corpus.audio("news/a.wav", content=b"back, and longer")
    assert corpus.run() == ["news/a.wav"]


def test_audio_that_was_never_there_is_looked_for_again(corpus: Corpus) -> None:
    corpus.write([*ENTRIES, entry("none/d.wav")])
    assert corpus.run() == [*PATHS, "none/d.wav"], "the stage that opens it will tell"
    with warnings() as told:
        assert corpus.run() == []
    assert told == []
    corpus.audio("none/d.wav")
    assert corpus.run() == ["none/d.wav"]


def test_overwriting_does_not_take_over_what_was_known(tmp_path: Path) -> None:
    """Of a file that has gone meanwhile."""
    corpus = Corpus(str(tmp_path), tmp_path / "log")
    corpus.audio(*PATHS)
    corpus.write(ENTRIES)
    corpus.run()
    (tmp_path / "in" / "news" / "a.wav").rename(tmp_path / "a.wav")
    corpus.run(overwrite=True)
    (tmp_path / "a.wav").rename(tmp_path / "in" / "news" / "a.wav")
    assert corpus.run() == ["news/a.wav"]


def test_a_manifest_that_changes_during_the_run(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log")
    corpus.write(ENTRIES)
    partitions = list(corpus.reader.partitions())
    corpus.write([entry("first/a.wav", "x" * 100), *ENTRIES])
    records = [r for p in partitions for batch in corpus.reader.process(p) for r in batch.records]
    assert [record["audio_filepath"] for record in records] == PATHS


def test_recordings_move_from_one_manifest_to_another(tmp_path: Path) -> None:
    corpus = Corpus(str(tmp_path), tmp_path / "log", "")
    corpus.audio(*PATHS)
    corpus.write(ENTRIES[:2], "one.jsonl")
    corpus.write(ENTRIES[2:], "two.jsonl")
    corpus.run()
    corpus.write(ENTRIES[:1], "one.jsonl")
    corpus.write(ENTRIES[1:], "two.jsonl")
    corpus.run()
    assert list(corpus.texts()) == ["news/a", "news/b", "talks/c"]
    (tmp_path / "in" / "two.jsonl").unlink()
    corpus.run()
    assert list(corpus.texts()) == ["news/a", "news/b", "talks/c"] and corpus.result.num_kept == 2


# Looking for audio -------------------------------------------------------------------------------------------


def test_folders_of_a_store_are_listed_once(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(s3_bucket, tmp_path / "log")
    paths = [f"{channel}/{number}.wav" for number in range(50) for channel in ("news", "talks", "pod")]
    corpus.audio(*paths[::2])
    corpus.write([entry(path) for path in paths])
    calls: Counter[str] = Counter()
    for name in ("list_files", "info"):
        real = getattr(Storage, name)

        def counted(self: Storage, path: str, *rest: Any, _name: str = name, _real: Any = real, **options: Any) -> Any:
            calls[f"{_name} {path.removeprefix(s3_bucket)}"] += 1
            return _real(self, path, *rest, **options)

        monkeypatch.setattr(Storage, name, counted)
    versions = [list(partition.inputs.values())[1] for partition in corpus.reader.partitions()]
    assert [version == "missing" for version in versions] == [False, True] * 75
    assert {name: number for name, number in calls.items() if "manifest" not in name} == {
        f"list_files /in/{channel}": 1 for channel in ("news", "talks", "pod")
    }


class Server(http.server.SimpleHTTPRequestHandler):
    """A server of files with etags that tell how many there were."""

    etag = "1"

    def do_HEAD(self) -> None:
        found = "none" not in self.path
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", "5")
        self.send_header("ETag", f'"{self.etag}"')
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_audio_on_a_web_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_port}/pod"
        rules = {"allowed_schemes": ["http"], "allow_private_hosts": True}
        corpus = Corpus(str(tmp_path), tmp_path / "log", **rules)
        corpus.write([*(entry(f"{base}/{number}.mp3") for number in range(5)), entry(f"{base}/none.mp3")])
        versions = [list(partition.inputs.values())[1] for partition in corpus.reader.partitions()]
        assert versions == ["5-1"] * 5 + ["missing"]
        assert len(corpus.run()) == 6 and corpus.run() == []
        monkeypatch.setattr(Server, "etag", "2")
        assert len(corpus.run()) == 5
    finally:
        server.shutdown()
        server.server_close()


# Audio that cannot be reached --------------------------------------------------------------------------------


def test_a_host_that_cannot_be_reached_stops_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def answer(request: Any) -> None:
        reply(request, 200, b"sound", ETag='"1"', Connection="close")

    with serving(answer) as address:
        port = int(address.rpartition(":")[2])
    corpus = Corpus(str(tmp_path), tmp_path / "log", allowed_schemes=["http"], allow_private_hosts=True)
    corpus.audio(*PATHS)
    corpus.write([*ENTRIES, entry(f"http://{address}/pod/d.wav")])
    assert corpus.run() == PATHS
    assert corpus.result.quarantined == {"unreachable_host": 1} and corpus.result.exit_status == 0

    with serving(answer, port=port):
        corpus.reader = RecordingReaderStage(**parameters(corpus.reader))  # which has not seen it down
        assert corpus.run() == [f"http://{address}/pod/d.wav"]
    assert corpus.result.quarantined == {} and "pod/d" in corpus.texts()

    corpus.reader = RecordingReaderStage(**parameters(corpus.reader))
    with warnings() as told:
        assert corpus.run() == []
    assert told == ["1 recording(s) that an earlier run read cannot be reached; their output is kept"]
    assert "pod/d" in corpus.texts()


def test_a_bucket_that_may_not_be_listed_is_asked_file_by_file(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Corpus(s3_bucket, tmp_path / "log")
    corpus.audio(*PATHS[:2])
    corpus.write(ENTRIES)
    real = Storage.list_files

    def list_files(self: Storage, folder: str, **options: Any) -> Any:
        if "/in/" in folder:
            raise AccessError(f"cannot list {folder}: access denied")
        return real(self, folder, **options)

    monkeypatch.setattr(Storage, "list_files", list_files)
    versions = [list(partition.inputs.values())[1] for partition in corpus.reader.partitions()]
    assert [version == "missing" for version in versions] == [False, False, True]


def test_odd_paths_in_the_runs_own_store_stop_nothing(s3_bucket: str, tmp_path: Path) -> None:
    corpus = Corpus(s3_bucket, tmp_path / "log")
    corpus.audio(*PATHS)
    odd = [
        "bucket-that-is-not-there/a.wav",
        "Bad_Bucket!/b.wav",
        f"x/{'k' * 1100}.wav",
        "x y/c.wav",
        "../d.wav",
        ".../e",
    ]
    corpus.write([*ENTRIES, *(entry(f"s3://{path}") for path in odd), entry("s3:///f.wav"), entry("../g.wav")])
    partitions = list(corpus.reader.partitions())
    versions = [list(partition.inputs.values())[1] for partition in partitions]
    assert len(versions) == 11 and all(version[:1].isdigit() for version in versions[:3])
    assert set(versions[3:]) <= {"missing", "unreachable"}
    batches = [batch for partition in partitions for batch in corpus.reader.process(partition)]
    assert [record["audio_filepath"] for batch in batches for record in batch.records][:3] == PATHS
    reasons = Counter(bad.reason for bad in corpus.reader.observed.quarantined)
    assert reasons["invalid_path"] == 1 and reasons["invalid_url"] == 2 and reasons["path_leaves_root"] == 1
