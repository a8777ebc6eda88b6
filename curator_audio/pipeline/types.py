"""What a stage class says it takes and gives."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_origin

from curator_audio.stages.base import ProcessingStage
from curator_audio.tasks import Task


def task_types(stage: type[ProcessingStage[Any, Any]]) -> tuple[type[Task], type[Task]]:
    """The input and output task type of a stage, read from ``ProcessingStage[In, Out]``.

    A type left open by the class is ``Task``: it takes or gives anything.

    Example:
        >>> from curator_audio.stages.io import ManifestReaderStage
        >>> [kind.__name__ for kind in task_types(ManifestReaderStage)]
        ['Partition', 'AudioBatch']
    """
    taken, given = _arguments(stage, ()) or (Task, Task)
    return _concrete(taken), _concrete(given)


def _arguments(cls: Any, given: tuple[Any, ...]) -> tuple[Any, Any] | None:
    """The arguments ``cls[given]`` hands up to ``ProcessingStage``."""
    if cls is ProcessingStage:
        return (given[0], given[1]) if len(given) == 2 else (Task, Task)
    bound = dict(zip(getattr(cls, "__parameters__", ()), given))
    bases = cls.__dict__.get("__orig_bases__", cls.__bases__)
    for base in bases:
        origin = get_origin(base) or base
        if isinstance(origin, type) and issubclass(origin, ProcessingStage):
            arguments = tuple(bound.get(argument, argument) for argument in get_args(base))
            return _arguments(origin, arguments)
    return None


def _concrete(argument: Any) -> type[Task]:
    if isinstance(argument, TypeVar):
        return argument.__bound__ or Task
    return argument if isinstance(argument, type) else Task
