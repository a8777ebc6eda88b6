"""What a run says when its storage fails."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from curator_audio.errors import AccessError, ConfigurationError, CuratorError, StorageError, StorageFullError
from curator_audio.storage.failures import explained, without_secrets
from curator_audio.storage.s3 import s3_arguments
from curator_audio.storage.storage import Storage
from tests.storage.servers import certificate, refusing, reply, serving

SIZE = 300_000
PATH = "s3://bucket/a.jsonl"
Do = Callable[[Storage, str], object]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("S3_ACCESS_KEY", "test-access-key")
    monkeypatch.setenv("S3_SECRET_KEY", "test-secret-key")


def storage_at(endpoint: str) -> Storage:
    return Storage({"endpoint_url": endpoint})


def impatient_storage_at(endpoint: str) -> Storage:
    """One that waits for half a second, and sends nothing twice."""
    storage = storage_at(endpoint)
    once = {"config_kwargs": {"read_timeout": 0.5}, "tries": 1}
    storage._s3_arguments = s3_arguments({"endpoint_url": endpoint}) | once
    return storage


def read_open(storage: Storage, path: str) -> bytes:
    with storage.open(path) as file:
        return file.read()


def create(storage: Storage, path: str) -> None:
    with storage.create(path) as file:
        file.write(b"x")


# Refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (403, "InvalidAccessKeyId", ConfigurationError, "the store does not know the access key; check S3_ACCESS_KEY"),
        (403, "SignatureDoesNotMatch", ConfigurationError, "the secret key is not the access key's; check S3_SECRET"),
        (400, "ExpiredToken", ConfigurationError, "the credentials have expired; get new ones, and run again"),
        (403, "RequestTimeTooSkewed", ConfigurationError, "this machine's clock says "),
        (404, "NoSuchBucket", AccessError, "there is no such bucket; check the path"),
        (403, "AccessDenied", AccessError, "access denied; check credentials and bucket policy"),
        (403, "InvalidObjectState", AccessError, "the object is archived; restore it first"),
        (400, "XMinioAdminBucketQuotaExceeded", StorageFullError, "the store is full, or its quota is used up; make"),
        (409, "OperationAborted", StorageError, "the store answered 409 (OperationAborted: no: AWS4-HMAC-SHA256 "),
    ],
)
def test_what_the_store_refuses(status: int, code: str, kind: type[CuratorError], message: str) -> None:
    with serving(refusing(status, code)) as host, pytest.raises(CuratorError) as raised:
        storage_at(f"http://{host}").write(PATH, b"x")
    assert type(raised.value) is kind
    assert str(raised.value).startswith(f"cannot write {PATH}: {message}")
    assert "test-secret-key" not in str(raised.value)


@pytest.mark.parametrize(
    ("verb", "do"),
    [
        ("read", lambda storage, path: storage.read_range(path, 0, 9)),
        ("read", Storage.is_folder),
        ("list", Storage.list_files),
        ("list", Storage.glob),
        ("write", lambda storage, path: storage.create_exclusively(path, b"x")),
        ("write", create),
        ("delete", lambda storage, path: storage.delete([path])),
    ],
)
def test_it_is_the_same_whatever_is_asked(verb: str, do: Do) -> None:
    with serving(refusing(400, "ExpiredToken")) as host, pytest.raises(ConfigurationError) as raised:
        do(storage_at(f"http://{host}"), f"{PATH}*")
    assert str(raised.value) == f"cannot {verb} {PATH}*: the credentials have expired; get new ones, and run again"


def test_what_the_store_says_is_one_line() -> None:
    body = b"<Error><Code>Odd</Code><Message>one\ntwo</Message></Error>"
    with serving(lambda request: reply(request, 409, body)) as host, pytest.raises(StorageError) as raised:
        storage_at(f"http://{host}").write(PATH, b"x")
    assert str(raised.value) == f"cannot write {PATH}: the store answered 409 (Odd: one two)"


@pytest.mark.parametrize("do", [Storage.info, Storage.read, Storage.exists, read_open])
def test_a_refusal_without_words(do: Do) -> None:
    """The answer to HEAD has no body, and so no code; the store is asked in a way that has it say more."""
    with serving(refusing(403, "AccessDenied")) as host, pytest.raises(AccessError) as raised:
        do(storage_at(f"http://{host}"), PATH)
    assert str(raised.value) == f"cannot read {PATH}: access denied; check credentials and bucket policy"
    with serving(refusing(400, "ExpiredToken")) as host, pytest.raises(ConfigurationError) as raised:
        do(storage_at(f"http://{host}"), PATH)
    assert str(raised.value) == f"cannot read {PATH}: the credentials have expired; get new ones, and run again"


def test_a_store_without_etags() -> None:
    with serving(lambda request: reply(request, 200, b"12345")) as host:
        found = storage_at(f"http://{host}").find(PATH)
    assert found is not None and (found.num_bytes, found.etag) == (5, None)


# TLS ---------------------------------------------------------------------------------------------------------


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    _, context = certificate(tmp_path)
    with serving(lambda request: reply(request, 200), context) as host:
        with pytest.raises(ConfigurationError) as of_store:
            impatient_storage_at(f"https://{host}").read_range(PATH, 0, 9)
        with pytest.raises(AccessError) as of_web:
            Storage().read_range(f"https://{host}/a.jsonl", 0, 9)
    refused = f"the TLS certificate of https://{host} is not accepted (self-signed certificate)"
    give = "for a certificate authority of your own give"
    assert str(of_store.value) == f"cannot read {PATH}: {refused}; {give} storage_options.verify=/path/ca.pem"
    assert str(of_web.value) == f"cannot read https://{host}/a.jsonl: {refused}; {give} SSL_CERT_FILE=/path/ca.pem"


# Connections that break --------------------------------------------------------------------------------------


def broken_off(how: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """A server that sends the half of what it announces, of lists and of objects."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        if request.command == "HEAD":
            return reply(request, 200, Content_Length=str(SIZE), ETag='"e"', Accept_Ranges="bytes")
        first, _, last = (request.headers.get("Range") or f"bytes=0-{SIZE}").partition("=")[2].partition("-")
        num_bytes = min(int(last or SIZE), SIZE - 1) + 1 - int(first)
        is_part = "Range" in request.headers
        request.send_response(206 if is_part else 200)
        request.send_header("ETag", '"e"')
        if is_part:
            request.send_header("Content-Range", f"bytes {first}-{int(first) + num_bytes - 1}/{SIZE}")
        if how == "chunked":
            request.send_header("Transfer-Encoding", "chunked")
        else:
            request.send_header("Content-Length", str(num_bytes))
        request.end_headers()
        request.wfile.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n" if how == "chunked" else b"x" * (num_bytes // 2))
        if how == "reset":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.connection.close()
        elif how == "stalled":
            request.connection.settimeout(3)
            request.rfile.read(1)

    return answer


