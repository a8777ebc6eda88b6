"""When a request to a store is made again, and after how long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from itertools import count
from typing import TypeVar

from curator_audio.storage.failures import BUSY, CLOSED, CUT, NO_STORE, NOT_S3, UNREACHABLE, answer_of, chain_of
from curator_audio.storage.hosts import PrivateHostError

TRIES = 8
FEW_TRIES = 5
"""Where nobody is there, or what is there does not speak as it should: it may be the wrong address."""
FIRST_WAIT_SEC = 0.2
LONGEST_WAIT_SEC = 20.0
LONGEST_ASKED_WAIT_SEC = 60.0
NOT_CONNECTED = {"ConnectTimeoutError", "ConnectionTimeoutError"}
"""How clients call it that nobody takes a connection."""

BUSY_CODES = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "IncompleteBody",
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "XAmzContentSHA256Mismatch",
    }
)
"""What S3 stores call being busy, or a request that was damaged on its way; the status may be any."""

Out = TypeVar("Out")


class UnfitAnswer(OSError):
    """An answer without an error that is not what was asked for; asked again, the store may do better."""


class ShortAnswer(UnfitAnswer):
    """Fewer bytes than there are.

    Args:
        num_bytes: how many came.
        num_asked: how many there are.
    """

    def __init__(self, num_bytes: int, num_asked: int) -> None:
        super().__init__(f"the store gave {num_bytes} of {num_asked} bytes; run again")


class RangesIgnored(UnfitAnswer):
    """The whole file, or another part of it, where one part was asked for."""

    def __init__(self) -> None:
        super().__init__("its server ignores byte ranges; copy the file elsewhere")


class NotAStore(UnfitAnswer):
    """Something that an S3 store would not say."""

    def __init__(self) -> None:
        super().__init__(NO_STORE[1])


class ChangedMeanwhile(OSError):
    """Another object than the one that was listed or opened; its pieces and those of the older do not fit together."""

    def __init__(self) -> None:
        super().__init__("it has changed since it was listed; run again")


def patiently(do: Callable[[], Out], on: type[Exception] = Exception) -> Out:
    """Return what ``do`` gives, tried again while that may help; one time-out is waiting enough.

    Args:
        do: what to do.
        on: the errors after which it is tried again.

    Example:
        >>> patiently(lambda: 42)
        42
    """
    for attempt in count():
        try:
            return do()
        except on as error:
            failure = error
        wait_sec = wait_before_next(failure, attempt)
        if wait_sec is None or _is_timeout(failure):
            raise failure
        time.sleep(wait_sec)
    raise AssertionError


def wait_before_next(error: BaseException, attempt: int, tries: int | None = None) -> float | None:
    """Return the seconds to wait before the try after number ``attempt`` (from 0); None where there should be none.

    Args:
        error: what the try ended in, of any client.
        attempt: its number.
        tries: how many there may be at most.

    Example:
        >>> 0.1 <= wait_before_next(ShortAnswer(5, 9), 0) <= 0.2
        True
        >>> wait_before_next(ShortAnswer(5, 9), TRIES - 1), wait_before_next(FileNotFoundError(), 0)
        (None, None)
    """
    if attempt + 1 >= min(_tries(error), tries or TRIES):
        return None
    asked = asked_wait(_headers(error))
    if asked is not None:
        return min(asked, LONGEST_ASKED_WAIT_SEC) + random.uniform(0, FIRST_WAIT_SEC)
    return min(LONGEST_WAIT_SEC, FIRST_WAIT_SEC * 2.0**attempt) * random.uniform(0.5, 1)


def asked_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds a server asks to wait in ``Retry-After``, a number or a date; None where it does not.

    Example:
        >>> at_noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
        >>> asked_wait({"retry-after": "Thu, 01 Jan 2026 12:00:20 GMT"}, at_noon), asked_wait({"Retry-After": "7"})
        (20.0, 7.0)
    """
    asked = next((value.strip() for name, value in headers.items() if name.lower() == "retry-after"), "")
    if asked.isdecimal():
        return float(asked)
    try:
        date = parsedate_to_datetime(asked)
    except (TypeError, ValueError, IndexError):
        return None
    now = now or datetime.now(timezone.utc)
    return max(0.0, (date.replace(tzinfo=date.tzinfo or timezone.utc) - now).total_seconds())


def status_of(error: BaseException) -> int | None:
    """Return the status of the HTTP answer that an error came from, of S3 or a web server."""
    if answer := answer_of(error):
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return int(status) if status else None
    statuses = (getattr(cause, "status", None) for cause in chain_of(error))
    return next((status for status in statuses if isinstance(status, int)), None)


def code_of(error: BaseException) -> str:
    """Return the code of the error that an S3 store answered with."""
    return str(answer_of(error).get("Error", {}).get("Code", ""))


def _tries(error: BaseException) -> int:
    """Return how often something that fails with this error is tried in all."""
    status = status_of(error)
    if status is not None or answer_of(error):
        return TRIES if status in BUSY or code_of(error) in BUSY_CODES else 1
    names = {type(cause).__name__ for cause in chain_of(error)}
    if any(isinstance(cause, PrivateHostError) for cause in chain_of(error)):
        return 1
    if isinstance(error, (RangesIgnored, NotAStore)) or names & NOT_CONNECTED:
        return FEW_TRIES
    if isinstance(error, UnfitAnswer) or names & (CUT | CLOSED) or _is_timeout(error):
        return TRIES
    return FEW_TRIES if names & (UNREACHABLE | NOT_S3) else 1


def _is_timeout(error: BaseException) -> bool:
    return any("Timeout" in type(cause).__name__ for cause in chain_of(error))


def _headers(error: BaseException) -> Mapping[str, str]:
    """Return those of the HTTP answer that an error came from."""
    headers: Mapping[str, str] = answer_of(error).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers or next(filter(None, (getattr(cause, "headers", None) for cause in chain_of(error))), {})
