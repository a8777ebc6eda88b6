"""What a manifest may name, and whose fault it is where it cannot be opened."""

from __future__ import annotations

import os
import posixpath
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.errors import (
    AccessError,
    ConfigurationError,
    RecordError,
    StorageError,
    UnreachableError,
)
from curator_audio.stages.reference_faults import ReferenceFault, Stores
from curator_audio.stages.references import References, Rules, resolved
from curator_audio.storage import hosts
from curator_audio.storage.storage import Storage
from tests.storage.servers import reply, serving

MANIFEST = "/data/corpus/lists/train.jsonl"
OUTSIDE = Rules(allow_outside=True)


def reason(references: References, path: str) -> str:
    with pytest.raises(ReferenceFault) as refused:
        references.resolved(path)
    assert len(refused.value.message) < 600 and "\n" not in refused.value.message
    return refused.value.reason


# Paths ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.wav", "lists/a.wav"),
        ("sub/../a.wav", "lists/a.wav"),
        ("./sub//./a.wav", "lists/sub/a.wav"),
        ("sub/x/../../sub/a.wav", "lists/sub/a.wav"),
        ("/data/corpus/lists/sub/a.wav", "lists/sub/a.wav"),
        ("//data/corpus/lists/./a.wav", "lists/a.wav"),
        ("file:///data/corpus/lists/a.wav", "lists/a.wav"),
        ("%2e%2e/a%20b.wav", "lists/%2e%2e/a%20b.wav"),
        ("back\\slash\\..\\a.wav", "lists/back\\slash\\..\\a.wav"),
        ("~/a.wav", "lists/~/a.wav"),
        ("$HOME/a.wav", "lists/$HOME/a.wav"),
        ("...wav", "lists/...wav"),
        ("a::b.wav", "lists/a::b.wav"),
        ("x:y.wav", "lists/x:y.wav"),
        (" a .wav ", "lists/ a .wav "),
    ],
)
def test_paths_below_the_root(path: str, found: str) -> None:
    assert References(MANIFEST).resolved(path) == f"/data/corpus/{found}"


@pytest.mark.parametrize(
    ("manifest", "audio_dir"), [("/m.jsonl", None), ("/lists/m.jsonl", "/"), ("file:///m.jsonl", None)]
)
def test_the_root_of_the_file_system_is_a_root(manifest: str, audio_dir: str | None) -> None:
    references = References(manifest, audio_dir)
    assert [references.resolved(path) for path in ("a/b.wav", "/a/b.wav", "../a/b.wav")] == ["/a/b.wav"] * 3


