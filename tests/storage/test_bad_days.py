"""Stores that answer with less than there is, late, twice, not at all, or that they are busy."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator_audio import Pipeline
from curator_audio.errors import AccessError, ConfigurationError, StorageError
from curator_audio.executors.local import LocalExecutor
from curator_audio.finalizers import JoinParts
from curator_audio.stages.io import ManifestReaderStage, ManifestWriterStage
from curator_audio.storage import patience
from curator_audio.storage.lock import RunLock
from curator_audio.storage.storage import FileInfo, Storage
from tests.storage.bad_days import BadDays
from tests.storage.faulty_proxy import FaultyProxy
from tests.storage.servers import Store, refusal, refusing, reply, serving

DATA = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ACCESS_KEY", "test-access-key")
    monkeypatch.setenv("S3_SECRET_KEY", "test-secret-key")


@pytest.fixture
def behind(s3_endpoint: str, s3_bucket: str) -> Any:
    """Makes a storage behind a proxy: of every request the first ``num_failing`` tries suffer one of the faults."""

    @contextmanager
    def storage_behind(*faults: str, num_failing: float = 2) -> Iterator[Storage]:
        seen: Counter[tuple[str, str]] = Counter()

        def is_meant(method: str, path: str) -> bool:
            seen[method, path] += 1
            return seen[method, path] <= num_failing

        proxy = FaultyProxy(urlsplit(s3_endpoint).netloc, share=1.0, faults=faults, is_meant=is_meant)
        with serving(proxy) as host:
            yield Storage({"endpoint_url": f"http://{host}"})
        assert proxy.done, "nothing went wrong"

    return storage_behind


def read_open(storage: Storage, path: str, reads_ahead: bool = True) -> bytes:
    with storage.open(path, reads_ahead=reads_ahead) as file:
        pieces = [file.read(1000)]
        while pieces[-1]:
            pieces.append(file.read(3000))
        file.seek(0)
        assert file.read() == b"".join(pieces)
    return b"".join(pieces)


READS: dict[str, Callable[[Storage, str], bytes]] = {
    "read": Storage.read,
    "read_range": lambda storage, path: storage.read_range(path, 0, 5000) + storage.read_range(path, 5000, len(DATA)),
    "open": read_open,
    "open without reading ahead": lambda storage, path: read_open(storage, path, reads_ahead=False),
}
reads = pytest.mark.parametrize("read", READS.values(), ids=READS)


# Less than there is ------------------------------------------------------------------------------------------


def test_an_answer_that_is_not_what_was_asked_for_is_asked_for_again(behind: Any, s3_bucket: str) -> None:
    for name in READS:
        Storage().write(f"{s3_bucket}/{name}", DATA)
    faults = ("short", "short_and_told", "cut", "cut_in_chunks", "whole", "shifted")
    with behind(*faults, num_failing=4) as storage:
        for name, read in READS.items():
            assert read(storage, f"{s3_bucket}/{name}") == DATA


def test_a_store_that_gives_less_each_time_is_not_believed(behind: Any, s3_bucket: str) -> None:
    path = f"{s3_bucket}/a"
    Storage().write(path, DATA)
    with behind("short", "short_and_told", num_failing=1e9) as storage:
        for read in READS.values():
            with pytest.raises(StorageError) as raised:
                read(storage, path)
            assert type(raised.value) is StorageError, "which fails the partition, and sets no record aside"
            short = rf"cannot read {path}: the store gave \d+ of \d+ bytes; run again"
            assert re.fullmatch(short, str(raised.value))


@reads
def test_so_it_is_with_a_web_server(read: Callable[[Storage, str], bytes]) -> None:
    """The first answer is short, all are, or none."""

    def serve(num_short: float) -> Callable[[BaseHTTPRequestHandler], None]:
        left = [num_short]

        def answer(request: BaseHTTPRequestHandler) -> None:
            first, _, last = request.headers.get("Range", f"bytes=0-{len(DATA) - 1}")[6:].partition("-")
            data = DATA[int(first) : int(last) + 1]
            if request.command == "GET":
                left[0] -= 1
                data = data[:-1] if left[0] >= 0 else data
            told = {"Accept_Ranges": "bytes"} | (
                {"Content_Range": f"bytes {first}-{last}/{len(DATA)}"} if "Range" in request.headers else {}
            )
            reply(request, 206 if "Range" in request.headers else 200, data, **told)

        return answer

    with serving(serve(0)) as good, serving(serve(1)) as bad, serving(serve(1e9)) as worse:
        assert read(Storage(), f"http://{good}/a") == DATA
        assert read(Storage(), f"http://{bad}/a") == DATA
        with pytest.raises(
            StorageError, match=r"^cannot read http://.*/a: the store gave \d+ of \d+ bytes; run again$"
        ):
            read(Storage(), f"http://{worse}/a")


def test_no_lines_of_a_manifest_are_lost_in_silence(s3_endpoint: str, s3_bucket: str, tmp_path: Path) -> None:
    """Asked for a range of a manifest, the store gives a part of it, and says neither that nor how much there is."""
    lines = [b'{"audio_filepath":"%d.wav"}\n' % number for number in range(100)]
    Storage().write(f"{s3_bucket}/in.jsonl", b"".join(lines))

    def is_meant(method: str, path: str) -> bool:
        return method == "GET" and path.endswith("/in.jsonl")

    def run(share: float) -> tuple[str, list[bytes]]:
        """The reason of a failure, and what was written."""
        proxy = FaultyProxy(urlsplit(s3_endpoint).netloc, share=share, faults=("short",), is_meant=is_meant)
        out = f"{tmp_path}/out.jsonl"
        pipeline = Pipeline(
            "p", [ManifestReaderStage(f"{s3_bucket}/in.jsonl"), ManifestWriterStage(out)], [JoinParts()]
        )
        reason = ""
        try:
            with serving(proxy) as host:
                done = pipeline.run(LocalExecutor(), storage_options={"endpoint_url": f"http://{host}"})
                reason = " ".join(done.failures.values())
        except StorageError as error:  # already when it is looked into
            reason = str(error)
        return reason, Storage().read(out).splitlines(True) if Storage().exists(out) else []

    reason, written = run(share=1.0)
    assert re.search(r"in.jsonl: the store gave \d+ of \d+ bytes; run again", reason), "taken for all there is"
    assert written == []
    assert run(share=0.0) == ("", lines)


def test_a_web_server_that_gives_the_whole_file_for_any_range() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        reply(request, 200, DATA, Accept_Ranges="bytes")

    ignores = "its server ignores byte ranges; copy the file elsewhere"
    with serving(answer) as host, pytest.raises(StorageError, match=ignores):
        read_open(Storage(), f"http://{host}/a", reads_ahead=False)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 45), st.integers(0, 50))
def test_a_range_is_what_lies_in_it_or_an_error(data: bytes, start: int, end: int) -> None:
    storage, path = Storage(), f"{tempfile.gettempdir()}/bad-days-range"
    storage.write(path, data)
    if end <= len(data) or end <= start:
        assert storage.read_range(path, start, end) == data[start:end]
    else:
        with pytest.raises(StorageError):
            storage.read_range(path, start, end)


# Another object ----------------------------------------------------------------------------------------------


def test_pieces_of_two_versions_are_not_put_together(s3_bucket: str, tmp_path: Path) -> None:
    storage, changed = Storage(), r": it has changed since it was listed; run again$"
    for path in (f"{s3_bucket}/a", f"{tmp_path}/a"):
        storage.write(path, b"a" * 10)
        listed = storage.info(path)
        assert storage.read_range(path, 0, 5, listed) == b"aaaaa"
        storage.write(path, b"b" * 11)
        with pytest.raises(StorageError, match=changed):
            storage.read_range(path, 5, 10, listed)

    with pytest.raises(StorageError, match=changed), storage.open(f"{s3_bucket}/a", reads_ahead=False) as file:
        assert file.read(5) == b"bbbbb"
        storage.write(f"{s3_bucket}/a", b"c" * 11)
        file.read(5)


def test_a_store_that_knows_no_conditions(s3_bucket: str) -> None:
    """It answers with the object that is there, and its etag."""
    with serving(Store(objects={"a": b"x" * 10})) as host:
        storage, path = Storage({"endpoint_url": f"http://{host}"}), "s3://bucket/a"
        assert storage.read_range(path, 0, 10, FileInfo(path, 10, "10-e")) == b"x" * 10
        assert storage.read_range(path, 0, 10, FileInfo(path, 10, "10-2026-01-01 00:00:00+00:00")) == b"x" * 10
        with pytest.raises(StorageError, match="it has changed since it was listed"):
            storage.read_range(path, 0, 10, FileInfo(path, 10, "10-f"))


def test_a_file_that_is_written_while_it_is_read_is_read_again() -> None:
    """Between the look at its size and the reading it is replaced by a longer one, twice."""
    versions = [b"1", b"22", b"333"]

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.command == "GET" and len(versions) > 1:
            versions.pop(0)
        first, _, last = request.headers.get("Range", "bytes=0-99")[6:].partition("-")
        etag = f'"{len(versions)}"'
        if request.headers.get("If-Match", etag) != etag:
            return reply(request, 412)
        reply(request, 206, versions[0][int(first) : int(last) + 1], ETag=etag)

    with serving(answer) as host:
        assert Storage({"endpoint_url": f"http://{host}"}).read("s3://bucket/a") == b"333"


# Busy, lost, repeated ----------------------------------------------------------------------------------------


def create(storage: Storage, path: str) -> None:
    with storage.create(path) as file:
        file.write(DATA)
        file.write(DATA)


def test_every_kind_of_request_is_made_again(behind: Any, s3_bucket: str) -> None:
    good, faults = Storage(), ("busy", "failed_after", "lost", "reset", "repeated")
    for key in ("there/a", "there/b/c", "gone"):
        good.write(f"{s3_bucket}/{key}", DATA)

    with behind(*faults, num_failing=5) as storage:
        assert [file.path for file in storage.list_files(f"{s3_bucket}/there")] == [
            f"{s3_bucket}/there/a",
            f"{s3_bucket}/there/b/c",
        ]
        assert [file.path for file in storage.glob(f"{s3_bucket}/*/*/c")] == [f"{s3_bucket}/there/b/c"]
        assert storage.info(f"{s3_bucket}/there/a") == storage.find(f"{s3_bucket}/there/a")
        assert storage.is_folder(f"{s3_bucket}/there") and not storage.exists(f"{s3_bucket}/nowhere")
        assert storage.read(f"{s3_bucket}/there/a") == DATA
        storage.write(f"{s3_bucket}/new", b"new")
        assert storage.create_exclusively(f"{s3_bucket}/lock", b"mine") is True
        create(storage, f"{s3_bucket}/large")
        assert storage.copy_within_store(f"{s3_bucket}/there/a", f"{s3_bucket}/copy")
        storage.delete([f"{s3_bucket}/gone", f"{s3_bucket}/never"])

    left = {file.path.removeprefix(f"{s3_bucket}/"): good.read(file.path) for file in good.list_files(s3_bucket)}
    made = {"new": b"new", "lock": b"mine", "large": DATA + DATA, "copy": DATA}
    assert left == {"there/a": DATA, "there/b/c": DATA} | made


def test_what_others_created_is_not_taken_for_ours(behind: Any, s3_bucket: str) -> None:
    Storage().write(f"{s3_bucket}/lock", b"theirs")
    with behind("busy", num_failing=1) as storage:
        assert storage.create_exclusively(f"{s3_bucket}/lock", b"mine") is False
    assert Storage().read(f"{s3_bucket}/lock") == b"theirs"


def test_why_it_cannot_be_told_whose_a_file_is() -> None:
    """There is one already, and it cannot be read: that is the reason, and not that there is one."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.command == "PUT":
            return reply(request, 412)
        reply(request, 206, b"mine", ETag='"e"', **{"Content-Range": "bytes 7-10/11"})

    with serving(answer) as host, pytest.raises(StorageError, match="its server ignores byte ranges"):
        Storage({"endpoint_url": f"http://{host}"}).create_exclusively("s3://bucket/lock", b"mine")


