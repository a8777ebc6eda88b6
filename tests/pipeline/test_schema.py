"""What a class's signature says of its parameters, and what is said of values that do not fit."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.pipeline.config import build_pipeline, load_config
from curator_audio.pipeline.schema import Schema, described, fits

if typing.TYPE_CHECKING:
    from decimal import Decimal  # as one imports what is needed for types only

Hertz = NewType("Hertz", int)


@pytest.mark.parametrize(
    ("kind", "taken", "refused", "words"),
    [
        (int, [3, -1], [3.0, "3", True, None, [3]], "a whole number"),
        (float, [3, 0.5], ["0.5", True, None], "a number"),
        (bool, [True], [1, "true", None], "true or false"),
        (str, ["", "a"], [5, ["a"], None], "a text"),
        (int | None, [3, None], ["x"], "a whole number, or null"),
        (Literal["mix", "left"] | None, ["mix", None], ["right", 1], "one of mix, left, or null"),
        (Literal[1, True, "a"], [1, True, "a"], [1.0, False, "true"], "one of 1, true, a"),
        (str | int, ["mix", 0], [0.5, None], "a text, or a whole number"),
        (list, [[], [1, "a"]], ["ab", {}], "a list such as [a,b]"),
        (list[str], [[], ["a"]], ["a", [1], {"a": 1}], "a list of texts such as [a,b]"),
        (Sequence[float], [[1, 2.5]], ["ab", [None]], "a list of numbers such as [0.5]"),
        (tuple[int, str], [[1, "a"]], [["a", 1], [1]], "a list of whole numbers such as [1]"),
        (tuple[int, ...], [[], [1, 2]], [["a"]], "a list of whole numbers such as [1]"),
        (dict, [{}, {1: "a"}], [[]], "a mapping such as {a: b}"),
        (Mapping[str, str], [{"a": "b"}], [{"a": 1}, {1: "b"}, "a"], "a mapping of texts to texts such as {a: b}"),
        (
            dict[str, list[int]],
            [{"a": [1]}, {"a": []}],
            [{"a": 1}, {"a": ["b"]}],
            "a mapping of texts to lists such as {a: [1]}",
        ),
        (list[dict[str, Any]], [[{"a": [1]}]], [[1]], "a list of mappings such as [{a: …}]"),
        (Annotated[int, "Hz"], [3], ["x"], "a whole number"),
        (Hertz, [3], ["x"], "a whole number"),
        (Any, [3, None, "x"], [], None),
        (Path, ["x", 3], [], None),
        (Callable[[int], int] | None, ["a.b", None], [], None),
    ],
)
def test_types(kind: Any, taken: list[Any], refused: list[Any], words: str | None) -> None:
    assert all(fits(value, kind) for value in taken)
    assert not any(fits(value, kind) for value in refused)
    assert words is None or described(kind) == words


class Plain:
    """Not a dataclass, and with a parameter that no type checker would pass."""

    def __init__(self, size: int, name: str = None, *names: str, **more: Any) -> None:  # type: ignore[assignment]  # noqa: RUF013
        self.size, self.name = size, name


@dataclass
class Parent:
    """Annotated with what this module imports."""

    hertz: Hertz = Hertz(16000)
    unknown: Decimal | None = None
    kinds: list[str] = field(default_factory=list)
    half: InitVar[float] = 0.5
    not_given: int = field(default=1, init=False)


Child = dataclass(type("Child", (Parent,), {"__annotations__": {"more": "bool"}, "__module__": "json", "more": True}))


def taken(cls: Any, **arguments: Any) -> str:
    """What is said of the arguments; nothing where they are taken."""
    try:
        assert Schema.of(cls).taken(arguments) == arguments
    except ConfigurationError as error:
        return str(error)
    return ""


def test_signatures_of_all_kinds_of_classes() -> None:
    assert list(Schema.of(Plain).parameters) == ["size", "name"]
    assert Schema.of(Plain).required == ["size"]
    assert taken(Plain, size=3, name=None) == ""
    assert taken(Plain, size="3") == "size is '3'; give a whole number"
    assert list(Schema.of(Child).parameters) == ["hertz", "unknown", "kinds", "half", "more"]
    assert taken(Child, hertz="16k") == "hertz is '16k'; give a whole number"
    assert taken(Child, half=[]) == "half is []; give a number"
    assert taken(Child, more=0) == "more is 0; give true or false"
    assert taken(Child, unknown="1.5") == ""  # what its type is, is not known while it runs
    assert Schema.of(int).parameters == {}


def test_what_looks_like_a_number_goes_in_quotes() -> None:
    assert taken(Parent, kinds=["a", 2020]) == (
        "kinds is ['a', 2020]; give a list of texts such as [a,b]; "
        "a text that looks like a number or a word of YAML goes in quotes, as '2020'"
    )


def test_json_in_a_text_is_read_where_no_text_is_wanted() -> None:
    assert Schema.of(Parent).taken({"kinds": '["a b", "ç"]'}) == {"kinds": ["a b", "ç"]}
    assert taken(Parent, kinds='["a') == """kinds is '["a'; give a list of texts such as [a,b]"""
    assert taken(Plain, size=1, name='["a"]') == ""


STAGE = """
from dataclasses import dataclass, field
from curator_audio.stages.record_stage import RecordStage

@dataclass
class Mine(RecordStage):
    sample_rate: int = 16000
    names: dict[str, list[str]] = field(default_factory=dict)
    made = []

    def __post_init__(self):
        Mine.made.append(self.sample_rate)

    def process_record(self, record):
        return record
"""


def test_a_stage_of_ones_own_is_checked_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stage_with_types.py").write_text(STAGE)
    (tmp_path / "mine.yaml").write_text("stages: [{_target_: stage_with_types.Mine}]\n")
    monkeypatch.syspath_prepend(tmp_path)

    def built(override: str) -> Any:
        return build_pipeline(load_config("mine", str(tmp_path), [override])).stages[0]

    made = built("stages.0.sample_rate=8000").made
    assert made == [8000]
    for override, expected in (
        ("stages.0.sample_rate=abc", "stages.0: sample_rate is 'abc'; give a whole number"),
        ("stages.0.names=[a]", "stages.0: names is ['a']; give a mapping of texts to lists such as {a: [a,b]}"),
        ("stages.0.names.a=b", "stages.0: names is {'a': 'b'}; give a mapping of texts to lists such as {a: [a,b]}"),
    ):
        with pytest.raises(ConfigurationError) as error:
            built(override)
        assert str(error.value) == expected
    assert made == [8000]
    assert built('stages.0.names={"a b": ["ç", "d e"]}').names == {"a b": ["ç", "d e"]}
