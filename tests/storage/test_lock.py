import json
import os
import pickle
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError, LockLostError, StorageError
from curator_audio.storage import lock as lock_module
from curator_audio.storage.lock import EXPIRY_SEC, RunLock
from curator_audio.storage.storage import Storage


@pytest.fixture(params=["local", "memory", "s3"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a lock may lie."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/out/_ledger/lock.json"
    return f"{tmp_path}/lock.json" if request.param == "local" else f"memory://{uuid.uuid4().hex}/lock.json"


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that wait for other machines are of no use where there are none."""
    monkeypatch.setattr(lock_module, "SETTLE_SEC", 0)
    monkeypatch.setattr(lock_module, "HEARTBEAT_SEC", 0.001)


def holder(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Storage().read(path))
    return content


def left_behind(path: str, **changes: Any) -> None:
    """The lock of a run that was killed, as another would find it."""
    with RunLock(Storage(), path):
        content = holder(path)
    Storage().write(path, json.dumps(content | changes).encode())


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lock_is_there_while_the_run_goes_on(path: str) -> None:
    with RunLock(Storage(), path) as lock:
        assert holder(path)["pid"] == os.getpid()
        assert holder(path)["host"] == socket.gethostname()
        assert not lock.lost
    assert not Storage().exists(path)


def test_an_error_in_the_run_frees_it(path: str) -> None:
    with pytest.raises(ValueError, match="mine"), RunLock(Storage(), path):
        raise ValueError("mine")
    assert not Storage().exists(path)


def test_a_second_run_is_refused(path: str) -> None:
    with RunLock(Storage(), path):
        with pytest.raises(ConfigurationError) as raised, RunLock(Storage(), path):
            pass
        assert f"another run is working here ({path}: process {os.getpid()} on {socket.gethostname()}" in str(
            raised.value
        )
        assert "last sign of life" in str(raised.value)
        assert Storage().exists(path), "the refused run must not take the lock with it"


def test_the_lock_of_a_dead_process_is_taken_over_at_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(path, pid=dead_process(), token="dead")
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited") if seconds else None)

    with RunLock(Storage(), path):
        assert holder(path)["pid"] == os.getpid()
        assert holder(path)["token"] != "dead"


def test_a_lock_that_could_not_be_removed_does_not_keep_out_its_own_process(path: str) -> None:
    """As in a notebook, where the same process runs again."""
    with RunLock(Storage(), path):
        left = Storage().read(path)
    Storage().write(path, left)
    with RunLock(Storage(), path):
        assert Storage().read(path) != left
    assert not Storage().exists(path)


def test_a_process_that_only_has_the_number_of_the_dead_one_does_not_count(path: str) -> None:
    left_behind(path, started="long ago", token="dead")

    with RunLock(Storage(), path):
        assert holder(path)["token"] != "dead"


def test_another_machine_that_shows_signs_of_life_is_believed(path: str) -> None:
    left_behind(path, host="elsewhere", boot="other", pid=1, token="alive", alive=time.time())

    with (
        pytest.raises(ConfigurationError, match="process 1 on elsewhere, last sign of life 0 s ago"),
        RunLock(Storage(), path),
    ):
        pass
    assert holder(path)["token"] == "alive"


def test_another_machine_that_has_been_silent_for_a_minute_is_dead(path: str) -> None:
    left_behind(path, host="elsewhere", boot="other", token="dead", alive=time.time() - EXPIRY_SEC - 1)

    with RunLock(Storage(), path):
        assert holder(path)["pid"] == os.getpid()


def test_a_clock_that_is_wrong_is_no_silence(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left_behind(path, host="elsewhere", boot="other", token="alive", alive=time.time() - 3600)

    def beats(seconds: float) -> None:
        Storage().write(path, json.dumps(holder(path) | {"alive": holder(path)["alive"] + 10}).encode())

    monkeypatch.setattr(time, "sleep", beats)

    with pytest.raises(ConfigurationError, match="another run is working here"), RunLock(Storage(), path):
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_a_damaged_lock_of_nobody_is_taken_over(path: str, content: bytes) -> None:
    Storage().write(path, content)

    with RunLock(Storage(), path):
        assert holder(path)["pid"] == os.getpid()


# Signs of life -----------------------------------------------------------------------------------------------


class BeatsOnce:
    """Stands for the event that ends the heartbeat: one beat, then the end."""

    def __init__(self) -> None:
        self.answers = [False, True]

    def wait(self, seconds: float) -> bool:
        return self.answers.pop(0)


def one_beat(lock: RunLock) -> None:
    lock._stop = BeatsOnce()  # type: ignore[assignment]
    lock._beat()


def taken(path: str, storage: Storage | None = None) -> RunLock:
    """A lock that beats only when told to."""
    lock = RunLock(storage or Storage(), path)
    Storage().write(path, lock._content())
    return lock


def test_a_beat_renews_the_sign_of_life(path: str) -> None:
    lock = taken(path)
    Storage().write(path, json.dumps(holder(path) | {"alive": 0}).encode())

    one_beat(lock)

    assert time.time() - holder(path)["alive"] < EXPIRY_SEC
    assert not lock.lost


def test_a_lock_taken_by_another_is_lost_and_left_alone(path: str) -> None:
    lock = taken(path)
    Storage().write(path, json.dumps(holder(path) | {"token": "another"}).encode())

    one_beat(lock)

    assert lock.lost
    assert holder(path)["token"] == "another"


def test_a_lock_that_is_gone_is_lost(path: str) -> None:
    lock = taken(path)
    Storage().delete([path])
    one_beat(lock)
    assert lock.lost


@pytest.mark.parametrize("operation", ["read", "write"])
def test_a_store_that_does_not_answer_does_not_end_the_run(
    path: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def storm(*arguments: object) -> None:
        raise StorageError("the store answered 503")

    storage = Storage()
    lock = taken(path, storage)
    before = holder(path)
    monkeypatch.setattr(storage, operation, storm)

    one_beat(lock)

    assert not lock.lost
    assert holder(path) == before


def test_a_store_that_does_not_answer_at_the_end_does_not_hide_how_the_run_ended(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def storm(*arguments: object) -> None:
        raise StorageError("the store answered 503")

    storage = Storage()
    with pytest.raises(ValueError, match="mine"), RunLock(storage, path):
        monkeypatch.setattr(storage, "read", storm)
        raise ValueError("mine")


# Writing only while the lock is one's own ----------------------------------------------------------------------


def test_what_a_run_writes_it_writes_while_the_lock_is_its_own(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "FRESH_SEC", 0.0)
    out = f"{path.rpartition('/')[0]}/out"
    lock = taken(path)
    lock.storage.write(f"{out}/a", b"mine")
    with lock.storage.create(f"{out}/b") as file:
        file.write(b"mine")
    Storage().write(path, json.dumps(holder(path) | {"token": "another", "pid": 7, "host": "elsewhere"}).encode())

    taken_by = "another run has taken the lock .* \\(process 7 on elsewhere\\).* writes nothing more, and stops"
    with pytest.raises(LockLostError, match=taken_by):
        lock.storage.write(f"{out}/a", b"late")
    with pytest.raises(LockLostError, match=taken_by):
        lock.storage.delete([f"{out}/a"])
    if "://" in path:
        with pytest.raises(LockLostError, match=taken_by):
            lock.storage.copy_within_store(f"{out}/a", f"{out}/c")
    with pytest.raises(LockLostError, match=taken_by), lock.storage.create(f"{out}/b") as file:
        file.write(b"late")

    assert lock.lost
    assert {info.path: Storage().read(info.path) for info in Storage().list_files(out)} == {
        f"{out}/a": b"mine",
        f"{out}/b": b"mine",
    }
    with pytest.raises(LockLostError):  # even if the other run has ended, and left the folder as it was
        Storage().write(path, json.dumps(holder(path) | {"token": lock._claim.token}).encode())
        lock.storage.write(f"{out}/a", b"late")


@pytest.mark.parametrize("path", ["local", "s3"], indirect=True)
def test_a_worker_elsewhere_knows_the_lock_too(path: str) -> None:
    lock = taken(path)
    lock.storage.check_permit()
    storage = pickle.loads(pickle.dumps(lock.storage))
    storage.write(f"{path}.part", b"mine")
    Storage().delete([path])
    storage.write(f"{path}.part", b"seen less than a second ago")
    with pytest.raises(LockLostError, match=r"the lock .*/lock.json has gone: .* writes nothing more, and stops"):
        pickle.loads(pickle.dumps(storage)).write(f"{path}.part", b"never seen by this one")


def test_it_is_read_at_most_once_a_second_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    storage, path, reads = Storage(), f"memory://{uuid.uuid4().hex}/lock.json", []
    lock = taken(path, storage)
    read, now = storage.read, [1000.0]
    monkeypatch.setattr(Storage, "read", lambda self, path: reads.append(path) or read(path))
    monkeypatch.setattr(lock_module, "_now", lambda: now[0])
    for num, elapsed in enumerate((0.0, 0.5, 1.0, 1.001, 2.0, 3600.0)):
        now[0] = 1000.0 + elapsed
        monkeypatch.setattr(time, "time", lambda: -1e9 * num)  # noqa: B023
        lock.storage.write(f"{path}.part", b"")
    assert len(reads) == 3, "at 0, 1.001 and 3600 s"


def test_the_clock_goes_on_while_the_machine_sleeps() -> None:
    expected = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
    assert expected == lock_module.CLOCK


def test_an_answer_that_was_long_on_its_way_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is to a process that was stopped while it read the lock."""
    path, now = f"memory://{uuid.uuid4().hex}/lock.json", [0.0]
    lock = taken(path)
    read = Storage.read

    def stopped_on_the_way(self: Storage, path: str) -> bytes:
        data = read(self, path)
        if not now[0]:
            now[0] = 3600.0
            Storage().write(path, json.dumps(holder(path) | {"token": "another"}).encode())
        return data

    monkeypatch.setattr(lock_module, "_now", lambda: now[0])
    monkeypatch.setattr(Storage, "read", stopped_on_the_way)
    with pytest.raises(LockLostError):
        lock.storage.write(f"{path}.part", b"late")


def test_a_lock_that_cannot_be_read_gives_no_right_to_write(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, read, num_storms = taken(path), Storage.read, 0
    monkeypatch.setattr(lock_module, "PAUSES_SEC", (0.0, 0.0))

    def storm(self: Storage, path: str) -> bytes:
        nonlocal num_storms
        num_storms -= 1
        if num_storms >= 0:
            raise StorageError("the store answered 503")
        return read(self, path)

    monkeypatch.setattr(Storage, "read", storm)
    num_storms = 3
    with pytest.raises(StorageError, match="503"):
        lock.storage.write(f"{path}.part", b"mine")
    assert not lock.lost and not Storage().exists(f"{path}.part")
    num_storms = 2
    lock.storage.write(f"{path}.part", b"mine")


def test_a_run_whose_lock_went_while_it_wrote_the_last_file_says_so(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT_SEC", 10.0)  # a sign of life on its way would bring the lock back
    with pytest.raises(LockLostError, match="has gone"), RunLock(Storage(), path):
        Storage().delete([path])


def test_a_file_that_the_other_run_swept_away_is_no_mistake_in_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "FRESH_SEC", 0.0)
    lock, replace = taken(f"{tmp_path}/lock.json"), os.replace

    def slept(source: str, target: str) -> None:
        Storage().delete([f"{tmp_path}/lock.json", *map(str, tmp_path.glob(".part*"))])
        replace(source, target)

    monkeypatch.setattr(os, "replace", slept)
    with pytest.raises(LockLostError, match="has gone"):
        lock.storage.write(f"{tmp_path}/part", b"late")
