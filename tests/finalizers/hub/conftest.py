"""A Hub, and what the client in this process needs to use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curator_audio.finalizers.hub import patience
from tests.extras import needs
from tests.hub_server import TOKEN, HubServer, serving_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """An empty Hub that the client in this process talks to, with a valid token, and without long waits."""
    constants = needs("huggingface_hub.constants")
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(patience, "FIRST_WAIT_SEC", 0.01)
        yield server
