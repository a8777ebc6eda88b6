"""What is collected for the examples in docstrings: not the files whose library is not installed."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = (
    [] if importlib.util.find_spec("torch") else ["curator_audio/stages/codec/*", "curator_audio/training/*"]
)
