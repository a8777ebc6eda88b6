"""The commands of a tutorial, and what it shows behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"<!-- python -->\n```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)


def text_of(tutorial: str) -> str:
    """The tutorial's README."""
    return (REPOSITORY / "tutorials" / tutorial / "README.md").read_text(encoding="utf-8")


def steps(tutorial: str) -> Iterator[tuple[str, str]]:
    """Every command, and the summary shown behind it, if any; not those to a store that is not here."""
    blocks = BLOCK.findall(text_of(tutorial))
    for (kind, block), (next_kind, output) in zip(blocks, [*blocks[1:], ("", "")]):
        if kind == "bash" and "s3://" not in block:
            yield block.replace("\\\n", " ").strip(), output if next_kind == "text" else ""


def comparable(summary: str) -> str:
    """A summary without times and durations, which depend on the machine and the version of espeak-ng."""
    summary = re.sub(r"num_batches: \d+", "num_batches: …", summary)
    return re.sub(r"\d+\.\d+", "…", summary)
