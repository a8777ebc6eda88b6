"""Libraries and programs that some tests need, and say so where they are skipped."""

from __future__ import annotations

import importlib
import shutil
from typing import Any

import pytest

EXTRAS = {
    "codec": ("neucodec", "torch", "torchaudio", "torchdata", "transformers"),
    "datasets": ("datasets", "torchcodec"),
    "hub": ("hf_xet", "huggingface_hub"),
    "nemo": ("nemo_curator", "silero_vad"),
    "test": ("distributed",),
    "xenna": ("cosmos_xenna",),
}
"""The extras that tests may be run without, and the libraries that come with them."""


def needs(library: str) -> Any:
    """The library, imported; without it the test (or the whole file) is skipped, and says which extra is missing.

    Example:
        >>> needs("datasets").__name__
        'datasets'
    """
    top_level = library.partition(".")[0]
    extra = next(extra for extra, libraries in EXTRAS.items() if top_level in libraries)
    try:
        return importlib.import_module(library)
    except (ImportError, RuntimeError, OSError) as error:  # a library of its own may lack one, as FFmpeg's
        line = (str(error) or type(error).__name__).splitlines()[0]
        pytest.skip(f"needs the extra {extra} ({library}: {line})"[:200], allow_module_level=True)


def needs_program(name: str) -> str:
    """The path of a program; without it the test is skipped, and says which is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"needs the program {name}", allow_module_level=True)
    return path
