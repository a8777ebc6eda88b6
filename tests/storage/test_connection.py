"""What ``--check`` says, of real servers on this machine."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import (
    AccessError,
    ConfigurationError,
    CuratorError,
    StorageError,
    StorageFullError,
    UnreachableError,
)
from curator_audio.storage.connection import check_connection
from curator_audio.storage.storage import Storage
from tests.storage.servers import Store, certificate, refusing, reply, serving

ACCESS_KEY, SECRET_KEY = "AKIDOFMINE", "hunter2hunter2"
FOLDER = "s3://bucket/folder"
FULL = "the store is full, or its quota is used up; make room and run again"
DENIED = "access denied; check credentials and bucket policy"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("S3_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("S3_SECRET_KEY", SECRET_KEY)


def refused(kind: type[CuratorError], path: str, timeout_sec: float = 10.0, **options: Any) -> str:
    """The one line of a check that ends in an error of just this kind, and that shows no secret."""
    with pytest.raises(CuratorError) as raised:
        check_connection(path, options, timeout_sec)
    message = str(raised.value)
    assert type(raised.value) is kind, message
    assert "\n" not in message and ACCESS_KEY not in message and SECRET_KEY not in message
    return message


def without_time(line: str) -> str:
    assert re.search(r"[ (]\d+ ms a request\)$", line)
    return re.sub(r"\d+ ms", "… ms", line)


# All is well -------------------------------------------------------------------------------------------------


def test_a_folder_of_a_store(s3_endpoint: str, s3_bucket: str) -> None:
    options = {"endpoint_url": s3_endpoint}
    can = f"can be listed, read, written and deleted (endpoint {s3_endpoint}, … ms a request)"

    for path in (f"{s3_bucket}/folder", f"{s3_bucket}/folder/", s3_bucket):
        assert without_time(check_connection(path, options)) == f"{path.rstrip('/')} (nothing there yet) {can}"
    assert Storage(options).list_files(s3_bucket) == []

    Storage(options).write(f"{s3_bucket}/folder/in.jsonl", b"{}")
    assert without_time(check_connection(f"{s3_bucket}/folder", options)) == f"{s3_bucket}/folder {can}"
    assert [info.path for info in Storage(options).list_files(s3_bucket)] == [f"{s3_bucket}/folder/in.jsonl"]


def test_a_file_of_a_store_is_only_read(s3_endpoint: str, s3_bucket: str) -> None:
    path = f"{s3_bucket}/in.jsonl"
    Storage({"endpoint_url": s3_endpoint}).write(path, b"{}")

    line = check_connection(path, {"endpoint_url": s3_endpoint})

    assert without_time(line) == f"{path} can be read (endpoint {s3_endpoint}, … ms a request)"


def test_a_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("{}")

    assert check_connection(str(tmp_path)) == f"{tmp_path} can be listed, read, written and deleted"
    assert check_connection(f"file://{tmp_path}/in.jsonl") == f"{tmp_path}/in.jsonl can be read"
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    line = check_connection(f"{tmp_path}/a/b")

    assert line == f"{tmp_path}/a/b (nothing there yet) can be listed, read, written and deleted"
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_web_server() -> None:
    with serving(lambda request: reply(request, 206, b"{")) as host:
        line = check_connection(f"http://{host}/in.jsonl?signature=hunter2hunter2")
    assert without_time(line) == f"http://{host}/in.jsonl?… can be read (… ms a request)"


# Some of it is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("denied", "can"),
    [
        (["write"], "can be listed and read, but not written"),
        (["write", "read"], "can be listed, but not read or written"),
        (["write", "list"], "cannot be listed or written"),
        (["list"], "can be read, written and deleted, but not listed"),
        (["read"], "can be listed, written and deleted, but not read"),
        (["list", "read", "write", "delete"], "cannot be listed or written"),
    ],
)
def test_what_may_be_done_is_told(denied: list[str], can: str) -> None:
    store = Store(*denied, objects={"folder/": b"", "folder/in.jsonl": b"{}"})
    with serving(store) as host:
        line = refused(AccessError, FOLDER, endpoint_url=f"http://{host}")

    assert line == f"{FOLDER} {can}: {DENIED} (endpoint http://{host})"
    assert list(store.objects) == ["folder/", "folder/in.jsonl"]


def test_an_empty_folder_that_may_not_be_written() -> None:
    with serving(Store("write")) as host:
        line = refused(AccessError, FOLDER, endpoint_url=f"http://{host}")
    assert line == f"{FOLDER} (nothing there yet) can be listed, but not written: {DENIED} (endpoint http://{host})"


def test_a_file_that_cannot_be_deleted_is_named() -> None:
    store = Store("delete", objects={"folder/in.jsonl": b"{}"})
    with serving(store) as host:
        line = refused(AccessError, FOLDER, endpoint_url=f"http://{host}")

    (left,) = set(store.objects) - {"folder/in.jsonl"}
    can = "can be listed, read and written, but not deleted"
    assert line == f"{FOLDER} {can}: {DENIED}; s3://bucket/{left} stays there (endpoint http://{host})"


def test_below_a_file_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    line = refused(AccessError, f"{tmp_path}/file/out")
    assert line == f"{tmp_path}/file/out cannot be listed or written: a part of the path is a file, not a folder"


# The store refuses everything --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (
            403,
            "InvalidAccessKeyId",
            ConfigurationError,
            "the store does not know the access key; check S3_ACCESS_KEY (or AWS_ACCESS_KEY_ID) and endpoint_url",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            ConfigurationError,
            "the secret key is not the access key's; check S3_SECRET_KEY (or AWS_SECRET_ACCESS_KEY)",
        ),
        (400, "ExpiredToken", ConfigurationError, "the credentials have expired; get new ones, and run again"),
        (
            400,
            "InvalidToken",
            ConfigurationError,
            "the session token is not valid; check AWS_SESSION_TOKEN, or get a new one",
        ),
        (404, "NoSuchBucket", AccessError, "there is no such bucket; check the path"),
        (403, "AccessDenied", AccessError, DENIED),
        (
            507,
            "XMinioStorageFull",
            StorageFullError,
            "the store is full, or its quota is used up; make room and run again",
        ),
    ],
)
def test_what_the_store_says_is_explained(status: int, code: str, kind: type[CuratorError], message: str) -> None:
    with serving(refusing(status, code)) as host:
        line = refused(kind, FOLDER, endpoint_url=f"http://{host}")
    cannot = f"{FOLDER} cannot be listed or written" if kind is AccessError else f"cannot list {FOLDER}"
    assert line == f"{cannot}: {message} (endpoint http://{host})"


@pytest.mark.parametrize(
    ("status", "code", "details", "headers", "region"),
    [
        (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>", {}, "eu-west-1"),
        (301, "PermanentRedirect", "", {"x_amz_bucket_region": "eu-west-1"}, "eu-west-1"),
        (400, "IllegalLocationConstraintException", "", {}, "…"),
    ],
)
def test_the_region_to_set_is_named(status: int, code: str, details: str, headers: dict[str, str], region: str) -> None:
    with serving(refusing(status, code, details, **headers)) as host:
        line = refused(AccessError, FOLDER, endpoint_url=f"http://{host}")
    assert f": the bucket is in another region; set storage_options.region={region} (endpoint" in line


def test_both_clocks_are_shown() -> None:
    with serving(refusing(403, "RequestTimeTooSkewed")) as host:
        line = refused(ConfigurationError, FOLDER, endpoint_url=f"http://{host}")
    clock = r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
    assert re.search(f": this machine's clock says {clock}, and the store's {clock}; set this one ", line)


def test_an_answer_without_a_reason() -> None:
    with serving(lambda request: reply(request, 400, b"no")) as host:
        line = refused(StorageError, FOLDER, endpoint_url=f"http://{host}")
    answered = "the store answered 400 and gave no reason; is endpoint_url that of an S3 store?"
    assert line == f"cannot list {FOLDER}: {answered} (endpoint http://{host})"


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>hello</html>"), (404, b"<html>hello</html>")])
def test_a_web_page_is_no_store(status: int, body: bytes) -> None:
    with serving(lambda request: reply(request, status, body, Content_Type="text/html")) as host:
        line = refused(StorageError, FOLDER, endpoint_url=f"http://{host}")
    no_store = "what answers there is no S3 store; check endpoint_url"
    assert line == f"cannot list {FOLDER}: {no_store} (endpoint http://{host})"


def test_what_comes_back_is_compared() -> None:
    class Forgetful(Store):
        def __call__(self, request: BaseHTTPRequestHandler) -> None:
            super().__call__(request)
            self.objects = dict.fromkeys(self.objects, b"something else")

    with serving(Forgetful()) as host:
        line = refused(ConfigurationError, FOLDER, endpoint_url=f"http://{host}")
    setting = "AWS_REQUEST_CHECKSUM_CALCULATION=when_required for a store without trailing checksums"
    remedy = f"check endpoint_url, or set {setting} (endpoint http://{host})"
    assert line == f"cannot read {FOLDER}: what comes back is not what was written; {remedy}"


# Credentials -------------------------------------------------------------------------------------------------


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("S3_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    with serving(Store()) as host:
        line = refused(ConfigurationError, FOLDER, endpoint_url=f"http://{host}")
        remedy = "set S3_ACCESS_KEY and S3_SECRET_KEY, or AWS's own variables"
        assert line == f"cannot list {FOLDER}: no credentials; {remedy} (endpoint http://{host})"

        assert check_connection(FOLDER, {"endpoint_url": f"http://{host}", "anon": True}).startswith(FOLDER)


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("AWS_PROFILE", "nobody", "The config profile (nobody) could not be found"),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY, "Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_half_of_the_credentials(monkeypatch: pytest.MonkeyPatch, name: str, value: str, detail: str) -> None:
    monkeypatch.delenv("S3_ACCESS_KEY")
    monkeypatch.setenv(name, value)
    with serving(Store()) as host:
        line = refused(ConfigurationError, FOLDER, endpoint_url=f"http://{host}")
    assert line.startswith(f"cannot list {FOLDER}: no credentials ({detail}); set S3_ACCESS_KEY and")


def test_credentials_with_a_line_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ACCESS_KEY", f"{ACCESS_KEY}\n")
    with serving(Store()) as host:
        line = refused(ConfigurationError, FOLDER, endpoint_url=f"http://{host}")
    assert ": the credentials hold a line break or the like; set them without (endpoint" in line


def test_no_secret_of_a_url_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://{ACCESS_KEY}:{SECRET_KEY}@127.0.0.1:1"
    assert "http://…@127.0.0.1:1 refuses" in refused(UnreachableError, FOLDER, endpoint_url=endpoint, anon=True)
    assert "http://…@127.0.0.1:1" in refused(UnreachableError, f"{endpoint}/in.jsonl?signature={SECRET_KEY}")
    monkeypatch.setenv("HTTP_PROXY", endpoint)
    line = refused(UnreachableError, FOLDER, endpoint_url="http://127.0.0.1:2")
    assert "(http://…@127.0.0.1:1 refuses connections: nothing listens there); check HTTP_PROXY and HTTPS_PROXY" in line


# The network -------------------------------------------------------------------------------------------------


def test_nobody_listens() -> None:
    line = refused(UnreachableError, FOLDER, endpoint_url="http://127.0.0.1:1")
    unreachable = "the endpoint cannot be reached (http://127.0.0.1:1 refuses connections: nothing listens there)"
    assert line == f"cannot list {FOLDER}: {unreachable}; check endpoint_url"


def test_a_host_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    line = refused(UnreachableError, FOLDER, endpoint_url="http://store.invalid:9000")
    unreachable = "the endpoint cannot be reached (the host of http://store.invalid:9000 is not known)"
    assert line == f"cannot list {FOLDER}: {unreachable}; check endpoint_url"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_never_answers(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        line = refused(StorageError, FOLDER, 0.5, endpoint_url=endpoint)
    silence = "no answer within 0.5 s; check the address and the network"
    assert line == f"cannot list {FOLDER}: {silence} (endpoint {endpoint})"


def test_a_server_that_hangs_while_it_is_written_to() -> None:
    released = threading.Event()

    class Hanging(Store):
        def __call__(self, request: BaseHTTPRequestHandler) -> None:
            if request.command == "PUT":
                released.wait(20)
            super().__call__(request)

    with serving(Hanging()) as host:
        line = refused(StorageError, FOLDER, 1.0, endpoint_url=f"http://{host}")
        released.set()
    assert re.fullmatch(
        rf"cannot write {FOLDER}/\.connection-check-\w+: no answer within 1 s; check the address and the network "
        rf"\(endpoint http://{host}\)",
        line,
    )


def test_a_server_that_hangs_up() -> None:
    with serving(lambda request: setattr(request, "close_connection", True)) as host:
        line = refused(StorageError, FOLDER, endpoint_url=f"http://{host}")
    closed = f"the endpoint cannot be reached (http://{host} closes connections without an answer)"
    assert line == f"cannot list {FOLDER}: {closed}; check endpoint_url, and whether it is https://"


# TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def tls_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The ``host:port`` of a store with a certificate of its own, and the file that vouches for it."""
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")  # our store takes content as it comes
    pem, context = certificate(tmp_path)
    with serving(Store(), context) as host:
        yield host, pem