def test_a_run_does_not_refuse_because_of_its_own_lock(behind: Any, s3_bucket: str) -> None:
    """The lock was written and the answer lost; made again, the request finds a lock there."""
    with behind("lost", "failed_after") as storage, RunLock(storage, f"{s3_bucket}/lock.json"):
        assert Storage().exists(f"{s3_bucket}/lock.json")
        with (
            pytest.raises(ConfigurationError, match="another run is working here"),
            RunLock(Storage(), f"{s3_bucket}/lock.json"),
        ):
            pass
    assert not Storage().exists(f"{s3_bucket}/lock.json")


class Forgetting:
    """A store that loses its answers to uploads that are complete, and knows of them no more; or that drops them."""

    def __init__(self, drops: bool) -> None:
        self.drops, self.etag = drops, '"of an older object"'

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        md5 = hashlib.md5(getattr(request, "body", b""))
        if request.command == "HEAD":
            reply(request, 200, ETag=self.etag)
        elif request.command == "PUT":
            self.part = md5.digest()
            reply(request, 200, ETag=f'"{md5.hexdigest()}"')
        elif request.command == "POST" and request.path.endswith("?uploads"):
            reply(request, 200, b"<R><Bucket>bucket</Bucket><Key>a</Key><UploadId>u</UploadId></R>")
        elif request.command == "POST" and not self.drops and "older" in self.etag:
            self.etag = f'"{hashlib.md5(self.part).hexdigest()}-1"'
            request.close_connection = True
        else:
            reply(request, 404, refusal("NoSuchUpload"))


