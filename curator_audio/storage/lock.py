"""One run at a time in an output folder."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any

from loguru import logger

from curator_audio.errors import ConfigurationError, CuratorError
from curator_audio.storage.storage import Storage

HEARTBEAT_SEC = 10.0
EXPIRY_SEC = 60.0
SETTLE_SEC = 0.3


class RunLock:
    """A file that exists while a run works in a folder, rewritten as a sign of life.

    A lock left by a killed run is taken over: at once where its process can be seen to be gone, else when it
    has shown no sign of life for a minute.

    Args:
        storage: where the lock lies.
        path: the lock file.

    Example:
        >>> with RunLock(Storage(), "memory://doc/lock.json"):
        ...     pass
    """

    def __init__(self, storage: Storage, path: str) -> None:
        self._storage = storage
        self._path = path
        self._token = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="run-lock", daemon=True)
        self.lost = False

    def __enter__(self) -> RunLock:
        if not self._storage.create_exclusively(self._path, self._content()):
            self._take_over()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        try:
            if not self.lost and self._is_ours():
                self._storage.delete([self._path])
                self._storage.delete_empty_folder(self._path.rpartition("/")[0])
        except CuratorError as failure:  # the next run sees that the process is gone
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
        if not created or self._holder().get("token") != self._token:
            raise ConfigurationError(f"another run started here at the same moment ({self._path}); wait for it to end")

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        if holder.get("host") == socket.gethostname() and holder.get("boot") == _boot_id():
            return _process_started(int(holder.get("pid", 0))) != holder.get("started")
        if _age_sec(holder) < EXPIRY_SEC:
            return False
        time.sleep(1.5 * HEARTBEAT_SEC)  # clocks of two machines may differ: does it really not move?
        return self._holder() == holder

    def _holder(self) -> dict[str, Any]:
        try:
            return self._read()
        except CuratorError:
            return {}

    def _read(self) -> dict[str, Any]:
        try:
            holder = json.loads(self._storage.read(self._path))
        except ValueError:
            return {}
        return holder if isinstance(holder, dict) else {}

    def _is_ours(self) -> bool:
        """Whether the lock there is this run's; raises where that cannot be seen, which is no sign of another run."""
        return self._storage.exists(self._path) and self._read().get("token") == self._token

    def _content(self) -> bytes:
        return json.dumps(
            {
                "token": self._token,
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
                if not self._is_ours():
                    self.lost = True
                    logger.error(f"the lock {self._path} was taken by another run; this run stops")
                    return
                self._storage.write(self._path, self._content())
            except CuratorError as error:  # a storm at the object store must not end the run
                logger.warning(f"no sign of life could be written: {error}")


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