def test_a_certificate_of_ones_own(tls_store: tuple[str, str]) -> None:
    host, pem = tls_store
    line = refused(ConfigurationError, FOLDER, endpoint_url=f"https://{host}")
    remedy = "for a certificate authority of your own give storage_options.verify=/path/ca.pem"
    refusal = f"the TLS certificate of https://{host} is not accepted (self-signed certificate)"
    assert line == f"cannot list {FOLDER}: {refusal}; {remedy}"

    for verify in (pem, False):
        assert check_connection(FOLDER, {"endpoint_url": f"https://{host}", "verify": verify}).startswith(FOLDER)


def test_a_certificate_for_another_name(tls_store: tuple[str, str]) -> None:
    host, pem = tls_store
    endpoint = f"https://localhost:{host.rpartition(':')[2]}"
    line = refused(ConfigurationError, FOLDER, endpoint_url=endpoint, verify=pem)
    mismatch = "(Hostname mismatch, certificate is not valid for 'localhost')"
    assert f": the TLS certificate of {endpoint} is not accepted {mismatch}; " in line


def test_a_certificate_of_a_web_server(tls_store: tuple[str, str]) -> None:
    url = f"https://{tls_store[0]}/in.jsonl"
    line = refused(AccessError, url)
    assert line.startswith(f"{url} cannot be read: the TLS certificate of https://{tls_store[0]} is not accepted (self")
    assert line.endswith("; for a certificate authority of your own give SSL_CERT_FILE=/path/ca.pem")


