"""Pipelines from YAML: finding, composing and checking a configuration, and building what it describes."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curator_audio.errors import ConfigurationError, CuratorError, describe
from curator_audio.executors.base import Executor
from curator_audio.finalizers import PublishToHub
from curator_audio.pipeline.after import AfterStep
from curator_audio.pipeline.overrides import STAGE_KEYS, first_line, quoted, set_values
from curator_audio.pipeline.pipeline import Pipeline
from curator_audio.pipeline.schema import Schema
from curator_audio.pipeline.targets import class_named, nearest, offered, owner_of, parameters_of
from curator_audio.stages.base import ProcessingStage
from curator_audio.stages.resources import Resources

Config = dict[str, Any]

BASE = "run"
"""The file of the options that all pipelines have."""


def pipelines_folder() -> Path:
    """The folder of the pipelines that come with the package, in a wheel or in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "pipelines"
    return installed if installed.is_dir() else package.parent / "pipelines"


def choices(group: str, folder: Path) -> list[str]:
    """What may be chosen of a group: from a folder of pipelines, from the package's, and from installed packages."""
    named = {name for place in (folder, pipelines_folder()) for name in available(place / group)}
    return sorted(named.union(entry.name for entry in offered(group)))


def available(folder: Path) -> list[str]:
    """The names of the pipelines in a folder, or of what a group of them chooses from."""
    return sorted(path.stem for path in folder.glob("*.yaml") if not is_base(path))


def is_base(path: Path) -> bool:
    """Whether a YAML file has run options for pipelines, and is no pipeline itself."""
    return path.stem == BASE and not re.search(r"^stages:", path.read_text(encoding="utf-8"), re.MULTILINE)


def pipelines_in(config_path: str | None, name: str | None = None) -> Path:
    """The folder of pipelines that ``--config-path`` names, that of the package for None.

    Raises:
        ConfigurationError: it is not a folder, or has no pipeline of that name, or that is a path.
    """
    folder = Path(os.path.abspath(os.path.expanduser(config_path))) if config_path else pipelines_folder()
    if not folder.is_dir():
        raise ConfigurationError(f"--config-path {folder} is not a folder; check it")
    if name is not None and "/" in name:
        path, _, name = name.rpartition("/")
        place = os.path.normpath(os.path.join(config_path or "", path or "/"))
        raise ConfigurationError(
            f"--config-name is a name and not a path; write --config-path {place} --config-name {name}"
        )
    if name is not None and (not (folder / f"{name}.yaml").is_file() or is_base(folder / f"{name}.yaml")):
        raise ConfigurationError(f"there is no pipeline '{name}' in {folder}{nearest(name, available(folder))}")
    return folder


def load_config(name: str, config_path: str | None, overrides: Sequence[str]) -> Config:
    """Compose a pipeline's configuration.

    Args:
        name: the YAML file's name without ``.yaml``.
        config_path: the folder it is in, from the current directory; None for the pipelines of the package.
        overrides: ``key=value``, as Hydra writes them.

    Raises:
        ConfigurationError: there is no such pipeline or key, or a value is missing or cannot be read.
    """
    from omegaconf import OmegaConf

    with _explained_errors(name):
        config = composed(name, config_path, overrides)
        if config.get("output_dir", "") is None:
            del config["output_dir"]  # so that what refers to it says that it is missing
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


def composed(name: str, config_path: str | None, overrides: Sequence[str]) -> Any:
    """Compose a configuration, in which values may still be missing or refer to others; see ``load_config``."""
    name = name.removesuffix(".yaml").removesuffix(".yml")
    folder = pipelines_in(config_path, name)
    with _explained_errors(name):
        groups, values = _split(overrides, folder)
        config = _composed(name, folder, groups)
        config.setdefault("name", name)
        set_values(config, values)
        return config


