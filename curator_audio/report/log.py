"""How messages look."""

from __future__ import annotations

import sys


def log_plainly() -> None:
    """Log to standard error, from INFO on, a message a line: for people, who need no time and place of each.

    Of NeMo Curator's stages only warnings: they tell of every record.
    """
    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, format="{level.name}: {message}", level="INFO", filter={"nemo_curator": "WARNING"})
