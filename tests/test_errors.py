"""The tree of errors at the top of ``errors.py`` is the one in the code."""

from __future__ import annotations

import re

import curator_audio
from curator_audio import errors

LINE = re.compile(r"^    ([│├└─ ]*)(\w+Error) +([12–])   \S", re.MULTILINE)


def test_the_tree_is_the_code() -> None:
    drawn: dict[str, tuple[str, str]] = {}
    path: list[str] = []
    for indent, name, status in LINE.findall(errors.__doc__ or ""):
        path[len(indent) // 4 :] = [name]
        drawn[name] = (path[-2] if len(path) > 1 else "Exception", status)
    defined = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]
    assert {name: parent for name, (parent, _) in drawn.items()} == {
        error.__name__: error.__base__.__name__ for error in defined if error.__base__
    }
    assert {name: status for name, (_, status) in drawn.items()} == {
        error.__name__: "–" if error is errors.RecordError else str(error.exit_status) for error in defined
    }
    assert {error.__name__ for error in defined} <= set(dir(curator_audio))
