"""Set the format of messages."""

from __future__ import annotations

import sys


def log_plainly() -> None:
    """Log to standard error, from INFO on: a line for each message, without time and place."""
    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, format="{level.name}: {message}", level="INFO")
