"""What the tests share: entries to process, one Ray for the session, an S3 server."""

from __future__ import annotations

import json
import random
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from loguru import logger

from curator_audio.executors.ray_cluster import RayCluster
from tests.processes import REPOSITORY, run_python
from tests.storage.servers import serving_moto

settings.register_profile("on_any_machine", deadline=None)  # no test is to fail because a machine is busy
settings.load_profile("on_any_machine")


def make_entry(seed: int, num_segments: int = 30) -> dict[str, Any]:
    """A conversation of a few minutes: two to four speakers taking turns."""
    rng = random.Random(seed)
    segments = []
    time_sec = 0.0
    for _ in range(num_segments):
        start = time_sec + rng.choice([0.2, 0.5, 1.0])
        time_sec = round(start + rng.uniform(2.0, 9.0), 2)
        segments.append(
            {
                "start": round(start, 2),
                "end": time_sec,
                "speaker": f"speaker_{rng.randrange(2 + seed % 3)}",
                "text": f"segment of conversation {seed} — naïve",
                "metrics": {"bandwidth": rng.choice([8000, 8000, 8000, 12000, 4000])},
            }
        )
    return {"audio_filepath": f"audio/{seed:04d}.wav", "audio_sample_rate": 16000, "segments": segments}


@pytest.fixture
def entries() -> list[dict[str, Any]]:
    return [make_entry(seed) for seed in range(40)]


@pytest.fixture
def manifest(tmp_path: Path, entries: list[dict[str, Any]]) -> Path:
    """A manifest of 40 conversations, about 160 kB."""
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")
    return path


def run_cli(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user would."""
    return run_python(REPOSITORY / "main.py", *arguments, env=env)


@pytest.fixture(name="run_cli")
def run_cli_fixture() -> Any:
    return run_cli


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """What is warned of while a test runs."""
    messages: list[str] = []
    sink = logger.add(lambda message: messages.append(message.record["message"]), level="WARNING")
    yield messages
    logger.remove(sink)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """One Ray for all tests: a cluster of one node with four logical CPUs, to which a test may add another."""
    from ray.cluster_utils import Cluster

    # A node that is gone is missed after a second, and not after fifteen.
    noticing = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 200}
    head = {"num_cpus": 4, "num_gpus": 0, "include_dashboard": False, "_system_config": noticing}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="session")
def ray_session(ray_cluster: Any) -> Iterator[None]:
    """Have this process connected to the Ray for all tests; executors find it running and leave it running."""
    connected = RayCluster(ray_cluster.address)
    connected.start()
    yield
    connected.stop()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is hardly a pause between two tries, of a request or a partition, nor before a dead run's lock is taken."""
    monkeypatch.setattr("curator_audio.storage.patience.FIRST_WAIT_SEC", 0.002)
    monkeypatch.setattr("curator_audio.executors.base.RETRY_PAUSES_SEC", (0.0, 0.0))
    monkeypatch.setattr("curator_audio.storage.lock.SETTLE_SEC", 0.0)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A moto server over loopback HTTP, started for the session."""
    with serving_moto() as endpoint:
        yield endpoint


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """``s3://`` and a new, empty bucket; endpoint and credentials stand in the environment."""
    monkeypatch.setenv("S3_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("S3_ACCESS_KEY", "test-access-key")
    monkeypatch.setenv("S3_SECRET_KEY", "test-secret-key")
    # moto says of all uploads that they were begun in 2010
    monkeypatch.setattr("curator_audio.storage.s3_filesystem.STALE_AFTER", timedelta(days=365 * 100))
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_endpoint}/{name}", method="PUT")).close()
    return f"s3://{name}"
