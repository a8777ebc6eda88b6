"""Connecting to a Ray cluster, or starting Ray on this machine and stopping it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from loguru import logger

from curator_audio.errors import ConfigurationError, CuratorError
from curator_audio.executors.base import machine_capacity
from curator_audio.pipeline.plan import Capacity

MIN_OBJECT_STORE_BYTES = 80 * 10**6  # Ray refuses less
PATIENCE_SEC = 120
"""How long Ray's first process may take to be up; by itself Ray waits for 30 s."""


class RayCluster:
    """Ray for the length of a run.

    Args:
        address: a running cluster (``auto``, ``ray://host:10001``, ``host:6379``); None starts Ray here.
        num_cpus: logical CPUs of a Ray started here; None for one a core, more where the plan needs them.
        num_gpus: GPUs of a Ray started here; None for those there are.
        dashboard: whether a Ray started here has its dashboard.
    """

    def __init__(
        self,
        address: str | None,
        num_cpus: float | None = None,
        num_gpus: float | None = None,
        dashboard: bool = False,
    ) -> None:
        self._address = address
        self._num_cpus = num_cpus
        self._num_gpus = num_gpus
        self._dashboard = dashboard
        self._started = False

    def capacity(self) -> Capacity:
        """What the cluster has; connects only where there is one to connect to."""
        if self._address is None and not _is_connected():
            here = machine_capacity(self._num_gpus)
            if self._num_cpus is None:
                return here
            return Capacity(self._num_cpus, here.gpus, here.gpu_memory_gb, here.memory_gb)
        self.start()
        import ray

        there = ray.cluster_resources()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return Capacity(
            cpus=there.get("CPU", 0.0),
            gpus=there.get("GPU", 0.0),
            gpu_memory_gb=machine_capacity().gpu_memory_gb,
            memory_gb=max((node.get("memory", 0.0) for node in nodes), default=0.0) / 1e9,
            cpus_per_node=max((node.get("CPU", 0.0) for node in nodes), default=0.0),
        )

    def start(self, num_cpus: float = 0.0, scratch_budget_gb: float | None = None) -> None:
        """Connect, or start Ray with at least ``num_cpus`` logical CPUs; nothing if that is done.

        Args:
            num_cpus: how many there are to be at least.
            scratch_budget_gb: how much of the disk Ray may use in GB, where it has too little shared memory.

        Raises:
            ConfigurationError: the cluster cannot be reached.
            CuratorError: this machine is too busy for Ray to start.
        """
        # Ray shows one of the lines that differ in numbers only: of warnings, all recordings are to be named.
        os.environ.setdefault("RAY_DEDUP_LOGS_ALLOW_REGEX", "^WARNING: ")
        if _is_connected():
            return
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if self._address is None:
            here = self.capacity()
            arguments: dict[str, Any] = {
                "num_cpus": max(1, here.cpus, -(-num_cpus // 1)),
                "num_gpus": here.gpus,
                "include_dashboard": self._dashboard,
            }
            if scratch_budget_gb is not None and not _has_shared_memory():
                arguments["object_store_memory"] = max(MIN_OBJECT_STORE_BYTES, int(scratch_budget_gb * 1e9))
            start_ray_here(**arguments)
        else:
            _connect(self._address)
        self._started = True

    def object_store_bytes(self, scratch_budget_gb: float | None) -> float:
        """How much may be on its way between workers before Ray would write more to the disk than it may."""
        import ray

        there: float = ray.cluster_resources().get("object_store_memory", 0.0)
        spilled = (scratch_budget_gb or 0.0) * 1e9 if _has_shared_memory() else 0.0
        return 0.7 * (there + spilled)  # Ray begins to write to the disk before it is full

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Name this Ray in the environment, for libraries that look for one themselves."""
        import ray

        before = os.environ.get("RAY_ADDRESS")
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        try:
            yield
        finally:
            del os.environ["RAY_ADDRESS"]
            if before is not None:
                os.environ["RAY_ADDRESS"] = before

    @property
    def is_own(self) -> bool:
        """Whether it was started here: not one that was there, whose processes belong to others."""
        return self._started and self._address is None

    def stop(self) -> None:
        """Disconnect, and stop Ray if it was started here."""
        if self._started:
            _shut_down()
            self._started = False


def _job_config() -> Any:
    """A job whose workers find modules as this process does.

    Ray would put the current folder, and that of the script, in front of all that is installed: a file ``av.py`` there
    would be run. A worker is told of the folders of this process when it is made, and puts them behind.
    """
    from ray.job_config import JobConfig

    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    is_found = any(os.path.abspath(folder) == os.path.dirname(package) for folder in sys.path)
    config = JobConfig()
    # A checkout that is not installed has to be found before anything can be told.
    config._py_driver_sys_path = _Fixed([] if is_found or _is_installed() else [os.path.dirname(package)])
    return config


class _Fixed(list[str]):
    """A list that does not grow."""

    def extend(self, _: Any) -> None:
        """Leave it as it is."""


def _is_installed() -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("curator-audio")
    except PackageNotFoundError:
        return False
    return True


def start_ray_here(**arguments: Any) -> None:
    """Start Ray on this machine; try once more where the machine is too busy for Ray to be up in time.

    Args:
        arguments: those of ``ray.init``.

    Raises:
        CuratorError: Ray was not up in time twice.
    """
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", str(PATIENCE_SEC))
    try:
        _init(address="local", **arguments)  # never some other Ray that happens to run here
    except Exception as error:
        if not _is_late(error):
            raise
        logger.warning("Ray was not up in time, as on a busy machine; it is started once more")
        _shut_down()
        try:
            _init(address="local", **arguments)
        except Exception as again:
            if not _is_late(again):
                raise
            raise CuratorError(
                f"Ray was not up in time, twice ({cause_of(again)}); run again when this machine is less busy, "
                "or with executor=local"
            ) from again


def _is_late(error: Exception) -> bool:
    return re.search("timed? ?out", str(error), re.IGNORECASE) is not None


def _connect(address: str) -> None:
    _check_reachable(address)
    try:
        _init(address=address)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise _unreachable(address, error) from None


def _init(**arguments: Any) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if not arguments["address"].startswith("ray://"):  # through which Ray adds nothing
        arguments["job_config"] = _job_config()
    with _own_signal_handlers():
        ray.init(**{"logging_level": logging.ERROR, "log_to_driver": True, **arguments})


def _shut_down() -> None:
    import ray

    with _own_signal_handlers():
        ray.shutdown()


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Keep our answer to SIGTERM: Ray's own ends the process while Ray starts, and none is left when it has stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as end:
        if end.code == signal.SIGTERM:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_reachable(address: str) -> None:
    """Ray itself would wait for minutes for an address that nobody answers at."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise _unreachable(address, error) from None


def _unreachable(address: str, error: Exception) -> ConfigurationError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return ConfigurationError(
        f"cannot connect to the Ray cluster at ray_address={address}: {reason}; "
        "check the address (and RAY_AUTH_MODE, if the cluster asks for a token), or leave it out to run on this machine"
    )


def cause_of(error: BaseException) -> str:
    """The line of an engine's error that names what happened in the worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def engine_errors(engine: str) -> Iterator[None]:
    """Turn what an engine raises, many lines long, into the one that says what happened."""
    try:
        yield
    except (CuratorError, GeneratorExit, KeyboardInterrupt):
        raise
    except Exception as error:
        raise CuratorError(f"{engine} stopped: {cause_of(error)}") from error


def _has_shared_memory() -> bool:
    """Whether Ray's object store lies in memory: without (a small ``--shm-size`` of Docker) it lies on the disk."""
    with contextlib.suppress(OSError):
        there = os.statvfs("/dev/shm")
        return there.f_bavail * there.f_frsize >= 4 * MIN_OBJECT_STORE_BYTES
    return False


def _is_connected() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())