READS = [
    ("read", Storage.read),
    ("read", lambda storage, path: storage.read_range(path, 1000, 100_000)),
    ("read", read_open),
    ("list", Storage.list_files),
]


@pytest.mark.parametrize("how", ["closed", "reset", "chunked"])
@pytest.mark.parametrize(("verb", "do"), READS)
def test_a_connection_cut_midway_may_be_tried_again(how: str, verb: str, do: Do) -> None:
    with serving(broken_off(how)) as host, pytest.raises(StorageError) as raised:
        do(impatient_storage_at(f"http://{host}"), PATH)
    assert type(raised.value) is StorageError
    assert str(raised.value) == f"cannot {verb} {PATH}: the connection was cut before all was there; run again"


@pytest.mark.parametrize("how", ["closed", "reset", "chunked"])
@pytest.mark.parametrize("do", [do for verb, do in READS if verb == "read"])
def test_so_may_one_to_a_web_server(how: str, do: Do) -> None:
    with serving(broken_off(how)) as host, pytest.raises(StorageError) as raised:
        do(Storage(), f"http://{host}/a.jsonl")
    assert type(raised.value) is StorageError
    cut = "the connection was cut before all was there; run again"
    assert str(raised.value) == f"cannot read http://{host}/a.jsonl: {cut}"


@pytest.mark.parametrize(("verb", "do"), READS)
def test_a_server_that_stops_midway(verb: str, do: Do) -> None:
    with serving(broken_off("stalled")) as host, pytest.raises(StorageError) as raised:
        do(impatient_storage_at(f"http://{host}"), PATH)
    assert type(raised.value) is StorageError
    silent = f"the endpoint cannot be reached (http://{host} does not answer in time)"
    assert str(raised.value) == f"cannot {verb} {PATH}: {silent}; check endpoint_url and the network"


# The rest ----------------------------------------------------------------------------------------------------


def test_what_can_only_be_read() -> None:
    with pytest.raises(AccessError, match=r"^cannot write https://host/out: https:// can only be read; choose another"):
        create(Storage(), "https://host/out")


def test_what_is_no_failure_of_storage_is_left_as_it_is() -> None:
    for error in (ValueError("mine"), IndexError("mine"), NotImplementedError("mine"), RuntimeError("mine")):
        with pytest.raises(type(error), match="mine"), explained(PATH, "read"):
            raise error


def test_errors_that_caused_each_other_are_no_trap() -> None:
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    with pytest.raises(StorageError, match=f"cannot read {PATH}: first"), explained(PATH, "read"):
        raise first


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read s3://bucket/a@b: no", "cannot read s3://bucket/a@b: no"),
        ("cannot read /data/what?: no", "cannot read /data/what?: no"),
        ("cannot read s3://bucket/a?.jsonl: no", "cannot read s3://bucket/a?.jsonl: no"),
        ("cannot read sftp://me:hunter2@host/a: no", "cannot read sftp://…@host/a: no"),
        ("cannot read https://host/a?sig=hunter2&b=c: no", "cannot read https://host/a?…: no"),
        (
            "no 'http://me@host:1/a?b=hunter2', nor http://other:2/?hunter2",
            "no 'http://…@host:1/a?…', nor http://other:2/?…",
        ),
    ],
)
def test_urls_are_shown_without_their_secrets(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
