"""What the executors that run on Ray have in common: their options, and Ray for the length of a run."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar

from curator_audio.errors import ConfigurationError
from curator_audio.executors.base import Executor
from curator_audio.executors.ray_cluster import RayCluster
from curator_audio.pipeline.plan import Capacity


@dataclass
class RayExecutor(Executor):
    """An executor on Ray.

    Args:
        num_workers: workers of each CPU group that asks for no number; None to use the whole cluster.
        ray_address: a running cluster; None starts Ray on this machine and stops it at the end.
        num_cpus: logical CPUs of a Ray started here; None for one a core.
        num_gpus: GPUs of a Ray started here; None for those there are.
    """

    num_workers: int | None = None
    ray_address: str | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None

    def __post_init__(self) -> None:
        for name, kind, least in (("num_workers", int, 1), ("num_cpus", float, 0), ("num_gpus", float, 0)):
            value = getattr(self, name)
            good = isinstance(value, (int, kind)) and not isinstance(value, bool) and least <= value < float("inf")
            if value is not None and not good:
                what = "whole number" if kind is int else "number"
                raise ConfigurationError(f"executor.{name} is {value!r}; give a {what} of at least {least}")
        if not isinstance(self.ray_address, (str, type(None))):
            raise ConfigurationError(f"executor.ray_address is {self.ray_address!r}; give host:port or auto")

    dashboard: ClassVar[bool] = False
    takes_ray_client: ClassVar[bool] = False

    def __enter__(self) -> Executor:
        if (self.ray_address or "").startswith("ray://") and not self.takes_ray_client:
            raise ConfigurationError(
                f"executor={self.name} cannot work through {self.ray_address}; run on a node of the cluster with "
                "ray_address=auto, or with executor=ray_actors"
            )
        self._cluster = RayCluster(self.ray_address, self.num_cpus, self.num_gpus, self.dashboard)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cluster.stop()

    def capacity(self) -> Capacity:
        return self._cluster.capacity()
