"""Requests to the Hub, made again when it is busy or does not answer."""

from __future__ import annotations

import random
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from loguru import logger

from curator_audio.errors import StorageError
from curator_audio.storage import patience
from curator_audio.storage.failures import without_secrets

TRIES = 7
FIRST_WAIT_SEC = 1.0
LONGEST_WAIT_SEC = 60.0
LONGEST_ASKED_WAIT_SEC = 3600.0
TOLD_WAIT_SEC = 5.0
TIMEOUT_SEC = 300.0
BUSY = frozenset({408, 429, 500, 502, 503, 504})
CONFLICT = frozenset({409, 412})
_COMMIT = re.compile(r"/api/datasets/[^/]+/[^/]+/commit/")
_WINDOW = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")


class Unanswered(StorageError):
    """A commit of which is not known whether it was made.

    Args:
        reason: why.
        headers: those of the answer, where there was one.
    """

    def __init__(self, reason: str, headers: Mapping[str, str]) -> None:
        super().__init__(reason)
        self.headers = headers


@contextmanager
def patient_session() -> Iterator[None]:
    """Have the client of ``huggingface_hub`` try each request up to ``TRIES`` times, without a word.

    The client tries some of its requests again by itself, others not, and leaves ``Retry-After`` with a date aside: in
    this block no request fails in a way that it would try again. Where the tries are used up, ``StorageError`` is
    raised; for a commit, which must not be made twice, ``Unanswered`` at once.
    """
    from huggingface_hub.utils import are_progress_bars_disabled as are_bars_disabled
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars, get_session
    from huggingface_hub.utils import logging as hub_logging

    session = get_session()
    verbosity, had_bars = hub_logging.get_verbosity(), not are_bars_disabled()
    vars(session)["request"] = _Patient(session.request)
    hub_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            disable_progress_bars()
            yield
    finally:
        del vars(session)["request"]
        hub_logging.set_verbosity(verbosity)
        if had_bars:
            enable_progress_bars()


class _Patient:
    """``request`` of a session, with several tries."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def __call__(self, method: str, url: Any, **options: Any) -> Any:
        if isinstance(options.get("timeout"), (int, float)):
            return self._request(method, url, **options)  # the client can do without
        place = urlsplit(str(url))
        server = f"{place.scheme}://{place.netloc.rpartition('@')[2]}"
        is_commit = method == "POST" and bool(_COMMIT.search(place.path))
        options["timeout"] = TIMEOUT_SEC
        body: Any = options.get("data")
        start = body.tell() if hasattr(body, "seek") else None
        for attempt in count():
            if start is not None:  # an earlier try has read it
                body.seek(start)
            response, reason = self._tried(method, url, options)
            if response is not None and response.status_code not in (BUSY | CONFLICT if is_commit else BUSY):
                return response
            headers = response.headers if response is not None else {}
            if is_commit:
                raise Unanswered(f"{server} {reason}", headers)
            pause_before_next(attempt, headers, f"{server} {reason}")

    def _tried(self, method: str, url: Any, options: dict[str, Any]) -> tuple[Any, str]:
        """An answer, or None; and what is wrong with it."""
        from huggingface_hub.errors import OfflineModeIsEnabled

        try:
            response = self._request(method, url, **options)
        except (OfflineModeIsEnabled, TypeError, ValueError):
            raise
        except Exception as error:  # whichever library the client speaks HTTP with
            said = (str(error) or type(error).__name__).splitlines()[0]
            return None, f"cannot be reached ({without_secrets(said)})"
        return response, f"answers {response.status_code}"


def pause_before_next(attempt: int, headers: Mapping[str, str], reason: str) -> None:
    """Wait before the try after number ``attempt``, and say so where it takes long.

    Raises:
        StorageError: that was the last one, or the server asks to wait too long.
    """
    if attempt + 1 >= TRIES:
        raise StorageError(f"{reason}, {TRIES} times in a row; run the same command again to go on")
    wait_sec = wait_before(attempt, headers)
    if wait_sec > LONGEST_ASKED_WAIT_SEC + FIRST_WAIT_SEC:
        raise StorageError(
            f"{reason} and asks to wait for {wait_sec / 60:.0f} minutes; run the same command again then"
        )
    if wait_sec > TOLD_WAIT_SEC:
        logger.info(f"{reason}; waiting {wait_sec:.0f} s")
    time.sleep(wait_sec)


def wait_before(attempt: int, headers: Mapping[str, str]) -> float:
    """Seconds to wait after try number ``attempt``: as long as the server asks for, or twice as long each time.

    Chance makes them differ, so that many clients do not come back at once.

    Example:
        >>> 30 <= wait_before(0, {"retry-after": "30"}) <= 31
        True
        >>> 4 <= wait_before(3, {}) <= 8
        True
    """
    asked = asked_wait(headers)
    if asked is not None:
        return asked + random.uniform(0, FIRST_WAIT_SEC)
    return min(LONGEST_WAIT_SEC, FIRST_WAIT_SEC * 2.0**attempt) * random.uniform(0.5, 1)


def asked_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds a server asks to wait: in ``Retry-After``, as a number or a date, or till its rate limit is reset.

    Example:
        >>> asked_wait({"retry-after": "20"})
        20.0
        >>> asked_wait({"RateLimit": '"api";r=0;t=55'})
        55.0
    """
    asked = patience.asked_wait(headers, now)
    limit = next((value for name, value in headers.items() if name.lower() == "ratelimit"), "")
    window = _WINDOW.search(limit)
    return float(window[1]) if asked is None and window else asked
