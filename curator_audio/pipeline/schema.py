"""What a class of a configuration takes: its parameters with their types, as its signature tells them."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from curator_audio.errors import ConfigurationError

_SCALARS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", types.NoneType: "null"}
_LISTS = {
    collections.abc.Collection,
    collections.abc.Iterable,
    collections.abc.Sequence,
    frozenset,
    list,
    set,
    tuple,
}
_MAPPINGS = {collections.abc.Mapping, collections.abc.MutableMapping, dict}
_PLURALS = {str: "texts", int: "whole numbers", float: "numbers", dict: "mappings", list: "lists"}


@dataclass(frozen=True)
class Schema:
    """The parameters of a class, by name, and the types of those that tell one.

    What is no plain type (a class of one's own, ``Any``, a ``Callable``) takes every value; the class itself checks it.

    Args:
        parameters: as in the class's signature.
        types: their types; one that cannot be worked out is missing.

    Example:
        >>> from curator_audio.stages.general import SelectFieldsStage
        >>> list(Schema.of(SelectFieldsStage).parameters)
        ['fields']
    """

    parameters: Mapping[str, inspect.Parameter]
    types: Mapping[str, Any]

    @staticmethod
    @cache
    def of(cls: Any) -> Schema:
        """Return the schema of a class.

        Raises:
            TypeError: it is a function, or something else.
        """
        if not isinstance(cls, type):
            raise TypeError(f"{cls!r} is not a class")
        try:
            signature = inspect.signature(cls)
        except ValueError:  # a class of C code
            return Schema({}, {})
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = {name: p for name, p in signature.parameters.items() if p.kind not in kinds}
        found = {name: _type_of(cls, name) for name in parameters}
        return Schema(parameters, {name: kind for name, kind in found.items() if kind is not Any})

    @property
    def required(self) -> list[str]:
        """The parameters that have no default."""
        return [name for name, parameter in self.parameters.items() if parameter.default is parameter.empty]

    def taken(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as the class is given them: JSON in a text is read where a mapping or list is wanted.

        Args:
            arguments: values by the names of parameters, as YAML gives them: scalars, lists, mappings.

        Raises:
            ConfigurationError: the first value that is not of its parameter's type; it says what that takes.

        Example:
            >>> from curator_audio.stages.general import RenameFieldsStage
            >>> Schema.of(RenameFieldsStage).taken({"names": '{"a b": "c"}'})
            {'names': {'a b': 'c'}}
            >>> Schema.of(RenameFieldsStage).taken({"names": ["a"]})
            Traceback (most recent call last):
                ...
            curator_audio.errors.ConfigurationError: names is ['a']; give a mapping of texts to texts such as {a: b}
        """
        taken = {}
        for name, value in arguments.items():
            kind = self.types.get(name, Any)
            read = value if fits(value, kind) else _from_json(value)
            if not fits(read, kind) and not (value is None and self.parameters[name].default is None):
                raise ConfigurationError(f"{name} is {value!r}; give {described(kind)}{_in_quotes(value, kind)}")
            taken[name] = read
        return taken


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value as YAML gives it is of a type; a type that is not plain takes every value.

    Example:
        >>> fits([1, 2.5], list[float]), fits(True, int), fits({"a": None}, dict[str, int | None])
        (True, False, True)
    """
    origin, arguments = _parts(kind)
    if origin is typing.Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is typing.Union:
        return any(fits(value, choice) for choice in arguments)
    if origin in (int, float):
        return isinstance(value, (int, origin)) and not isinstance(value, bool)
    if origin in _SCALARS:
        return isinstance(value, origin)
    if origin in _LISTS:
        return isinstance(value, (list, tuple)) and _items_fit(value, origin, arguments)
    if origin in _MAPPINGS:
        of_key, of_value = arguments or (Any, Any)
        return isinstance(value, dict) and all(fits(k, of_key) and fits(v, of_value) for k, v in value.items())
    return True


def _from_json(value: Any) -> Any:
    """What a text holds that is a mapping or list in JSON, as a variable of the environment may; else the value."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _items_fit(items: list[Any] | tuple[Any, ...], origin: Any, arguments: tuple[Any, ...]) -> bool:
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(items) == len(arguments) and all(fits(item, kind) for item, kind in zip(items, arguments))
    return all(fits(item, arguments[0]) for item in items) if arguments else True


def described(kind: Any) -> str:
    """Return what a type takes, in words.

    Example:
        >>> described(int | None)
        'a whole number, or null'
        >>> described(dict[str, list[float]])
        'a mapping of texts to lists such as {a: [0.5]}'
    """
    origin, arguments = _parts(kind)
    if origin is typing.Literal:
        return "one of " + ", ".join(json.dumps(choice).strip('"') for choice in arguments)
    if origin is typing.Union:
        first, *others = sorted(arguments, key=lambda choice: choice is types.NoneType)  # null goes last
        return ", or ".join(described(choice) for choice in (first, *others))
    if origin in _SCALARS:
        return _SCALARS[origin]
    if origin in _LISTS and (plural := _plural(arguments)):
        return f"a list of {plural} such as {_example(kind)}"
    if origin in _LISTS:
        return "a list such as [a,b]"
    if origin in _MAPPINGS and (plural := _plural(arguments[1:])):
        return f"a mapping of {_plural(arguments)} to {plural} such as {_example(kind)}"
    if origin in _MAPPINGS:
        return "a mapping such as {a: b}"
    return f"a {getattr(kind, '__name__', kind)}"


def _plural(arguments: tuple[Any, ...]) -> str:
    """What a list or mapping holds; nothing where that takes more than a word."""
    origin = _parts(arguments[0])[0] if arguments else Any
    return _PLURALS.get(list if origin in _LISTS else dict if origin in _MAPPINGS else origin, "")


def _example(kind: Any) -> str:
    origin, arguments = _parts(kind)
    if origin in _LISTS:
        return "[a,b]" if not arguments or _parts(arguments[0])[0] is str else f"[{_example(arguments[0])}]"
    if origin in _MAPPINGS:
        return f"{{a: {_example(arguments[1]) if arguments else 'b'}}}"
    return {str: "b", int: "1", float: "0.5"}.get(origin, "…")


def _in_quotes(value: Any, kind: Any) -> str:
    """How to write a text that looks like something else."""
    takes_text = any(part is str for part in _flat(kind))
    for leaf in _leaves(value) if takes_text else ():
        if isinstance(leaf, (bool, int, float)):
            return f"; a text that looks like a number or a word of YAML goes in quotes, as '{leaf}'"
    return ""


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        yield from value
        yield from _leaves(list(value.values()))
    else:
        yield value


def _flat(kind: Any) -> Iterator[Any]:
    yield kind
    for argument in typing.get_args(kind):
        yield from _flat(argument)


def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a type is in the end, and of what: ``(list, (str,))`` for ``list[str]``."""
    while True:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            kind = arguments[0]
        elif isinstance(kind, dataclasses.InitVar):
            kind = kind.type
        elif hasattr(kind, "__supertype__"):  # of NewType
            kind = kind.__supertype__
        else:
            break
    if origin is types.UnionType:
        origin = typing.Union
    return (kind, ()) if origin is None else (origin, arguments)


def _type_of(cls: type, name: str) -> Any:
    """The type of a parameter; ``Any`` where it tells none, or names what only type checkers import.

    A dataclass's field is annotated in the class that has it, which may be of another module than ``cls``.
    """
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    generated = getattr(vars(owner).get("__dataclass_params__"), "init", False)
    holders: Any = owner.__mro__ if generated else [vars(owner)["__init__"]]
    for holder in holders:
        if inspect.isroutine(holder) or inspect.isclass(holder):
            annotation = inspect.get_annotations(holder).get(name)
            if annotation is not None:
                probe = types.SimpleNamespace(__annotations__={name: annotation})
                try:
                    return typing.get_type_hints(probe, vars(sys.modules[holder.__module__]), include_extras=True)[name]
                except Exception:
                    return Any
    return Any