def test_an_upload_that_was_complete_is_found_again() -> None:
    with serving(Forgetting(drops=False)) as host:
        create(Storage({"endpoint_url": f"http://{host}"}), "s3://bucket/a")


def test_an_upload_that_the_store_has_dropped_is_no_file() -> None:
    with serving(Forgetting(drops=True)) as host, pytest.raises(StorageError) as raised:
        create(Storage({"endpoint_url": f"http://{host}"}), "s3://bucket/a")
    assert type(raised.value) is StorageError, "not that there is no such bucket, which would end the run"
    dropped = "the store dropped the upload before it was complete; run again"
    assert str(raised.value) == f"cannot write s3://bucket/a: {dropped}"


@pytest.mark.parametrize(
    "page", [b"", b"<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated></ListBucketResult>"]
)
def test_a_page_that_cannot_be_all_there_is_is_no_folder(page: bytes) -> None:
    with serving(lambda request: reply(request, 200, page)) as host, pytest.raises(StorageError) as raised:
        Storage({"endpoint_url": f"http://{host}"}).list_files("s3://bucket/a")
    assert str(raised.value) == "cannot list s3://bucket/a: what answers there is no S3 store; check endpoint_url"


def test_a_folder_that_cannot_be_listed_is_not_passed_over() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if "prefix=a%2Fb" in request.path:
            return reply(request, 403, refusal("AccessDenied"))
        folders = "".join(f"<CommonPrefixes><Prefix>a/{name}/</Prefix></CommonPrefixes>" for name in "bc")
        reply(request, 200, f"<ListBucketResult><Name>bucket</Name>{folders}</ListBucketResult>".encode())

    with serving(answer) as host:
        storage = Storage({"endpoint_url": f"http://{host}"})
        for look in (lambda: storage.glob("s3://bucket/a/*/x"), lambda: storage.list_files("s3://bucket/a", 2)):
            with pytest.raises(AccessError, match="access denied"):
                look()


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "InvalidAccessKeyId"), (404, "NoSuchBucket")],
)
def test_what_asking_again_cannot_help_is_asked_once(status: int, code: str) -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        refusing(status, code)(request)

    with serving(answer) as host, pytest.raises((AccessError, ConfigurationError)):
        Storage({"endpoint_url": f"http://{host}"}).write("s3://bucket/a", b"x")
    assert len(asked) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_store_that_stays_busy_is_given_up(status: int) -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        reply(request, status, refusal("SlowDown", "Reduce your request rate"))

    with serving(answer) as host, pytest.raises(StorageError) as raised:
        Storage({"endpoint_url": f"http://{host}"}).read_range("s3://bucket/a", 0, 5)
    busy = f"the store answered {status} (SlowDown: Reduce your request rate)"
    assert str(raised.value) == f"cannot read s3://bucket/a: {busy}"
    assert len(asked) == patience.TRIES


