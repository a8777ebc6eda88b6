"""Makes a stage of NeMo Curator's by its dotted name, and calls it as its executors do."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from curator_audio.errors import ConfigurationError, RecordError, describe
from curator_audio.interop.nemo_curator.plain import copied
from curator_audio.modules import hidden, module_named
from curator_audio.report.log import logging_kept
from curator_audio.stages.resources import Resources

MARK = "curator_audio_task"
"""The entry of a task's ``_metadata`` by which what comes of it is told from what comes of others."""

_MISSING = re.compile(r"No module named '([^']+)'")


def curator(module: str) -> Any:
    """Return a module of NeMo Curator's.

    Raises:
        ConfigurationError: it is not installed.
    """
    name = f"nemo_curator.{module}"
    if name in sys.modules and sys.modules[name] is not None:
        return sys.modules[name]
    try:
        with logging_kept():
            return importlib.import_module(name)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        why = f"{missing}, which is not installed" if missing else f"what cannot be imported: {error}"
        raise ConfigurationError(f"stages of NeMo Curator need {why}; pip install 'curator-audio[nemo]'") from None


def made(name: str, parameters: Mapping[str, Any]) -> Any:
    """Return a stage, made of its class and parameters.

    Args:
        name: the dotted name of its class.
        parameters: of the class; ``batch_size`` besides, the records that its ``process_batch`` is given at once.

    Raises:
        ConfigurationError: there is no such class, it does not work on audio tasks, or it refuses its parameters.
    """
    cls = _class_of(name)
    _check_kind(cls)
    known, takes_any = _parameters(cls)
    given = {key: copied(value) for key, value in parameters.items()}
    batch_size = given.pop("batch_size", None) if "batch_size" not in known else None
    if "resources" in given:
        raise ConfigurationError("parameters has 'resources'; give them beside 'stage', as of any stage")
    for key in given:
        if key not in known and not takes_any:
            raise ConfigurationError(f"{cls.__name__} has no parameter '{key}'{_nearest(key, [*known, 'batch_size'])}")
    missing = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in given]
    if missing:
        raise ConfigurationError(f"{cls.__name__} needs '{missing[0]}'; give it in parameters")
    try:
        stage = cls(**given)
        stage = stage if batch_size is None else stage.with_(batch_size=batch_size)
    except Exception as error:  # the class's own code
        raise ConfigurationError(f"{cls.__name__} refuses its parameters: {describe(error)}") from None
    size = stage.batch_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ConfigurationError(f"batch_size of {cls.__name__} is {size!r}; give a whole number of at least 1")
    return stage


def _class_of(name: Any) -> Any:
    base = curator("stages.base").ProcessingStage
    module_name, _, attribute = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if not module_name:
        raise ConfigurationError(
            f"stage is {name!r}; give the dotted name of a class, such as "
            "nemo_curator.stages.audio.common.GetAudioDurationStage"
        )
    try:
        module = module_named(module_name)
        found = getattr(module, attribute, None)  # which may import more
    except ImportError as error:
        missing = _MISSING.search(str(error))
        if missing and not f"{module_name}.".startswith(f"{missing[1]}."):
            raise ConfigurationError(
                f"'{name}' needs {missing[1].partition('.')[0]}, which is not installed; install its package"
            ) from None
        raise ConfigurationError(f"'{name}' cannot be imported: {error}; check the name") from None
    except Exception as error:  # the module's own code
        raise ConfigurationError(f"'{name}' cannot be imported: {describe(error)}") from None
    if found is None:
        near = _nearest(attribute, dir(module)) or hidden(module_name) or "; check the name"
        raise ConfigurationError(f"there is no '{attribute}' in {module_name}{near}")
    if not isinstance(found, type) or not issubclass(found, base):
        raise ConfigurationError(f"'{name}' is no subclass of NeMo Curator's ProcessingStage; check the name")
    return found


def _check_kind(cls: Any) -> None:
    if issubclass(cls, curator("stages.base").CompositeStage):
        raise ConfigurationError(
            f"{cls.__name__} is a composite of several stages; give each of them a CuratorStage of its own"
        )
    if inspect.isabstract(cls):
        raise ConfigurationError(f"{cls.__name__} is abstract; name a class that is made from it")
    audio = curator("tasks").AudioTask
    for what, kind in zip(("takes", "gives"), _task_types(cls)):
        if not (issubclass(kind, audio) or issubclass(audio, kind)):
            raise ConfigurationError(
                f"{cls.__name__} {what} {kind.__name__}; only stages from AudioTask to AudioTask run"
            )


def _task_types(cls: Any) -> tuple[Any, ...]:
    """The types of tasks that a class says it takes and gives; nothing where it does not say."""
    base = curator("stages.base").ProcessingStage
    for kind in cls.__mro__:
        for written in kind.__dict__.get("__orig_bases__", ()):
            origin, arguments = get_origin(written), get_args(written)
            if isinstance(origin, type) and issubclass(origin, base) and all(isinstance(a, type) for a in arguments):
                return arguments if len(arguments) == 2 else ()
    return ()


