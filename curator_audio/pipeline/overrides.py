"""Values given on the command line: ``key=value``, checked against what a pipeline has, and set in it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from curator_audio.errors import ConfigurationError
from curator_audio.pipeline.old_names import check_not_old
from curator_audio.pipeline.targets import kind_of, nearest, parameters_of

STAGE_KEYS = ("name", "resources", "num_workers", "batch_size")
"""What may stand on any stage besides its own parameters."""

FREE = (["storage_options"], ["resources"])
"""Mappings that take keys which are not there; what uses them checks them."""

_REFERENCE = re.compile(r"\$\{(\w+)\}")


def set_values(config: Any, values: Sequence[str]) -> None:
    """Set values in a composed configuration.

    Args:
        config: the configuration, as OmegaConf has it; it is changed.
        values: ``key=value`` as Hydra writes them, where mappings and lists may be JSON.

    Raises:
        ConfigurationError: there is no such key, or a value cannot be read.
    """
    from omegaconf import OmegaConf

    for value in values:
        check_not_old(config, value)
    base = copy.deepcopy(config)  # what the command line may name, whatever it adds or takes out
    for value in values:
        found = _pasted(value)
        if found is None:
            _set(config, _checked(base, value))
        else:
            key = value.partition("=")[0].lstrip("+")
            _exists(base, key, value)
            OmegaConf.update(config, key, found, merge=False, force_add=True)


def _pasted(override: str) -> Any:
    """The mapping or list of an override that is written as JSON, Python or YAML writes it; None where Hydra reads it.

    Hydra's own grammar has no quoted keys, and few letters that are not ASCII.
    """
    key, _, value = override.partition("=")
    if key.startswith("~") or not value.lstrip().startswith(("{", "[")):
        return None
    with suppress(ValueError, RecursionError):
        return json.loads(value)
    return None if _is_read_by_hydra(override) else _from_yaml(value)


def _is_read_by_hydra(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _from_yaml(text: str) -> Any:
    """The mapping or list that a text is in YAML, which reads what Python prints, too; None where it is none.

    ``{a,b}`` is a mapping without values in YAML, and here a pattern of file names.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        found = OmegaConf.to_container(OmegaConf.create(text))
    except (OmegaConfBaseException, YAMLError, ValueError, RecursionError):
        return None
    return None if isinstance(found, dict) and None in found.values() else found


def _checked(base: Any, override: str) -> str:
    """The override, if its key exists; parameters and keys of a mapping may be set although the YAML lists them not."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, _, value = override.partition("=")
    parser = OverridesParser.create()
    is_mapping = False
    try:
        parsed = parser.parse_override(override)
        is_plain = not parsed.is_sweep_override()  # a comma outside of brackets
        is_mapping = is_plain and isinstance(parsed.value(), dict)
    except HydraException:  # a path with characters that Hydra's grammar gives a meaning
        is_plain = False
    if not is_plain:
        override = f"{key}={quoted(value)}"
        try:
            parser.parse_override(override)
        except HydraException as error:
            raise ConfigurationError(f"'{override}' cannot be read: {first_line(error)}") from None
    if key.startswith(("+", "~")):
        return override
    return override if _exists(base, key, override) and not is_mapping else f"++{override}"


def _set(config: Any, override: str) -> None:
    """Set what an override gives, as Hydra would: to compose again takes a hundred times as long."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf, open_dict

    parsed = OverridesParser.create().parse_override(override)
    key = parsed.key_or_group
    if not parsed.is_delete():
        value = parsed.value()
        OmegaConf.update(config, key, value, merge=isinstance(value, dict), force_add=True)
        return
    place, _, name = key.rpartition(".")
    node: Any = OmegaConf.select(config, place) if place else config
    if node is None or name not in node:
        raise ConfigurationError(f"{override}: there is no '{key}' to take out")
    with open_dict(config):
        del node[name]


def _exists(base: Any, key: str, override: str) -> bool:
    from omegaconf import DictConfig, ListConfig

    node, place = base, ""
    steps = key.split(".")
    for depth, step in enumerate(steps):
        if isinstance(node, ListConfig):
            if not step.isdigit() or int(step) >= len(node):
                raise ConfigurationError(f"{override}: '{place}' has the items 0 to {len(node) - 1}, not '{step}'")
            item: Any = node._get_node(int(step))
            if depth + 1 < len(steps) and item._is_interpolation() and (name := _REFERENCE.fullmatch(item._value())):
                instead = ".".join([name[1], *steps[depth + 1 :]])
                raise ConfigurationError(f"{override}: '{place}.{step}' is {item._value()}; set {instead} instead")
            node = node[int(step)]
        elif isinstance(node, DictConfig):
            if step not in node:
                known = _settable(node, place)
                if known is None or step in known or not node or steps[depth - 1 : depth] in FREE:
                    return False
                within = f" in {place}" if place else ""
                if not place and (places := _places_of(base, step)):
                    written = " or ".join(f"{place}.{override}" for place in places)
                    raise ConfigurationError(f"{override}: there is no '{step}' at the top; write {written}")
                raise ConfigurationError(f"{override}: there is no '{step}'{within}{nearest(step, known)}")
            node = node._get_node(step)
            node = None if node is not None and node._is_missing() else _walkable(node)
        elif node is None and depth:
            return False
        else:
            raise ConfigurationError(f"{override}: '{place}' is a value and has no '{step}'")
        place = f"{place}.{step}" if place else step
    return True


def _places_of(base: Any, name: str) -> list[str]:
    """Where a parameter stands that was given without its stage: ``stages.1`` for ``timeline``."""
    from omegaconf import DictConfig

    nodes = {group: base._get_node(group) for group in ("input", "output", "executor") if group in base}
    for group in ("stages", "after"):
        items: Any = base.get(group) or []
        nodes |= {f"{group}.{index}": items._get_node(index) for index in range(len(items))}
    if name in STAGE_KEYS:
        return []
    return [
        place
        for place, node in nodes.items()
        if isinstance(node, DictConfig) and name in (_settable(node, place) or ())
    ]


def _walkable(node: Any) -> Any:
    """A node as it can be walked into; a plain value as itself."""
    from omegaconf import Container

    return node if isinstance(node, Container) else "value"


def _settable(node: Any, place: str) -> list[str] | None:
    """The keys of a node, and the parameters of the class it names; None where that cannot be loaded to be asked."""
    keys = [str(key) for key in node if key != "_target_"]
    target = node.get("_target_")
    if isinstance(target, str):
        parameters = parameters_of(target, place)
        if parameters is None:
            return None
        common = STAGE_KEYS if kind_of(place) == "stage" else ()
        keys += [key for key in (*parameters, *common) if key not in keys]
    return keys


def quoted(value: str) -> str:
    """Return a text as Hydra's grammar quotes it."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return (str(error) or type(error).__name__).splitlines()[0]
