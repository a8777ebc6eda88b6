import os
import pickle
import uuid
from pathlib import Path

import pytest

from curator_audio.errors import AccessError, ConfigurationError, StorageError, StorageFullError
from curator_audio.storage.storage import Storage, absolute, join


@pytest.fixture(params=["local", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder of each kind of storage."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/folder"
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}"


@pytest.fixture
def storage() -> Storage:
    return Storage()


def all_below(folder: str) -> list[str]:
    return [info.path for info in Storage().list_files(folder)]


# Writing -----------------------------------------------------------------------------------------------------


def test_what_is_written_can_be_read(storage: Storage, root: str) -> None:
    storage.write(f"{root}/a/b.txt", b"hello")

    assert storage.read(f"{root}/a/b.txt") == b"hello"
    assert storage.read_range(f"{root}/a/b.txt", 1, 3) == b"el"
    assert storage.read_range(f"{root}/a/b.txt", 3, 5) == b"lo"
    assert storage.read_range(f"{root}/a/b.txt", 5, 5) == b""
    with storage.open(f"{root}/a/b.txt") as file:
        assert file.read(2) == b"he"
    assert storage.info(f"{root}/a/b.txt").num_bytes == 5
    assert storage.exists(f"{root}/a/b.txt") and not storage.exists(f"{root}/a/c.txt")


def test_a_file_appears_when_it_is_whole(storage: Storage, root: str) -> None:
    with storage.create(f"{root}/new.txt") as file:
        file.write(b"one ")
        file.write(b"two")
        assert not storage.exists(f"{root}/new.txt")

    assert storage.read(f"{root}/new.txt") == b"one two"
    assert file.num_bytes == 7
    assert all_below(root) == [f"{root}/new.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_while_writing_leaves_the_older_file(
    storage: Storage, root: str, error: type[BaseException]
) -> None:
    storage.write(f"{root}/out.txt", b"older")

    with pytest.raises(error), storage.create(f"{root}/out.txt") as file:
        file.write(b"newer")
        raise error

    assert storage.read(f"{root}/out.txt") == b"older"
    assert all_below(root) == [f"{root}/out.txt"]


def test_an_exception_while_writing_leaves_nothing(storage: Storage, root: str) -> None:
    with pytest.raises(ValueError, match="mine"), storage.create(f"{root}/out.txt") as file:
        file.write(b"x" * 2**20)
        raise ValueError("mine")

    assert all_below(root) == []


def test_a_large_object_goes_up_in_pieces(storage: Storage, s3_bucket: str) -> None:
    with storage.create(f"{s3_bucket}/large") as file:
        for letter in b"abc":
            file.write(bytes([letter]) * 7 * 2**20)

    assert storage.info(f"{s3_bucket}/large").num_bytes == 21 * 2**20
    assert storage.read_range(f"{s3_bucket}/large", 14 * 2**20 - 2, 14 * 2**20 + 2) == b"bbcc"


def test_an_empty_file_is_a_file(storage: Storage, root: str) -> None:
    with storage.create(f"{root}/empty"):
        pass

    assert storage.read(f"{root}/empty") == b""


def test_only_the_first_creates_exclusively(storage: Storage, root: str) -> None:
    assert storage.create_exclusively(f"{root}/locks/lock", b"first") is True
    assert storage.create_exclusively(f"{root}/locks/lock", b"second") is False
    assert storage.read(f"{root}/locks/lock") == b"first"


@pytest.mark.parametrize("to", ["same", "memory"])
def test_ranges_of_other_files_are_appended(storage: Storage, root: str, to: str) -> None:
    storage.write(f"{root}/numbers", b"0123456789")
    target = f"{root}/target" if to == "same" else f"memory://{uuid.uuid4().hex}/target"

    with storage.create(target) as file:
        storage.append_range(file, f"{root}/numbers", 7, 3)
        storage.append_range(file, f"{root}/numbers", 0, 2)

    assert storage.read(target) == b"78901"
    assert file.num_bytes == 5


@pytest.mark.parametrize("where", ["there", "in between"])
def test_a_kernel_that_copies_nothing_or_a_part_is_no_error(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    kernel = os.copy_file_range

    def copied(source: int, target: int, count: int, offset: int) -> int:
        if where == "there" or offset > 100:
            raise OSError(18, "Invalid cross-device link")
        return kernel(source, target, min(50, count), offset)

    monkeypatch.setattr(os, "copy_file_range", copied)
    data = bytes(range(256)) * 4
    storage.write(f"{tmp_path}/bytes", data)

    with storage.create(f"{tmp_path}/target") as file:
        storage.append_range(file, f"{tmp_path}/bytes", 10, 900)
        storage.append_range(file, f"{tmp_path}/bytes", 0, 10)

    assert storage.read(f"{tmp_path}/target") == data[10:910] + data[:10]
    assert file.num_bytes == 910


def test_a_range_that_is_not_there_is_an_error_and_no_file(storage: Storage, tmp_path: Path) -> None:
    storage.write(f"{tmp_path}/short", b"01234")

    with (
        pytest.raises(StorageError, match=r"cannot read .*/short: it ends before byte 9"),
        storage.create(f"{tmp_path}/target") as file,
    ):
        storage.append_range(file, f"{tmp_path}/short", 0, 9)

    assert all_below(str(tmp_path)) == [f"{tmp_path}/short"]


# Listing -----------------------------------------------------------------------------------------------------


def test_files_are_listed_in_order_of_their_paths(storage: Storage, root: str) -> None:
    names = ["b.txt", "a/z.txt", "a/b/c.txt", "a.txt", "ä.txt"]
    for name in names:
        storage.write(f"{root}/{name}", name.encode())

    listed = storage.list_files(root)

    assert [info.path for info in listed] == sorted(f"{root}/{name}" for name in names)
    assert all(storage.read(info.path) == info.path.removeprefix(f"{root}/").encode() for info in listed)
    assert [info.num_bytes for info in listed] == [len(storage.read(info.path)) for info in listed]
    assert [info.path for info in storage.list_files(f"{root}/", max_depth=1)] == sorted(
        f"{root}/{name}" for name in names if "/" not in name
    )
    assert storage.list_files(f"{root}/nothing") == []


def test_a_glob_finds_files_in_order_and_no_folders(storage: Storage, root: str) -> None:
    for name in ("x/2.jsonl", "x/1.jsonl", "x/10.jsonl", "x/1.txt", "y/1.jsonl", "z.jsonl/inside.txt"):
        storage.write(f"{root}/{name}", b"{}")

    def found(pattern: str) -> list[str]:
        return [info.path.removeprefix(f"{root}/") for info in storage.glob(f"{root}/{pattern}")]

    assert found("x/*.jsonl") == ["x/1.jsonl", "x/10.jsonl", "x/2.jsonl"]
    assert found("*/1.jsonl") == ["x/1.jsonl", "y/1.jsonl"]
    assert found("x/?.jsonl") == ["x/1.jsonl", "x/2.jsonl"]
    assert found("[yz]/1.jsonl") == ["y/1.jsonl"]
    assert found("*") == []


def test_a_prefix_is_a_folder(storage: Storage, root: str) -> None:
    storage.write(f"{root}/a/b.txt", b"x")

    assert storage.is_folder(f"{root}/a") and storage.is_folder(f"{root}/a/")
    assert not storage.is_folder(f"{root}/a/b.txt")
    assert not storage.is_folder(f"{root}/c")


def test_the_version_changes_with_the_content(storage: Storage, root: str) -> None:
    storage.write(f"{root}/a", b"one")
    before = storage.info(f"{root}/a")
    storage.write(f"{root}/a", b"other")

    assert storage.info(f"{root}/a").version != before.version
    assert storage.info(f"{root}/a") == storage.info(f"{root}/a")


# Several at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [0, 1, 40])
def test_many_files_are_read_and_deleted(storage: Storage, root: str, num: int) -> None:
    paths = [f"{root}/{number}[1]*" for number in range(num)]
    for path in paths:
        storage.write(path, path.encode())
    storage.write(f"{root}/kept", b"")

    assert storage.read_many(paths) == [path.encode() for path in paths]
    storage.delete([*paths, f"{root}/was never there"])
    storage.delete(paths)
    assert all_below(root) == [f"{root}/kept"]


def test_a_missing_one_of_many_is_named(storage: Storage, root: str) -> None:
    storage.write(f"{root}/there", b"")

    with pytest.raises(AccessError, match=r"cannot read .*/missing: there is no such file"):
        storage.read_many([f"{root}/there", f"{root}/missing"])


# What errors say ---------------------------------------------------------------------------------------------


def test_a_missing_file(storage: Storage, root: str) -> None:
    path = f"{root}/no.jsonl"
    for read in (storage.read, storage.info, lambda path: storage.read_range(path, 0, 5)):
        with pytest.raises(AccessError) as raised:
            read(path)
        expected = (
            "there is no such file; check the path" if path.startswith("/") else "there is no such file or bucket"
        )
        assert str(raised.value).startswith(f"cannot read {path}: {expected}")


def test_a_missing_bucket(storage: Storage, s3_endpoint: str, s3_bucket: str) -> None:
    def created() -> None:
        with storage.create("s3://no-such-bucket/a") as file:
            file.write(b"x")

    for write in (
        lambda: storage.write("s3://no-such-bucket/a", b"x"),
        lambda: storage.create_exclusively("s3://no-such-bucket/a", b"x"),
        created,
    ):
        with pytest.raises(AccessError) as raised:
            write()
        assert str(raised.value) == "cannot write s3://no-such-bucket/a: there is no such bucket; check the path"


def test_a_folder_instead_of_a_file(storage: Storage, root: str) -> None:
    storage.write(f"{root}/a/b.txt", b"x")

    with pytest.raises(AccessError, match=f"cannot read {root}/a: it is a folder; give a file"):
        storage.info(f"{root}/a")


@pytest.mark.parametrize("write", [Storage.write, Storage.create_exclusively])
def test_a_file_instead_of_a_folder(storage: Storage, tmp_path: Path, write: object) -> None:
    (tmp_path / "file").write_bytes(b"mine")

    with pytest.raises(AccessError, match=r"cannot write .*/file/b: a part of the path is a file, not a folder"):
        write(storage, f"{tmp_path}/file/b", b"x")
    with pytest.raises(AccessError, match=r"cannot read .*/file/b: a part of the path is a file, not a folder"):
        storage.read(f"{tmp_path}/file/b")


def test_a_name_that_is_too_long(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="File name too long; choose another path"):
        storage.write(f"{tmp_path}/{'n' * 256}", b"x")


def test_no_room_left(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    storage.write(f"{tmp_path}/out", b"older")
    monkeypatch.setattr("curator_audio.storage.atomic_file.LocalAtomicFile._write", full)

    with pytest.raises(
        StorageFullError, match=r"^cannot write .*/out: no space left on the device; make room and run again"
    ):
        storage.write(f"{tmp_path}/out", b"newer")

    assert storage.read(f"{tmp_path}/out") == b"older"
    assert os.listdir(tmp_path) == ["out"]


def test_an_unknown_protocol(storage: Storage) -> None:
    with pytest.raises(ConfigurationError, match="'sss://' is not a known protocol; give a local path, s3://"):
        storage.read("sss://bucket/a")


# Paths -------------------------------------------------------------------------------------------------------


def test_paths_are_found_from_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("S3_BUCKET_NAME", "team")

    assert absolute("a/../b.jsonl") == f"{tmp_path}/b.jsonl"
    assert absolute("a//b/") == f"{tmp_path}/a/b"
    assert absolute("~/a") == "/home/somebody/a"
    assert absolute("file:///data/a") == "/data/a"
    assert absolute("s3://bucket//a///b//") == "s3://bucket/a/b"
    assert absolute("https://host//a/?b=c//") == "https://host//a/?b=c//"
    assert absolute("s3:///a") == "s3://team/a"
    assert join("s3://bucket/a/", "b", "c.txt") == "s3://bucket/a/b/c.txt"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s3:///a", "s3:///a names no bucket; write s3://bucket/… or set S3_BUCKET_NAME"),
        ("s3://", "s3:// names no bucket"),
        ("s3:/bucket/a", "s3:/bucket/a is no URL; write s3://bucket/a"),
        ("gs:bucket/a", "gs:bucket/a is no URL; write gs://bucket/a"),
    ],
)
def test_paths_that_are_none(monkeypatch: pytest.MonkeyPatch, path: str, message: str) -> None:
    monkeypatch.delenv("S3_BUCKET_NAME", raising=False)
    with pytest.raises(ConfigurationError) as raised:
        absolute(path)
    assert str(raised.value).startswith(message)


# Options and secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["key", "secret", "token", "password", "secret_key", "account_key", "client_secret"])
def test_secrets_are_refused_as_options(option: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Storage({option: "hunter2"})
    assert f"storage_options has '{option}': secrets belong in the environment" in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"endpoint": "http://host"},
            "storage_options.endpoint is not known; there are anon, endpoint_url, region, verify",
        ),
        ({"endpoint_url": "host:9000"}, "endpoint_url is 'host:9000'; give a URL such as https://host:9000"),
        (
            {"verify": "/no/such/bundle.pem"},
            "storage_options.verify is '/no/such/bundle.pem'; give true, false or the path",
        ),
    ],
)
def test_options_are_checked(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Storage(options).prepare("s3://bucket/a")
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("verify", [False, True, __file__])
def test_options_reach_the_client(verify: bool | str) -> None:
    filesystem = Storage({"endpoint_url": "https://host:9000", "region": "eu-1", "verify": verify})._filesystem(
        "s3://b/a"
    )

    assert filesystem.client_kwargs == {"endpoint_url": "https://host:9000", "region_name": "eu-1", "verify": verify}


def test_options_of_s3_do_not_disturb_other_protocols() -> None:
    storage = Storage({"endpoint_url": "https://host:9000"})
    assert storage._filesystem("http://host/manifest.jsonl").kwargs == {}


def test_secrets_are_shown_nowhere(s3_bucket: str) -> None:
    storage = Storage()
    storage.prepare(s3_bucket)
    with pytest.raises(AccessError) as missing:
        storage.read(f"{s3_bucket}/missing")

    for shown in (repr(storage), str(storage), str(missing.value), repr(missing.value)):
        assert "test-access-key" not in shown and "test-secret-key" not in shown


def test_workers_need_no_environment(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage()
    storage.prepare(s3_bucket)
    for name in ("S3_ENDPOINT_URL", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.delenv(name)

    travelled = pickle.loads(pickle.dumps(storage))

    travelled.write(f"{s3_bucket}/a", b"from a worker")
    assert travelled.read(f"{s3_bucket}/a") == b"from a worker"


def test_without_credentials(s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3_ACCESS", "S3_SECRET"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    with pytest.raises(
        ConfigurationError, match="no credentials; set S3_ACCESS_KEY and S3_SECRET_KEY, or AWS's own variables"
    ):
        Storage().read(f"{s3_bucket}/a")


# Versions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["local", "s3"], indirect=True)  # memory:// tells it differently each time
@pytest.mark.parametrize("num_bytes", [0, 5, 17 * 2**20])
def test_what_was_written_is_told_by_the_version_it_has_in_lists(storage: Storage, root: str, num_bytes: int) -> None:
    with storage.create(f"{root}/created") as file:
        file.write(bytes(num_bytes))
    written = storage.written(f"{root}/written", bytes(num_bytes))
    listed = {info.path: info.version for info in storage.list_files(root, max_depth=1)}
    for path, version in ((f"{root}/created", file.version), (f"{root}/written", written)):
        assert storage.find(path) == storage.info(path) and storage.info(path).version == listed[path]
        is_told = num_bytes or not path.startswith("s3") or path.endswith("written")
        assert version == (listed[path] if is_told else "")
