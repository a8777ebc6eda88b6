"""What one worker of a stage asks of the cluster."""

from __future__ import annotations

from dataclasses import dataclass

from curator_audio.errors import ConfigurationError


@dataclass(frozen=True)
class Resources:
    """What one worker needs; neighbouring stages that need the same run in one worker.

    Args:
        cpus: CPU cores, fractions allowed.
        gpus: GPUs, fractions allowed (two workers of 0.5 share one).
        gpu_memory_gb: instead of ``gpus``: GPU memory in GB, turned into a fraction of a GPU by the planner.
        memory_gb: main memory in GB, for stages that hold a lot.

    Raises:
        ConfigurationError: a negative amount, or both ``gpus`` and ``gpu_memory_gb``.

    Example:
        >>> Resources(cpus=0.5, gpus=1).gpus
        1
    """

    cpus: float = 1.0
    gpus: float = 0.0
    gpu_memory_gb: float = 0.0
    memory_gb: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus", "gpu_memory_gb", "memory_gb"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise ConfigurationError(f"resources.{name} is {value!r}; give a number of at least 0")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ConfigurationError(f"resources.gpus is {self.gpus}; give a whole number, or a fraction of one GPU")
        if self.gpus and self.gpu_memory_gb:
            raise ConfigurationError("resources has both gpus and gpu_memory_gb; give one of them")

    @property
    def wants_gpu(self) -> bool:
        return self.gpus > 0 or self.gpu_memory_gb > 0
