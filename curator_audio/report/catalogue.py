"""List the pipelines and their parameters, from their YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from curator_audio.pipeline.config import BASE, available
from curator_audio.pipeline.targets import offered, package_of

_COMMENT = re.compile(r"\s#\s?(.*)$")
_GROUP = re.compile(r"\$\{(\w+)\}")
REQUIRED = "???"

Row = tuple[str, str, str]
"""Name, default and meaning of a parameter."""


def pipeline_list(folder: Path) -> str:
    """Return a line for each pipeline of a folder, with its purpose.

    Args:
        folder: the folder of YAML files.
    """
    files = [folder / f"{name}.yaml" for name in available(folder)]
    width = max((len(file.stem) for file in files), default=0) + 2
    return "\n".join(f"{file.stem:{width}}{_purpose(file.read_text(encoding='utf-8'))}" for file in files)


def offer_list() -> str:
    """What installed packages add, a line each, with what it is written as and its package; empty where nothing is."""
    written = {"executor": "executor={}", "stage": "_target_: {}"}
    lines = [(written[kind].format(entry.name), package_of(entry)) for kind in written for entry in offered(kind)]
    width = max((len(name) for name, _ in lines), default=0) + 2
    return "\n".join(f"{name:{width}}of {package}" for name, package in lines)


def parameter_list(folder: Path, name: str, groups_folder: Path) -> str:
    """Return the purpose of a pipeline, and every parameter with its default and its meaning.

    Args:
        folder: the folder of the pipeline's YAML file.
        name: the file's name without its ending.
        groups_folder: the folder with the choices of ``input=``, ``output=`` and ``executor=``.
    """
    text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
    rows = _with_run_options(list(_parameters(text, groups_folder)), groups_folder)
    names, defaults = (min(44, max(len(row[column]) for row in rows)) for column in (0, 1))
    lines = [f"{key:{names}}  {default:{defaults}}  {meaning}".rstrip() for key, default, meaning in rows]
    return "\n".join([f"{name}: {_purpose(text)}", "", *lines])


def _purpose(text: str) -> str:
    """Return the beginning of a file's comment, up to its first full stop, colon or semicolon."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("# "):
            break
        lines.append(line[2:])
    return re.split(r"[.:;](?:\s|$)", " ".join(lines), maxsplit=1)[0]


def _with_run_options(rows: list[Row], groups_folder: Path) -> list[Row]:
    """Put the run options, as the pipeline or their file has them, before the parameters of its stages."""
    # What the pipeline sets of a group's parameters stands behind the group, and goes before it.
    own = {row[0]: row for row in rows}
    base = groups_folder / f"{BASE}.yaml"
    options = list(_parameters(base.read_text(encoding="utf-8"), groups_folder)) if base.is_file() else []
    if "executor" in own:
        others = [row for row in options if row[0].partition(".")[0] != "executor"]
        options = [row for row in own.values() if row[0].partition(".")[0] == "executor"] + others
    told = {row[0] for row in options}
    left = [row for row in own.values() if row[0] not in told]
    first = next((at for at, row in enumerate(left) if row[0].startswith(("stages.", "after."))), len(left))
    rows = left[:first] + [own.get(row[0], row) for row in options] + left[first:]
    return [row for row in rows if "." not in row[0] or not _GROUP.fullmatch(row[1])]  # else one above has the value


def _parameters(text: str, groups_folder: Path) -> Iterator[Row]:
    root = yaml.compose(text)
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "defaults":
            for group, choice, meaning in _choices(value, text, groups_folder):
                yield group, choice, meaning
                yield from _of_file(group, groups_folder / group / f"{choice}.yaml")
        elif key.value in ("stages", "after"):
            for index, stage in enumerate(value.value):
                yield from _of_mapping(f"{key.value}.{index}", stage, text)
        elif key.value != "name":
            yield from _of_value(key.value, value, text)


def _choices(defaults: yaml.Node, text: str, groups_folder: Path) -> Iterator[Row]:
    for item in defaults.value:
        for key, value in item.value if isinstance(item, yaml.MappingNode) else ():
            group = key.value.removeprefix("override ")
            meaning = _meaning(value, text) or ", ".join(available(groups_folder / group))
            others = "".join(f"; {entry.name}, of {package_of(entry)}" for entry in offered(group))
            yield group, value.value, meaning + others


def _of_file(place: str, file: Path) -> Iterator[Row]:
    """Yield the parameters of the file that a group's default chooses."""
    if file.is_file():
        text = file.read_text(encoding="utf-8")
        yield from _of_mapping(place, yaml.compose(text), text)


def _of_mapping(place: str, node: yaml.Node | None, text: str) -> Iterator[Row]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value not in ("_target_", "name"):
            yield from _of_value(f"{place}.{key.value}", value, text)


def _of_value(place: str, value: yaml.Node, text: str) -> Iterator[Row]:
    if isinstance(value, yaml.MappingNode) and not value.flow_style:
        yield from _of_mapping(place, value, text)
    else:
        default = "(must be given)" if value.value == REQUIRED else text[value.start_mark.index : value.end_mark.index]
        yield place, default.strip(), _meaning(value, text)


def _meaning(value: yaml.Node, text: str) -> str:
    """Return the comment behind a value."""
    found = _COMMENT.search(text.splitlines()[value.end_mark.line - (value.end_mark.column == 0)])
    return found[1] if found else ""
