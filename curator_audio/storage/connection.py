"""Whether a path can be worked with, told before a run is started on it."""

from __future__ import annotations

import os
import socket
import ssl
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit

from curator_audio.errors import AccessError, ConfigurationError, CuratorError, StorageError, describe
from curator_audio.storage.failures import explained, without_secrets
from curator_audio.storage.s3 import s3_arguments
from curator_audio.storage.storage import WEB, Storage, absolute, is_local, join, local_path

NUM_LISTED = 100
VERBS = {"listed": "list", "read": "read", "written": "write", "deleted": "delete"}
PLAIN_UPLOADS = "AWS_REQUEST_CHECKSUM_CALCULATION=when_required"
"""Without it botocore sends a checksum behind the content, which some stores take for content."""

Out = TypeVar("Out")


def check_connection(path: str, options: Mapping[str, Any] | None = None, timeout_sec: float = 10.0) -> str:
    """Try what a run does: list a folder, write a small file in it, read it back and delete it; a file is only read.

    Nothing is tried twice, and nothing is left behind.

    Args:
        path: a folder or a file, on this machine or at an fsspec URL.
        options: the ``storage_options`` of the run.
        timeout_sec: how long a request may take.

    Returns:
        One line that says what can be done.

    Raises:
        ConfigurationError: the path, the options, the credentials or TLS are wrong.
        AccessError: something may not be done; the line says what may, and what not.
        StorageError: the store is not reached, or fails; a later try may help.

    Example:
        >>> check_connection("memory://check/out")  # doctest: +ELLIPSIS
        'memory://check/out (nothing there yet) can be listed, read, written and deleted (... ms a request)'
    """
    if not path:
        raise ConfigurationError("the path to check is ''; give a folder or a file")
    check = _Check(absolute(path), dict(options or {}), timeout_sec)
    try:
        return without_secrets(check.result())
    except CuratorError as error:
        raise check.completed(error) from None