def test_a_folder_may_be_known_by_two_names(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("corpus")
    for one, other in (("corpus", "link"), ("link", "corpus")):
        references = References(f"{tmp_path}/{one}/m.jsonl")
        assert references.resolved(f"{tmp_path}/{other}/a.wav") == f"{tmp_path}/{other}/a.wav"
        assert reason(references, f"{tmp_path}/other/a.wav") == "path_leaves_root"


@pytest.mark.parametrize(
    "path",
    [
        "../a.wav",
        "sub/../../a.wav",
        "../listsx/a.wav",
        "..",
        ".",
        "/etc/passwd",
        "/data/corpus/listsx/a.wav",
        "/data/corpus/lists/../a.wav",
        "file:///etc/passwd",
        "file:///data/corpus/lists/../../a.wav",
    ],
)
def test_paths_out_of_the_root(path: str) -> None:
    assert reason(References(MANIFEST), path) == "path_leaves_root"
    assert References(MANIFEST, rules=OUTSIDE).resolved(path).startswith(("/data", "/etc"))


def test_audio_dir_is_where_relative_paths_begin() -> None:
    references = References(MANIFEST, "/data/corpus/audio/")
    assert references.resolved("a.wav") == "/data/corpus/audio/a.wav"
    assert references.resolved("/data/corpus/lists/a.wav") == "/data/corpus/lists/a.wav", "the manifest's own folder"
    assert references.resolved("../audio/a.wav") == "/data/corpus/audio/a.wav"
    assert reason(references, "../other/a.wav") == "path_leaves_root"
    assert reason(references, "/data/corpus/a.wav") == "path_leaves_root"


def test_audio_dir_may_be_a_folder_above() -> None:
    """Of a manifest in ``lists`` that names ``../audio/a.wav``."""
    references = References(MANIFEST, "/data/corpus")
    assert references.resolved("../audio/a.wav") == "/data/corpus/audio/a.wav"
    assert references.resolved("audio/a.wav") == "/data/corpus/audio/a.wav"
    assert reason(references, "../../a.wav") == "path_leaves_root"


def test_with_outside_allowed_a_path_goes_out_of_audio_dir() -> None:
    assert References(MANIFEST, "/data/audio", OUTSIDE).resolved("../a.wav") == "/data/a.wav"


@given(st.lists(st.sampled_from(["..", ".", "a", "b", ""]), min_size=1, max_size=8))
def test_a_path_is_what_the_file_system_makes_of_it(parts: list[str]) -> None:
    path = "/".join([*parts, "x.wav"]).lstrip("/")
    expected = posixpath.normpath(f"/data/corpus/lists/{path}")
    references = References(MANIFEST)
    if expected.startswith("/data/corpus/lists/"):
        assert references.resolved(path) == expected
    else:
        assert reason(references, path) == "path_leaves_root"


def test_links_that_lead_out_of_the_root(tmp_path: Path) -> None:
    """Of a file or of a folder above it; the root itself, and the folder of the manifest, may be links."""
    for folder in ("corpus/audio", "corpus/lists", "other"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.wav").touch()
    (tmp_path / "alias").symlink_to("corpus")
    audio = tmp_path / "corpus/audio"
    for name, leads_to in {"in.wav": "a.wav", "lists": "../lists", "out.wav": "../../other/a.wav"}.items():
        (audio / name).symlink_to(leads_to)
    (audio / "out").symlink_to(tmp_path / "other")

    manifest, root = f"{tmp_path}/alias/lists/train.jsonl", f"{tmp_path}/alias/audio"
    references = References(manifest, root)
    for path in ("a.wav", "in.wav", "lists/a.wav", "not-there.wav"):
        assert references.resolved(path) == f"{root}/{path}"
    for path in ("out.wav", "out/a.wav", "out/not-there.wav", f"{root}/out.wav"):
        assert reason(references, path) == "link_leaves_root"
        assert References(manifest, root, OUTSIDE).resolved(path) == posixpath.join(root, path)
    assert References().resolved(f"{root}/out.wav") == f"{root}/out.wav"


def test_paths_of_a_store() -> None:
    references = References("s3://bucket/corpus/train.jsonl")
    assert references.resolved("a//b.wav") == "s3://bucket/corpus/a//b.wav", "another object than a/b.wav"
    assert references.resolved("sub/../a.wav") == "s3://bucket/corpus/a.wav"
    assert references.resolved("s3://other/a.wav") == "s3://other/a.wav"
    assert [reason(references, path) for path in ("../a.wav", "../../../other/a.wav", "/etc/passwd")] == [
        "path_leaves_root"
    ] * 3
    assert References("s3://bucket/corpus/train.jsonl", rules=OUTSIDE).resolved("../../../other/a.wav") == (
        "s3://bucket/other/a.wav"
    ), "no path leads out of the bucket"


def test_records_made_in_python_name_what_they_will() -> None:
    assert References().resolved("/anywhere/a.wav") == "/anywhere/a.wav"
    assert References().resolved("memory://doc/a.wav") == "memory://doc/a.wav"
    assert resolved("a.wav", "") == "a.wav"


# What is no path ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a\0.wav", "invalid_path"),
        ("https://host/a\0.wav", "invalid_path"),
        ("a\ud800.wav", "invalid_path"),
        ("s3://bucket/\udcff.wav", "invalid_path"),
        ("x" * 256, "invalid_path"),
        ("あ" * 86 + "/a.wav", "invalid_path"),
        ("x/" * 3000, "invalid_path"),
        ("x" * 10**6, "invalid_path"),
        (f"s3://bucket/{'x' * 1025}", "invalid_path"),
        ("C:\\sound\\a.wav", "windows_path"),
        ("D:/sound/a.wav", "windows_path"),
        ("\\\\server\\share\\a.wav", "windows_path"),
        ("https://host:99999/a.wav", "invalid_url"),
        ("https://host:port/a.wav", "invalid_url"),
        ("https://[::1/a.wav", "invalid_url"),
        ("https:///a.wav", "invalid_url"),
        ("https://ho st/a.wav", "invalid_url"),
        ("s3:///a.wav", "invalid_url"),
        ("file://host/a.wav", "invalid_url"),
        ("htps://host/a.wav", "unknown_protocol"),
        ("HTTPS://host/a.wav", "unknown_protocol"),
        ("a folder/x://y.wav", "unknown_protocol"),
        ("://a.wav", "unknown_protocol"),
        ("simplecache::https://host/a.wav", "chained_url"),
        ("filecache::s3://bucket/a.wav", "chained_url"),
        ("zip://a.wav::s3://bucket/a.zip", "chained_url"),
        ("simplecache::zip://a.wav::file:///data/corpus/lists/a.zip", "chained_url"),
    ],
)
def test_what_is_no_path(path: str, expected: str) -> None:
    for rules in (Rules(), Rules(("https", "http", "zip", "simplecache", "filecache", "s3"), True, True)):
        assert reason(References(MANIFEST, rules=rules), path) == expected


