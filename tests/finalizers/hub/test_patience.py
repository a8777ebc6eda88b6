"""Which requests are made again, when, and how often."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from curator_audio.errors import StorageError
from curator_audio.finalizers.hub import patience
from curator_audio.finalizers.hub.patience import asked_wait, patient_session, wait_before
from tests.hub_server import HubServer

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("headers", "wait_sec"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": format_datetime(NOON.replace(minute=2), usegmt=True)}, 120.0),
        ({"retry-after": format_datetime(NOON.replace(hour=11), usegmt=True)}, 0.0),
        ({"ratelimit": '"api";r=0;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'}, 55.0),
        ({"ratelimit": '"api";r=10;t=55'}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_what_a_server_asks_for(headers: dict[str, str], wait_sec: float | None) -> None:
    assert asked_wait(headers, NOON) == wait_sec


def test_waits_grow_up_to_a_bound() -> None:
    for attempt in range(12):
        longest = min(patience.LONGEST_WAIT_SEC, patience.FIRST_WAIT_SEC * 2**attempt)
        waits = [wait_before(attempt, {}) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


def look() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=look.endpoint).dataset_info("me/x")  # type: ignore[attr-defined]


@pytest.fixture
def asked(hub: HubServer) -> HubServer:
    look.endpoint = hub.endpoint  # type: ignore[attr-defined]
    hub.create("me/x")
    return hub


@pytest.mark.parametrize("answer", [429, 500, 503, "drop", "lose"])
def test_a_request_is_made_again(asked: HubServer, answer: int | str) -> None:
    asked.fail("info", answer, times=3)
    with patient_session():
        assert look().id == "me/x"
    assert asked.kinds() == ["info"] * 4


def test_as_late_as_the_server_asks(asked: HubServer) -> None:
    asked.fail("info", 429, Retry_After="1")
    with patient_session():
        look()
    first, second = asked.requests
    assert second.at - first.at >= 1.0


@pytest.mark.parametrize(("answer", "said"), [(503, "answers 503"), ("drop", "cannot be reached")])
def test_tries_have_an_end(asked: HubServer, answer: int | str, said: str) -> None:
    asked.fail("info", answer, times=100)
    with patient_session(), pytest.raises(StorageError, match=f"^{asked.endpoint} {said}.*, 7 times in a row; run the"):
        look()
    assert asked.kinds() == ["info"] * patience.TRIES


def test_nobody_waits_for_hours(asked: HubServer) -> None:
    asked.fail("info", 429, Retry_After="7200")
    with patient_session(), pytest.raises(StorageError, match="asks to wait for 120 minutes; run the same command"):
        look()
    assert asked.kinds() == ["info"]


def test_what_is_refused_is_not_asked_again(asked: HubServer) -> None:
    asked.fail("info", 418)
    with patient_session(), pytest.raises(OSError, match="418"):
        look()
    assert asked.kinds() == ["info"]


def test_the_client_is_as_before_afterwards(asked: HubServer) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled, get_session
    from huggingface_hub.utils import logging as hub_logging

    before = (are_progress_bars_disabled(), hub_logging.get_verbosity(), get_session().request)
    with patient_session():
        assert are_progress_bars_disabled() and get_session().request != before[2]
    assert before == (are_progress_bars_disabled(), hub_logging.get_verbosity(), get_session().request)
