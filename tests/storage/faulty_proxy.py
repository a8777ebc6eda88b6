"""A proxy in front of an object store that has bad days: what it does to which request, a seed decides."""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.storage.servers import refusal, reply

PASSED_ON = {"etag", "content-range", "content-type", "last-modified", "accept-ranges", "x-amz-request-id", "date"}


@dataclass
class Answer:
    """What the store answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class FaultyProxy:
    """Passes requests on to a store and answers back, except where it does not.

    Whether a request fails, and how, depends on the seed, on the request and on how often it came before: not on which
    of several threads is first.

    Args:
        target: ``host:port`` of the store.
        seed: of what goes wrong.
        share: how many of the requests fail, 0 to 1.
        faults: what may happen, of ``FAULTS``.
        is_meant: which requests may fail, by method and path; all of them by default.
    """

    def __init__(
        self,
        target: str,
        seed: int = 0,
        share: float = 0.2,
        faults: tuple[str, ...] | None = None,
        is_meant: Callable[[str, str], bool] = lambda method, path: True,
    ) -> None:
        self.target, self.seed, self.share = target, seed, share
        self.faults = faults or tuple(FAULTS)
        self.is_meant = is_meant
        self.done: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        what = f"{request.command} {request.path} {request.headers.get('Range')}"
        with self._lock:
            self._seen[what] += 1
            rng = random.Random(f"{self.seed} {what} {self._seen[what]}")
        if self.is_meant(request.command, request.path) and rng.random() < self.share:
            fault = rng.choice([name for name in self.faults if request.command in FAULTS[name][1]] or [""])
            if fault:
                with self._lock:
                    self.done[fault] += 1
                FAULTS[fault][0](self, request, rng)
                return
        give(request, self.ask(request))

    def ask(self, request: Any, **headers: str | None) -> Answer:
        """What the store answers to the request, with some headers changed (None: left out)."""
        asked = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        for name, value in headers.items():
            asked.pop(name, None)
            if value is not None:
                asked[name] = value
        connection = http.client.HTTPConnection(self.target, timeout=60)
        try:
            connection.request(request.command, request.path, request.body, asked)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() in PASSED_ON}
            body = answer.read()
            if request.command == "HEAD":
                kept["Content-Length"] = answer.headers["Content-Length"]
            return Answer(answer.status, kept, body)
        finally:
            connection.close()


def give(request: BaseHTTPRequestHandler, answer: Answer, num_sent: int | None = None) -> None:
    """Send an answer; only its first bytes, and then hang up, where ``num_sent`` says so."""
    request.send_response(answer.status)
    for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(answer.body[:num_sent])
    request.close_connection = num_sent is not None


# What goes wrong ---------------------------------------------------------------------------------------------


def busy(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """429, 500 or 503, with or without a reason, and without the request being carried out."""
    codes = {429: "TooManyRequests", 500: "InternalError", 503: rng.choice(["SlowDown", "ServiceUnavailable"])}
    status = rng.choice(list(codes))
    reply(request, status, rng.choice([b"", refusal(codes[status])]), **rng.choice([{}, {"Retry_After": "0"}]))


def failed_after(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """500 for a request that was carried out."""
    proxy.ask(request)
    reply(request, 500, refusal("InternalError"))


def lost(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """No answer to a request that was carried out."""
    proxy.ask(request)
    request.close_connection = True


def reset(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """A connection that ends before the request was carried out."""
    request.close_connection = True
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def repeated(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """A request that reaches the store twice."""
    proxy.ask(request)
    give(request, proxy.ask(request))


def late(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """An answer that takes its time."""
    time.sleep(0.05)
    give(request, proxy.ask(request))


def short(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """An answer with fewer bytes than there are, that says nothing of it."""
    answer = proxy.ask(request)
    give(request, Answer(answer.status, answer.headers, answer.body[: rng.randrange(len(answer.body) or 1)]))


def short_and_told(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """An answer with a shorter range than was asked for, as HTTP allows."""
    answer = proxy.ask(request)
    body = answer.body[: rng.randrange(len(answer.body) or 1)]
    if told := re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", "")):
        size = rng.choice([told[2], str(int(told[1]) + len(body))])
        answer.headers["Content-Range"] = f"bytes {told[1]}-{int(told[1]) + len(body) - 1}/{size}"
    give(request, Answer(answer.status, answer.headers, body))


def cut(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """A connection that ends in the middle of an answer."""
    answer = proxy.ask(request)
    give(request, answer, num_sent=rng.randrange(len(answer.body) or 1))


def cut_in_chunks(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """A connection that ends in the middle of an answer that does not tell its length."""
    answer = proxy.ask(request)
    half = answer.body[: len(answer.body) // 2]
    request.send_response(answer.status)
    for name, value in {"Transfer-Encoding": "chunked", **answer.headers}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(b"%x\r\n%s\r\n" % (len(half), half) if half else b"")
    request.close_connection = True


def whole(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """The whole object where a range of it was asked for."""
    give(request, proxy.ask(request, Range=None))


def shifted(proxy: FaultyProxy, request: Any, rng: random.Random) -> None:
    """Another range than was asked for."""
    first, _, last = request.headers.get("Range", "").removeprefix("bytes=").partition("-")
    moved = f"bytes={int(first) + 1}-{last}" if first.isdecimal() and last and int(first) < int(last) else None
    give(request, proxy.ask(request, **({"Range": moved} if moved else {})))


ANY = ("GET", "HEAD", "PUT", "POST", "DELETE")
FAULTS: dict[str, tuple[Callable[[FaultyProxy, Any, random.Random], None], tuple[str, ...]]] = {
    "busy": (busy, ANY),
    "failed_after": (failed_after, ANY),
    "lost": (lost, ANY),
    "reset": (reset, ANY),
    "repeated": (repeated, ANY),
    "late": (late, ANY),
    "short": (short, ("GET",)),
    "short_and_told": (short_and_told, ("GET",)),
    "cut": (cut, ("GET",)),
    "cut_in_chunks": (cut_in_chunks, ("GET",)),
    "whole": (whole, ("GET",)),
    "shifted": (shifted, ("GET",)),
}
"""What may go wrong, and with the requests of which methods."""
