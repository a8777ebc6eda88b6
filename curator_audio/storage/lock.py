"""One run at a time in an output folder."""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn

from loguru import logger

from curator_audio.errors import AccessError, ConfigurationError, CuratorError, LockLostError, StorageError
from curator_audio.storage.storage import Storage

HEARTBEAT_SEC = 10.0
EXPIRY_SEC = 60.0
SETTLE_SEC = 0.3
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # which goes on by itself on macOS
FRESH_SEC = 1.0
"""How long it holds that the lock was seen to be one's own."""
LATE_SEC = 10.0
"""What takes longer to be seen may have changed by then."""
PAUSES_SEC = (0.5, 2.0, 8.0)
"""Before a lock that could not be read is tried again."""


class Claim:
    """What every process of a run knows its lock by, to check before it writes anything: the permit of its storage.

    A process may be stopped (SIGSTOP, a machine asleep) for longer than the lock lives, and not know it when it wakes:
    hence the clock is one that has gone on by then. Where the lock cannot be read, as the store does not answer, that
    is tried again for some seconds; then it is an error like that of the write itself, and nothing is written.

    Args:
        path: the lock file.
        token: what stands in it while it is the run's own.

    Example:
        >>> storage = Storage()
        >>> storage.write("memory://doc/mine.json", b'{"token": "mine"}')
        >>> Claim("memory://doc/mine.json", "mine").check(storage)
    """

    def __init__(self, path: str, token: str) -> None:
        self.path = path
        self.token = token
        self.is_lost = False
        self._seen_at = -math.inf
        self._one_at_a_time = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "token": self.token}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # when it was seen, another process's clock tells

    def check(self, storage: Storage) -> None:
        """Check that the lock is still there, and the run's own, unless that was seen less than a second ago.

        Raises:
            LockLostError: it is not.
            StorageError: it cannot be read.
        """
        with self._one_at_a_time:
            pauses = iter(PAUSES_SEC)
            while self.is_lost or _now() - self._seen_at > FRESH_SEC:
                asked = _now()
                try:
                    self.look(storage)
                except AccessError:
                    raise
                except StorageError:
                    if (pause := next(pauses, None)) is None:
                        raise
                    time.sleep(pause)
                    continue
                if _now() - asked < LATE_SEC:
                    return

    def look(self, storage: Storage) -> None:
        """The same, whenever it was seen."""
        asked = _now()
        try:
            holder = _read(storage, self.path)
        except AccessError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self.is_lost = True
            raise LockLostError(
                f"the lock {self.path} has gone: another run has had it since, or it was deleted; this one writes "
                "nothing more, and stops; run the same command again if no other run is working here"
            ) from None
        if self.is_lost or holder.get("token") != self.token:
            self.lose(holder)
        self._seen_at = asked

    def lose(self, holder: Mapping[str, Any]) -> NoReturn:
        """Give the lock up for lost."""
        self.is_lost = True
        raise LockLostError(
            f"another run has taken the lock {self.path} (process {holder.get('pid', '?')} on "
            f"{holder.get('host', '?')}), which this one had left alone for too long: it writes nothing more, and "
            "stops; wait for the other to end"
        )


_held: set[str] = set()
"""The tokens of the locks that runs of this process have; one it could not remove must not keep it out."""


