"""``s3+source://``, looking for one object, and copies that a store makes by itself."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from curator_audio.errors import AccessError, ConfigurationError
from curator_audio.storage.s3 import s3_arguments
from curator_audio.storage.storage import Storage, absolute

VARIABLES = ("S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY")


def test_each_store_has_variables_and_options_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for prefix in ("", "SOURCE_"):
        for name in VARIABLES:
            monkeypatch.setenv(prefix + name, f"http://{prefix}{name}")
    options = {"region": "eu-1", "source": {"verify": False}}
    own, source = s3_arguments(options), s3_arguments(options, is_source=True)

    assert own["client_kwargs"] == {"endpoint_url": "http://S3_ENDPOINT_URL", "region_name": "eu-1"}
    assert (own["key"], own["secret"]) == ("http://S3_ACCESS_KEY", "http://S3_SECRET_KEY")
    assert source["client_kwargs"] == {"endpoint_url": "http://SOURCE_S3_ENDPOINT_URL", "verify": False}
    assert (source["key"], source["secret"]) == ("http://SOURCE_S3_ACCESS_KEY", "http://SOURCE_S3_SECRET_KEY")


def test_nothing_of_the_runs_own_store_is_told_to_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "http://own")
        monkeypatch.delenv(f"SOURCE_{name}", raising=False)
    assert "own" not in str(s3_arguments({"endpoint_url": "http://own", "region": "own"}, is_source=True))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"endpoint": "x"},
            "storage_options.source.endpoint is not known; there are anon, endpoint_url, region, verify",
        ),
        ({"verify": "/nowhere.pem"}, "storage_options.source.verify is '/nowhere.pem'; give true, false or the path"),
        ("eu-1", "storage_options.source is 'eu-1'; give a mapping such as {region: eu-west-1}"),
        ({"secret_key": "hunter2"}, "storage_options has 'secret_key': secrets belong in the environment"),
    ],
)
def test_options_of_the_source_are_checked(source: object, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Storage({"source": source}).prepare("s3+source://bucket/a")
    assert str(raised.value).startswith(message)


def test_the_other_store_is_read_as_any(s3_bucket: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Storage().write(f"{s3_bucket}/a/b.txt", b"hello")
    for name in VARIABLES:
        monkeypatch.setenv(f"SOURCE_{name}", s3_endpoint)
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    source = s3_bucket.replace("s3://", "s3+source://")
    storage = Storage()
    storage.prepare(source)
    for name in VARIABLES:
        monkeypatch.delenv(f"SOURCE_{name}")

    worker = pickle.loads(pickle.dumps(storage))  # which needs no environment

    assert [file.path for file in worker.list_files(source)] == [f"{source}/a/b.txt"]
    assert worker.read(f"{source}/a/b.txt") == b"hello"
    assert worker.info(f"{source}/a/b.txt") == worker.find(f"{source}/a/b.txt")
    assert worker.is_folder(f"{source}/a") and worker.find(f"{source}/a") is None


def test_options_of_the_source_do_not_disturb_other_protocols() -> None:
    assert Storage({"source": {"region": "eu-1"}})._filesystem("http://host/a").kwargs == {}


def test_a_slip_in_the_url_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"s3\+source:/bucket/a is no URL; write s3\+source://bucket/a"):
        absolute("s3+source:/bucket/a")


@pytest.mark.parametrize("place", ["local", "s3", "memory"])
def test_one_file_is_found_or_not(place: str, s3_bucket: str, tmp_path: Path) -> None:
    root = {"local": str(tmp_path), "s3": s3_bucket, "memory": "memory://second-store"}[place]
    storage = Storage()
    storage.write(f"{root}/a/b?#%.txt", b"hello")

    assert storage.find(f"{root}/a/b?#%.txt") == storage.info(f"{root}/a/b?#%.txt")
    assert storage.find(f"{root}/a/c.txt") is None
    assert storage.find(f"{root}/a") is None


def test_a_store_copies_by_itself_what_lies_in_it(s3_bucket: str, tmp_path: Path) -> None:
    storage = Storage()
    storage.write(f"{s3_bucket}/a b?#%.txt", b"hello")
    storage.write(f"{tmp_path}/a", b"hello")

    assert storage.copy_within_store(f"{s3_bucket}/a b?#%.txt", f"{s3_bucket}/to/ü?#%.txt") is True
    assert storage.read(f"{s3_bucket}/to/ü?#%.txt") == b"hello"
    for source, target in (("/a", "/b"), ("/a", s3_bucket), (s3_bucket, "/b")):
        source, target = (
            f"{tmp_path}{end}" if end.startswith("/") else f"{end}/a b?#%.txt" for end in (source, target)
        )
        assert storage.copy_within_store(source, target) is False
    assert storage.copy_within_store("s3+source://bucket/a", "s3://bucket/a") is False
    with pytest.raises(AccessError, match=r"cannot copy s3://.*/gone: there is no such file or bucket; check the path"):
        storage.copy_within_store(f"{s3_bucket}/gone", f"{s3_bucket}/to/gone")