def test_the_store_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    slept = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await slept(0)

    monkeypatch.setattr("curator_audio.storage.s3_filesystem.asyncio.sleep", sleep)
    answers = iter([{"Retry_After": "7"}, {"Retry_After": "86400"}, {}])

    def answer(request: BaseHTTPRequestHandler) -> None:
        told = next(answers, None)
        if told is None:
            return reply(request, 206, b"12345", ETag='"e"')
        reply(request, 429, b"", **told)

    with serving(answer) as host:
        assert Storage({"endpoint_url": f"http://{host}"}).read_range("s3://bucket/a", 0, 5) == b"12345"
    asked = [wait for wait in waits if wait >= 1]
    assert [round(wait) for wait in asked] == [7, patience.LONGEST_ASKED_WAIT_SEC]


# Uploads that nobody finished --------------------------------------------------------------------------------


class Uploads:
    """A store with uploads that were begun at some time, below some keys."""

    def __init__(self, **begun: str) -> None:
        self.begun, self.aborted = begun, []  # type: ignore[var-annotated]
        self.asked: list[str] = []

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        if request.command == "DELETE":
            self.aborted.append(request.path.rpartition("uploadId=")[2])
            return reply(request, 204)
        uploads = "".join(
            f"<Upload><Key>out/{name}</Key><UploadId>{name}</UploadId><Initiated>{at}</Initiated></Upload>"
            for name, at in self.begun.items()
        )
        body = f"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{uploads}</ListMultipartUploadsResult>"
        reply(request, 200, body.encode())