def test_a_name_that_is_no_utf_8_is_one_all_the_same(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / name).write_bytes(b"sound")
    references = References(f"{tmp_path}/m.jsonl")
    assert references.version(references.resolved(name)).startswith("5-")


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_what_would_be_read_for_ever(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "pipe":
        os.mkfifo("pipe")
    else:
        socket.socket(socket.AF_UNIX).bind("socket")
    references = References(f"{tmp_path}/m.jsonl", rules=OUTSIDE)
    for path in (kind, "/dev/zero"):
        found = references.fault_of(path)
        assert found is not None and found.reason == "not_a_file"


# Schemes and hosts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["s3://b/a", "s3a://b/a", "s3+source://b/a", "gs://b/a", "gcs://b/a", "https://h.org/a"]
)
def test_schemes_that_are_allowed(url: str) -> None:
    assert References(MANIFEST).resolved(url) == url


@pytest.mark.parametrize(
    "url",
    ["http://h.org/a", "ftp://h.org/a", "sftp://h.org/a", "zip://a", "memory://a/b", "local:///etc/passwd", "hf://d/a"],
)
def test_schemes_that_have_to_be_allowed(url: str) -> None:
    scheme = url.partition(":")[0]
    with pytest.raises(ReferenceFault, match=rf"allowed_schemes=\[s3,s3\+source,gs,https,{scheme}\]") as refused:
        References(MANIFEST).resolved(url)
    assert refused.value.reason == "scheme_not_allowed"
    if not url.startswith("local"):
        assert References(MANIFEST, rules=Rules((scheme,))).resolved(url) == url
    assert reason(References(MANIFEST, rules=Rules(())), "https://h.org/a") == "scheme_not_allowed"


def test_the_store_of_the_manifest_is_allowed() -> None:
    references = References("http://127.0.0.1:8000/corpus/train.jsonl")
    assert references.resolved("a.wav") == "http://127.0.0.1:8000/corpus/a.wav"
    assert references.resolved("http://127.0.0.1:8000/b.wav") == "http://127.0.0.1:8000/b.wav"
    assert reason(references, "http://127.0.0.1:8001/b.wav") == "scheme_not_allowed"
    assert References("memory://corpus/m.jsonl").resolved("memory://other/a.wav") == "memory://other/a.wav"


PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fd00::1]",
    "[::ffff:10.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "localhost",
    "LOCALHOST.",
    "audio.localhost",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_private_hosts_are_refused(host: str) -> None:
    for url in (f"https://{host}/a.wav", f"https://me:pass@{host}:8443/a.wav"):
        assert reason(References(MANIFEST), url) == "private_host"
    allowed = Rules(allow_private_hosts=True)
    assert References(MANIFEST, rules=allowed).resolved(f"https://{host}/a.wav") == f"https://{host}/a.wav"


@pytest.mark.parametrize("host", ["10.0.0.1", "h.org:99999", "h.org", "exam ple"])
@pytest.mark.parametrize("scheme", ["https", "ftp"])
def test_no_password_is_told(host: str, scheme: str) -> None:
    references = References(MANIFEST)
    with suppress(ReferenceFault), references.reading(references.resolved(f"{scheme}://me:hunter2@{host}/a.wav?x=1")):
        raise UnreachableError(f"cannot read {scheme}://me:hunter2@{host}/a.wav: no")
    fault = references.fault_of(f"{scheme}://me:hunter2@{host}/a.wav")
    assert fault is not None and "hunter2" not in str(fault)


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "audio.example.org", "10.0.0.1.example.org"])
def test_public_hosts_are_not(host: str) -> None:
    assert References(MANIFEST).resolved(f"https://{host}/a.wav") == f"https://{host}/a.wav"