def _composed(name: str, folder: Path, groups: Sequence[str]) -> Any:
    """Compose a pipeline with what it chooses from groups; the run options that it lacks are those of the base."""
    from hydra.errors import ConfigCompositionException
    from omegaconf import DictConfig, OmegaConf

    if folder == pipelines_folder():  # whose pipelines name the base
        return _with_hydra(name, folder, groups)
    executor = [group for group in groups if group.startswith("executor=")]
    try:
        config, to_choose = _with_hydra(name, folder, groups), []
    except ConfigCompositionException as error:
        if not executor or "Could not override 'executor'" not in str(error):
            raise
        config, to_choose = _with_hydra(name, folder, [group for group in groups if group not in executor]), executor
    own = config.get("executor")
    if isinstance(own, str):  # as it would be given in a command
        _check_choice("executor", own, folder)
        to_choose = executor or [f"executor={own}"]
    is_part = own is None or (isinstance(own, DictConfig) and "_target_" not in own)
    if own is None or (to_choose and not is_part):
        config.pop("executor", None)
    base = _with_hydra(BASE, pipelines_folder(), to_choose)
    if "executor" in config and not is_part:
        del base["executor"]  # whose parameters the pipeline's own does not have
    return OmegaConf.merge(base, config)


def _with_hydra(name: str, folder: Path, overrides: Sequence[str]) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    files = {choice for place in (folder, pipelines_folder()) for choice in available(place / "executor")}
    for entry in offered("executor"):
        if entry.name not in files:  # which go before it
            ConfigStore.instance().store(entry.name, {"_target_": entry.name}, "executor")
    search = f"hydra.searchpath=[{quoted('file://' + str(pipelines_folder()))}]"
    with initialize_config_dir(str(folder), version_base=None), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*missing `_self_`")  # which goes last
        config = compose(name, overrides=[search, *overrides])
    OmegaConf.set_struct(config, False)
    return config


@contextmanager
def _explained_errors(name: str) -> Iterator[None]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError) as error:
        raise ConfigurationError(_explained(error, name)) from None
    except RecursionError:
        raise ConfigurationError(
            f"the 'defaults' of pipeline '{name}' lead back to itself; a file {BASE}.yaml beside it stands before the "
            "one with the run options, rename it"
        ) from None


def build_pipeline(config: Config) -> Pipeline:
    """The pipeline a configuration describes.

    Raises:
        ConfigurationError: something in it is not a stage, or has a parameter that does not exist or does not fit.
    """
    stages = config.get("stages")
    if not isinstance(stages, list) or not stages:
        raise ConfigurationError("the configuration has no stages; list them under 'stages:'")
    stages = [_limited(stages[0], config.get("limit")), *stages[1:]]
    built = [_build_stage(f"stages.{index}", node) for index, node in enumerate(stages)]
    steps = config.get("after") or []
    if not isinstance(steps, list):
        raise ConfigurationError(f"after is {steps!r}; give a list of steps")
    after = [_build(f"after.{index}", node, AfterStep) for index, node in enumerate(steps)]
    published = config.get("publish")
    if published is not None and not isinstance(published, dict):
        raise ConfigurationError(f"publish is {published!r}; give publish.repo_id=namespace/name")
    if published:
        step: PublishToHub = _build("publish", {"_target_": _path(PublishToHub), **published}, AfterStep)
        after += [step] if step.repo_id is not None else []
    return Pipeline(str(config.get("name", "pipeline")), built, after)


def _limited(reader: Any, limit: Any) -> Any:
    """The node of a reader with the limit of the run, where its YAML does not pass it on."""
    if limit is None or not isinstance(reader, dict) or reader.get("limit") is not None:
        return reader
    known = parameters_of(reader.get("_target_"), "stages.0")
    if known is not None and "limit" not in known:
        raise ConfigurationError(f"limit is {limit!r}, and {reader.get('_target_')} has none; leave it out")
    return {**reader, "limit": limit}


def build_executor(config: Config) -> Executor:
    """The executor a configuration names."""
    node = config.get("executor")
    if not isinstance(node, dict):
        raise ConfigurationError(f"executor is {node!r}; give one by its name, such as executor=ray_actors")
    executor: Executor = _build("executor", node, Executor)
    return executor