def test_uploads_older_than_a_day_are_aborted() -> None:
    store = Uploads(old="2020-01-01T00:00:00.000Z", new="2999-01-01T00:00:00.000Z")
    with serving(store) as host:
        storage = Storage({"endpoint_url": f"http://{host}"})
        assert storage.abort_stale_uploads("s3://bucket/out") == 1
        assert store.aborted == ["old"]
        assert "prefix=out%2F" in store.asked[0], "those of other folders are not asked for"
        assert storage.abort_stale_uploads("s3://bucket") == 0, "a whole bucket may hold anybody's"
    assert storage.abort_stale_uploads("/local/out") == 0


@pytest.mark.parametrize("status", [403, 501])
def test_who_may_not_list_uploads_goes_on_without(status: int) -> None:
    with serving(refusing(status, "AccessDenied")) as host:
        assert Storage({"endpoint_url": f"http://{host}"}).abort_stale_uploads("s3://bucket/out") == 0


# Whole runs --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def days(s3_endpoint: str) -> Iterator[BadDays]:
    name = f"bad-days-{hashlib.sha256(s3_endpoint.encode()).hexdigest()[:8]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_ACCESS_KEY", "test-access-key")
        patch.setenv("S3_SECRET_KEY", "test-secret-key")
        urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{name}", method="PUT")).close()
        yield BadDays(s3_endpoint, f"s3://{name}")


@pytest.mark.parametrize(("job", "seed"), [("segment", 8), ("transfer", 3)])
def test_a_run_on_a_bad_day(job: str, seed: int, days: BadDays) -> None:
    """``benchmarking/scripts/store_faults.py`` does this with all pipelines and as many seeds as wanted."""
    assert "same bytes" in days.outcome(job, seed).result