class RunLock:
    """A file that exists while a run works in a folder, rewritten as a sign of life.

    A lock left by a killed run is taken over: at once where its process can be seen to be gone or to have ended that
    run, else when it has shown no sign of life for a minute.

    Args:
        storage: where the lock lies.
        path: the lock file.

    Attributes:
        storage: the same storage; before it writes or deletes anything, it checks that the lock is still the run's.
        may_be_woken: whether the lock was taken from a run that had only been silent, and may go on some time.

    Example:
        >>> with RunLock(Storage(), "memory://doc/lock.json") as lock:
        ...     lock.storage.write("memory://doc/out.txt", b"hello")
    """

    def __init__(self, storage: Storage, path: str) -> None:
        self._path = path
        self._claim = Claim(path, uuid.uuid4().hex)
        self._storage = storage
        self.storage = storage.permitted_by(self._claim)
        self.may_be_woken = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="run-lock", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether it is known that another run has it."""
        return self._claim.is_lost

    def __enter__(self) -> RunLock:
        _held.add(self._claim.token)
        try:
            if not self._storage.create_exclusively(self._path, self._content()):
                self._take_over()
        except BaseException:
            _held.discard(self._claim.token)
            raise
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        _held.discard(self._claim.token)
        try:
            self._claim.look(self._storage)
            self._storage.delete([self._path])
            self._storage.delete_empty_folder(self._path.rpartition("/")[0])
        except LockLostError:
            if error is None:  # what was written last may be in the way of the other run
                raise
        except CuratorError as failure:  # the next run sees that the process is gone, or has given it up
            logger.warning(f"the lock could not be removed: {failure}")

    def _take_over(self) -> None:
        holder = self._holder()
        if not self._is_dead(holder):
            raise ConfigurationError(
                f"another run is working here ({self._path}: process {holder.get('pid', '?')} on "
                f"{holder.get('host', '?')}, last sign of life {_age_sec(holder):.0f} s ago); wait for it to end, or "
                f"if it was killed on another machine, until {EXPIRY_SEC:.0f} s have passed"
            )
        self._storage.delete([self._path])
        created = self._storage.create_exclusively(self._path, self._content())
        time.sleep(SETTLE_SEC)  # another run may have seen the same dead lock and deleted ours
        if not created or self._holder().get("token") != self._claim.token:
            raise ConfigurationError(f"another run started here at the same moment ({self._path}); wait for it to end")

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        if holder.get("host") == socket.gethostname() and holder.get("boot") == _boot_id():
            pid = int(holder.get("pid", 0))
            if _process_started(pid) != holder.get("started"):
                return True
            return pid == os.getpid() and holder.get("token") not in _held
        if _age_sec(holder) < EXPIRY_SEC:
            return False
        time.sleep(1.5 * HEARTBEAT_SEC)  # clocks of two machines may differ: does it really not move?
        self.may_be_woken = True
        return self._holder() == holder

    def _holder(self) -> dict[str, Any]:
        try:
            return _read(self._storage, self._path)
        except CuratorError:
            return {}

    def _content(self) -> bytes:
        return json.dumps(
            {
                "token": self._claim.token,
                "host": socket.gethostname(),
                "boot": _boot_id(),
                "pid": os.getpid(),
                "started": _process_started(os.getpid()),
                "alive": time.time(),
            }
        ).encode()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SEC):
            try:
                self._renew()
            except LockLostError:  # which the run tells before it writes the next time
                return
            except CuratorError as error:  # a storm at the object store must not end the run
                logger.warning(f"no sign of life could be written: {error}")

    def _renew(self) -> None:
        asked = _now()
        self._claim.look(self._storage)
        self._storage.write(self._path, self._content())
        if _now() - asked > EXPIRY_SEC:  # whoever took it in between was written over
            self._claim.lose({})


def _now() -> float:
    """Seconds of a clock that goes on while the machine sleeps, and is never set."""
    return time.clock_gettime(CLOCK)


def _read(storage: Storage, path: str) -> dict[str, Any]:
    """What stands in a lock; nothing where that is not to be understood."""
    try:
        holder = json.loads(storage.read(path))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _age_sec(holder: dict[str, Any]) -> float:
    alive = holder.get("alive")
    return time.time() - alive if isinstance(alive, (int, float)) else EXPIRY_SEC + 1


def _boot_id() -> str:
    """Tells within what a process id means the same process."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            # Containers of one machine have process ids of their own.
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _process_started(pid: int) -> str | None:
    """When a process of this machine started, in a form that only serves comparison; None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except FileNotFoundError:
        return None if os.path.isdir("/proc/self") else _exists(pid)


def _exists(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return "unknown"