class _Check:
    """What can be done with one path, what is refused, and how long it takes."""

    def __init__(self, path: str, options: dict[str, Any], timeout_sec: float) -> None:
        self.path = path
        self.timeout_sec = timeout_sec
        self.storage = Storage(options)
        if path.startswith(("s3://", "s3a://")):
            once = {"config_kwargs": {"connect_timeout": 2 * timeout_sec}, "tries": 1}
            self.storage._s3_arguments = s3_arguments(options) | once
        self.filesystem = self.storage._filesystem(path)
        self.a_file: str | None = None
        self.durations_sec: dict[str, float] = {}
        self.refusals: dict[str, str] = {}

    def result(self) -> str:
        is_web = self.path.startswith(WEB)  # where a folder is a page of links, if anything
        has_files = None if is_web else self._try("listed", self.path, self._look)
        if is_web or self._in_time("read", self.path, lambda: self.filesystem.isfile(self.path)):
            self.durations_sec, self.refusals, self.a_file = {}, {}, self.path
            self._read_what_is_there()
            return self._verdict(self.path)
        with self._new_folders_removed():
            self._write_and_read()
        return self._verdict(self.path if has_files is not False else f"{self.path} (nothing there yet)")

    def completed(self, error: CuratorError) -> CuratorError:
        """The error with the endpoint that was asked, without passwords, and where TLS was expected, saying so."""
        message, endpoint = str(error), without_secrets(self._endpoint())
        server = self._endpoint() or self.path
        if type(error) is StorageError and server.startswith("http://") and _speaks_tls(server, self.timeout_sec):
            return ConfigurationError(without_secrets(f"{server} speaks TLS; give https://, not http://"))
        if endpoint and endpoint not in message:
            message += f" (endpoint {endpoint})"
        return type(error)(without_secrets(message))

    def _look(self) -> bool:
        """Whether there is anything in the folder; takes note of a file that can be read."""
        if hasattr(self.filesystem, "call_s3"):  # one page of the listing: there may be millions
            bucket, key, _ = self.filesystem.split_path(self.path)
            prefix = key.rstrip("/") + "/" if key else ""
            page = self.filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=NUM_LISTED)
            found = page.get("Contents", [])
            self.a_file = next((f"s3://{bucket}/{entry['Key']}" for entry in found if entry["Size"]), None)
            return bool(found)
        names: list[str] = []
        with suppress(FileNotFoundError):
            names = self.filesystem.ls(self.path, detail=False)
        self.a_file = next((name for name in names[:NUM_LISTED] if self.filesystem.isfile(name)), None)
        return bool(names)

    def _write_and_read(self) -> None:
        """Write, read and delete a file of a name that nobody else has; where that is refused, read another."""
        probe = join(self.path, f".connection-check-{uuid.uuid4().hex}")
        data = uuid.uuid4().bytes
        if not self._try("written", probe, lambda: self.storage.create_exclusively(probe, data)):
            self._read_what_is_there()
            return
        try:
            read = self._try("read", probe, lambda: self.storage.read(probe))
        finally:
            self._try("deleted", probe, lambda: self.storage.delete([probe]))
        if "deleted" in self.refusals:
            self.refusals["deleted"] += f"; {probe} stays there"
        if read not in (None, data):
            wrong = f"cannot read {self.path}: what comes back is not what was written; check endpoint_url"
            raise ConfigurationError(f"{wrong}, or set {PLAIN_UPLOADS} for a store without trailing checksums")

    def _read_what_is_there(self) -> None:
        path = self.a_file
        if path and len(self._try("read", path, lambda: self.filesystem.cat_file(path, start=0, end=1)) or b"") > 1:
            raise AccessError(f"cannot read a part of {path}: its server ignores byte ranges; copy the file elsewhere")

    def _try(self, done: str, path: str, request: Callable[[], Out]) -> Out | None:
        """What the request gives; None where it is refused."""
        started = time.perf_counter()
        try:
            result = self._in_time(VERBS[done], path, request)
        except AccessError as error:
            self.refusals[done] = str(error).removeprefix(without_secrets(f"cannot {VERBS[done]} {path}: "))
            return None
        self.durations_sec[done] = time.perf_counter() - started
        return result

    def _in_time(self, verb: str, path: str, request: Callable[[], Out]) -> Out:
        """What the request gives; not every client or network disk ends its waiting by itself."""
        future: Future[Out] = Future()

        def run() -> None:
            try:
                with explained(path, verb):
                    future.set_result(request())
            except BaseException as error:
                future.set_exception(error)

        Thread(target=run, daemon=True).start()
        cannot = f"cannot {verb} {path}:"
        if not wait([future], self.timeout_sec).done:
            raise StorageError(f"{cannot} no answer within {self.timeout_sec:g} s; check the address and the network")
        try:
            return future.result()
        except CuratorError:
            raise
        except Exception as error:
            raise StorageError(f"{cannot} {describe(error)}") from error

    def _verdict(self, what: str) -> str:
        can = " and ".join(", ".join(word for word in VERBS if word in self.durations_sec).rsplit(", ", 1))
        if self.refusals:
            can = f"can be {can}, but not" if can else "cannot be"
            reason = next(iter(self.refusals.values()))
            raise AccessError(f"{what} {can} {' or '.join(filter(self.refusals.get, VERBS))}: {reason}")
        if is_local(self.path):
            return f"{what} can be {can}"
        endpoint = f"endpoint {self._endpoint()}, " if self._endpoint() else ""
        milliseconds = 1000 * statistics.median(self.durations_sec.values())
        return f"{what} can be {can} ({endpoint}{milliseconds:.0f} ms a request)"

    def _endpoint(self) -> str:
        """The URL that an S3 client sends its requests to, once it is set up."""
        client = getattr(self.filesystem, "_s3", None)
        return str(client.meta.endpoint_url) if client else ""

    @contextmanager
    def _new_folders_removed(self) -> Iterator[None]:
        """Folders of this machine that writing in the block makes are removed after it."""
        missing = []
        if is_local(self.path):
            folder = local_path(self.path).rstrip("/")
            while folder and not os.path.lexists(folder):
                missing.append(folder)
                folder = os.path.dirname(folder)
        try:
            yield
        finally:
            for folder in missing:
                self.storage.delete_empty_folder(folder)


def _speaks_tls(url: str, timeout_sec: float) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    parts = urlsplit(url)
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 80), min(2.0, timeout_sec)) as connection,
            context.wrap_socket(connection, server_hostname=parts.hostname),
        ):
            return True
    except (OSError, ValueError):
        return False