@pytest.fixture
def open_internet(monkeypatch: pytest.MonkeyPatch) -> None:
    """In which 127.0.0.1 is the only public address, and names end in ``.example``."""
    really_public, real = hosts.is_public, socket.getaddrinfo
    monkeypatch.setattr(hosts, "is_public", lambda address: really_public(address) or address == "127.0.0.1")
    addresses = {"public.example": "127.0.0.1", "private.example": "127.0.0.2"}

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        return real(addresses.get(host, host), *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.usefixtures("open_internet")
def test_names_and_redirects_lead_to_no_private_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: Any) -> None:
        asked.append(request.path)
        if request.path.startswith("/to/"):
            reply(request, 302, Location="http://" + request.path.removeprefix("/to/"))
        else:
            reply(request, 200, b"sound")

    with serving(answer, address="0.0.0.0") as address:
        port = address.rpartition(":")[2]
        references = References(MANIFEST, rules=Rules(("http",)))

        def fault(path: str) -> str:
            found = references.fault_of(path)
            return found.reason if found else ""

        assert fault(f"http://public.example:{port}/a.wav") == ""
        assert fault(f"http://public.example:{port}/to/127.0.0.1:{port}/a.wav") == ""
        asked.clear()
        monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("trying again makes no host public"))
        assert fault(f"http://private.example:{port}/secret.wav") == "private_host"
        assert fault(f"http://public.example:{port}/to/127.0.0.2:{port}/secret.wav") == "private_host"
        assert fault(f"http://public.example:{port}/to/private.example:{port}/secret.wav") == "private_host"
        assert not [path for path in asked if path.startswith("/secret")], "nothing was asked of it"
        allowed = References(MANIFEST, rules=Rules(("http",), allow_private_hosts=True))
        with allowed.reading(f"http://private.example:{port}/a.wav") as storage:
            assert storage.read(f"http://private.example:{port}/a.wav") == b"sound"


# Whose fault it is ---------------------------------------------------------------------------------------------


def raised(references: References, path: str, error: Exception) -> Exception:
    with (
        pytest.raises(type(error) if not isinstance(error, Exception) else Exception) as found,
        references.reading(path),
    ):
        raise error
    return found.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnreachableError("no such host"), "unreachable_host"),
        (StorageError("the store answered 500"), "unreachable_host"),
        (ConfigurationError("the credentials have expired"), "unusable_store"),
    ],
)
def test_a_store_that_nobody_knows_is_the_records_fault_and_one_that_has_answered_is_not(
    error: Exception, expected: str
) -> None:
    foreign = References(MANIFEST)
    fault = raised(foreign, "s3://bucket/a.wav", error)
    assert isinstance(fault, RecordError) and (fault.reason, fault.message) == (expected, str(error))
    with References(MANIFEST, stores=(answering := Stores())).reading("s3://bucket/b.wav"):
        pass
    looked_up = Stores()
    looked_up.looked_up = True
    for own in (
        References("s3://bucket/train.jsonl"),
        References(MANIFEST, "s3://bucket/audio"),
        References(MANIFEST, output_dir="s3://out/dir"),
        References(MANIFEST, stores=answering),
        References(MANIFEST, stores=looked_up),
    ):
        assert raised(own, "s3://bucket/a.wav", error) is error


def test_a_file_that_is_not_there_is_the_records_fault_anywhere() -> None:
    error = AccessError("there is no such file")
    for references in (References(MANIFEST), References("s3://bucket/train.jsonl")):
        assert raised(references, "s3://bucket/a.wav", error) is error


def test_a_host_that_cannot_be_reached_is_not_asked_for_every_line() -> None:
    references, asked = References(MANIFEST), 0
    for host in ("one", "one", "two", "one"):
        with pytest.raises(ReferenceFault, match="no such host"), references.reading(f"https://{host}.org/a.wav"):
            asked += 1
            raise UnreachableError(f"cannot read https://{host}.org/a.wav: no such host")
    assert asked == 2
    assert "https://one.org/b.wav: no such host" in str(references.fault_of("https://one.org/b.wav"))
    with pytest.raises(ReferenceFault), references.reading("https://three.org/bad.wav"):
        raise StorageError("the server answered 500")
    with references.reading("https://three.org/good.wav"):
        asked += 1
    assert asked == 3, "one bad answer is not held against a host"


# Parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"allowed_schemes": "s3"}, r"allowed_schemes is 's3'; give a list such as \[s3,gs,https\]"),
        ({"allowed_schemes": ["htps"]}, "allowed_schemes has 'htps', which is not known"),
        ({"allow_outside": "yes"}, "allow_outside is 'yes'; give true or false"),
        ({"allow_private_hosts": 1}, "allow_private_hosts is 1; give true or false"),
    ],
)
def test_rules_that_are_none(parameters: dict[str, Any], message: str) -> None:
    from curator_audio.stages.general import GetAudioDurationStage
    from curator_audio.stages.speech import EstimateBandwidthStage, RecordingReaderStage, SegmenterStage

    makers: list[Callable[..., Any]] = [GetAudioDurationStage, EstimateBandwidthStage, SegmenterStage]
    for make in [*makers, lambda **rules: RecordingReaderStage("m.jsonl", **rules)]:
        with pytest.raises(ConfigurationError, match=message):
            make(**parameters)


def test_storage_for_everybody_is_as_it_was() -> None:
    """What the user names on the command line may lie on any host."""
    with serving(lambda request: reply(request, 200, b"lines")) as address:
        assert Storage().read(f"http://{address}/m.jsonl") == b"lines"
