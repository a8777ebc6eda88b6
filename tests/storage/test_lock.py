import json
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from curator_audio.errors import ConfigurationError, StorageError
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