def _parameters(cls: Any) -> tuple[dict[str, inspect.Parameter], bool]:
    """The parameters of a class, and whether it takes any other."""
    if cls.__init__ is object.__init__:
        return {}, False
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [one for one in known if not one.startswith("_")], 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def resources_of(theirs: Any) -> Resources:
    """Return what a worker of a stage needs."""
    asked = theirs.resources
    memory = asked.gpu_memory_gb
    return Resources(cpus=asked.cpus, gpus=0 if memory else asked.gpus, gpu_memory_gb=memory)


def give_resources(theirs: Any, resources: Resources) -> None:
    """Tell a stage what its worker has: it chooses its device by that."""
    if resources != resources_of(theirs):
        share = {"gpu_memory_gb": resources.gpu_memory_gb} if resources.gpu_memory_gb else {"gpus": resources.gpus}
        theirs.resources = type(theirs.resources)(cpus=resources.cpus, **share)


def batches(theirs: Any) -> bool:
    """Return whether a stage works on several tasks at once."""
    return type(theirs).process_batch is not curator("stages.base").ProcessingStage.process_batch


def fields_read(theirs: Any) -> list[str]:
    """Return the fields that a stage says it needs of an audio task."""
    specification = theirs.inputs()
    if isinstance(specification, dict):
        audio = curator("tasks").AudioTask
        found = (specification[kind] for kind in audio.__mro__ if kind in specification)
        specification = next(found, ([], []))
    return list(specification[1])


def results_of(theirs: Any, tasks: Sequence[Any]) -> list[list[dict[str, Any]]]:
    """Return the data of the tasks that a stage makes of each of some tasks; nothing of those it drops.

    Args:
        theirs: the stage.
        tasks: several only where it works on several at once; each has a number of its own in ``_metadata``.

    Raises:
        RecordError: it does not take a task, or says that it failed.
        ConfigurationError: it gives something else, or it cannot be told which task a result is of.
    """
    if batches(theirs):
        given = _listed(theirs.process_batch(list(tasks)))
    else:
        if not theirs.validate_input(tasks[0]):
            raise RecordError("refused_by_stage", f"{type(theirs).__name__} does not take the record: {_needs(theirs)}")
        given = _listed(theirs.process(tasks[0]))
    told_apart = _told_apart(theirs, tasks, given)
    return [[_data_of(theirs, result) for result in results if not _is_dropped(result)] for results in told_apart]


def _told_apart(theirs: Any, tasks: Sequence[Any], results: list[Any]) -> list[list[Any]]:
    """The results of each task: told by what they carry, else by the task itself, else by their order."""
    places = {task._metadata.get(MARK): place for place, task in enumerate(tasks)}
    same = {id(task): place for place, task in enumerate(tasks)}
    found: list[list[Any]] = [[] for _ in tasks]
    num_unknown = 0
    for result in results:
        mark = getattr(result, "_metadata", {}).get(MARK)
        if mark is not None and mark not in places:
            raise ConfigurationError(
                f"{type(theirs).__name__} gave a task that it was given earlier; stages that gather tasks over several "
                "calls cannot run here"
            )
        place = same.get(id(result)) if mark is None else places[mark]
        if place is not None:
            found[place].append(result)
        num_unknown += place is None and result is not None
    if not num_unknown:
        return found
    if len(tasks) == 1:
        return [results]
    if len(results) == len(tasks):
        return [[result] for result in results]
    raise ConfigurationError(
        f"process_batch of {type(theirs).__name__} made {len(results)} tasks of {len(tasks)}, and does not tell which "
        "of which; add batch_size: 1 to its parameters"
    )


def _listed(result: Any) -> list[Any]:
    if result is None:
        return []
    return list(result) if isinstance(result, (list, tuple, Iterator)) else [result]


def _is_dropped(result: Any) -> bool:
    return result is None or isinstance(result, curator("tasks").NoneTask)


def _data_of(theirs: Any, result: Any) -> dict[str, Any]:
    if isinstance(result, curator("tasks").FailedTask):
        raise RecordError("failed_in_stage", f"{type(theirs).__name__} gave a FailedTask for the record")
    data = getattr(result, "data", None)
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{type(theirs).__name__} gave a {type(result).__name__}; only stages from AudioTask to AudioTask run"
        )
    metadata = {key: value for key, value in result._metadata.items() if key != MARK}
    return {**data, **({"_metadata": metadata} if metadata else {})}


def _needs(theirs: Any) -> str:
    names = ", ".join(fields_read(theirs))
    return f"it needs {names}" if names else "its log tells what it needs"


def is_device_failure(error: BaseException) -> bool:
    """Return whether an error of torch's leaves the device unusable, or full: the next records would meet it, too."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "AcceleratorError"}) or "CUDA error" in str(error)
