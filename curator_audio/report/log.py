"""Set the format of messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_is_plain = False


def log_plainly() -> None:
    """Log to standard error, from INFO on: a line for each message, without time and place.

    Log only warnings of NeMo Curator's stages, which tell of every record.
    """
    global _is_plain
    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, format="{level.name}: {message}", level="INFO", filter={"nemo_curator": "WARNING"})
    _is_plain = True


@contextmanager
def logging_kept() -> Iterator[None]:
    """Keep how messages look while a library is imported that sets it for the whole process, as cosmos-xenna does."""
    try:
        yield
    finally:
        if _is_plain:
            log_plainly()