def _build_stage(place: str, node: Any) -> ProcessingStage[Any, Any]:
    common = {key: node[key] for key in STAGE_KEYS if isinstance(node, dict) and node.get(key) is not None}
    if isinstance(node, dict):
        own = parameters_of(node.get("_target_"), place) or ()
        node = {key: value for key, value in node.items() if key not in STAGE_KEYS or key in own}
    stage: ProcessingStage[Any, Any] = _build(place, node, ProcessingStage)
    if "resources" in common:
        resources = common["resources"]
        known = list(Schema.of(Resources).parameters)
        if not isinstance(resources, dict):
            raise ConfigurationError(f"{place}.resources is {resources!r}; give any of {', '.join(known)}")
        for key in resources:
            if key not in known:
                raise ConfigurationError(f"{place}.resources.{key} is not known{nearest(key, known)}")
        try:
            common["resources"] = Resources(**resources)
        except CuratorError as error:
            raise ConfigurationError(f"{place}: {error}") from None
    done: ProcessingStage[Any, Any] = stage.with_(**common)
    return done


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _build(place: str, node: Any, base: type) -> Any:
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        raise ConfigurationError(f"{place} has no _target_; name the class, such as _target_: package.module.Class")
    target = node["_target_"]
    try:
        cls = class_named(target, place)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from None
    is_right = isinstance(cls, type) and issubclass(cls, base)
    if not is_right:
        whose = owner_of(target, place)
        raise ConfigurationError(f"{place}: {target}{whose} is not a subclass of {base.__name__}; check _target_")
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    schema = Schema.of(cls)
    for key in arguments:
        if key not in schema.parameters:
            known = [*schema.parameters, *(STAGE_KEYS if base is ProcessingStage else ())]
            raise ConfigurationError(f"{place}: {cls.__name__} has no parameter '{key}'{nearest(key, known)}")
    missing = [key for key in schema.required if key not in arguments]
    if missing:
        raise ConfigurationError(f"{place}: {cls.__name__} needs '{missing[0]}'; set {place}.{missing[0]}")
    try:
        return cls(**schema.taken(arguments))
    except CuratorError as error:
        raise ConfigurationError(f"{place}: {error}") from None
    except Exception as error:  # the class's own code
        raise ConfigurationError(f"{place}: {cls.__name__} cannot be made: {describe(error)}") from None


def _split(overrides: Sequence[str], folder: Path) -> tuple[list[str], list[str]]:
    """Overrides that choose from a group (``executor=local``), and those that set values."""
    groups: list[str] = []
    values: list[str] = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals and not key.startswith("~"):
            is_pipeline = override in {*available(folder), *available(pipelines_folder())}
            advice = f"--config-name {override}" if is_pipeline else "key=value, options begin with --"
            raise ConfigurationError(f"'{override}' is not an override; write {advice}")
        if key and any((place / key).is_dir() for place in (folder, pipelines_folder())):
            _check_choice(key, value, folder)
            groups.append(override)
        else:
            values.append(override)
    return groups, values


def _check_choice(group: str, choice: str, folder: Path) -> None:
    if choice not in (names := choices(group, folder)):
        raise ConfigurationError(f"{group}={choice}: there is no such {group}{nearest(choice, names)}")


def _explained(error: Exception, name: str) -> str:
    from omegaconf.errors import InterpolationKeyError, InterpolationToMissingValueError, MissingMandatoryValue

    if isinstance(error, (MissingMandatoryValue, InterpolationToMissingValueError)):
        is_direct = isinstance(error, MissingMandatoryValue)
        key = str(error.full_key or "") if is_direct else first_line(error).rpartition(" ")[2]
        return f"{key} is not set; add {key}=… to the command"
    if isinstance(error, InterpolationKeyError) and "'output_dir' not found" in str(error):
        return "output_dir is None; give a folder, as output_dir=… in the command"
    if group := re.match(r"Could not override '(\w+)'\. No match in the defaults list", str(error)):
        return f"pipeline '{name}' has no '{group[1]}' to choose; leave {group[1]}=… out"
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{mark.name}, line {mark.line + 1}: {getattr(error, 'problem', '')}; mend the YAML"
    return f"pipeline '{name}': {first_line(error)}"