@pytest.mark.parametrize("verify", [__file__, os.path.dirname(__file__)])
def test_what_is_no_ca_bundle(tls_store: tuple[str, str], verify: str) -> None:
    line = refused(ConfigurationError, FOLDER, endpoint_url=f"https://{tls_store[0]}", verify=verify)
    assert ": storage_options.verify is no CA bundle; give a file in PEM format (endpoint" in line


def test_https_to_a_server_of_http() -> None:
    with serving(Store()) as host:
        line = refused(ConfigurationError, FOLDER, endpoint_url=f"https://{host}")
    assert line == f"cannot list {FOLDER}: https://{host} does not speak TLS; give http://, not https://"


def test_http_to_a_server_of_https(tls_store: tuple[str, str]) -> None:
    host, _ = tls_store
    line = refused(ConfigurationError, FOLDER, endpoint_url=f"http://{host}")
    assert line == f"http://{host} speaks TLS; give https://, not http://"


# Paths -------------------------------------------------------------------------------------------------------


def test_a_web_server_without_the_file_or_without_ranges() -> None:
    with serving(lambda request: reply(request, 404)) as host:
        line = refused(AccessError, f"http://{host}/in.jsonl")
        assert line == f"http://{host}/in.jsonl cannot be read: there is no such file or bucket; check the path"
    with serving(lambda request: reply(request, 200, b"{}" * 50)) as host:
        line = refused(AccessError, f"http://{host}/in.jsonl")
        ignores = "its server ignores byte ranges; copy the file elsewhere"
        assert line == f"cannot read a part of http://{host}/in.jsonl: {ignores}"


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("", {}, "the path to check is ''; give a folder or a file"),
        ("sss://bucket/a", {}, "'sss://' is not a known protocol; give a local path, s3://"),
        ("s3:/bucket/a", {}, "s3:/bucket/a is no URL; write s3://bucket/a"),
        ("s3:///a", {}, "s3:///a names no bucket; write s3://bucket/… or set S3_BUCKET_NAME"),
        (FOLDER, {"endpoint": "x"}, "storage_options.endpoint is not known; there are"),
        (FOLDER, {"endpoint_url": "host:9000"}, "endpoint_url is 'host:9000'; give a URL"),
        (FOLDER, {"secret": SECRET_KEY}, "storage_options has 'secret': secrets belong in the environment"),
    ],
)
def test_careless_paths_and_options(path: str, options: dict[str, str], message: str) -> None:
    assert refused(ConfigurationError, path, **options).startswith(message)


def test_a_bucket_of_an_impossible_name() -> None:
    with serving(Store()) as host:
        line = refused(AccessError, "s3://Our_Bucket!/a", endpoint_url=f"http://{host}")
    assert ': Invalid bucket name "Our_Bucket!"; check the path (endpoint' in line
