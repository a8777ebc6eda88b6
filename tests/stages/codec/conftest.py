"""Narrow random models of both libraries, and clips of many lengths with the codes that a library gives them."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from tests.extras import needs

SAMPLE_RATE = 16_000


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Narrow layers are not worth a second thread, and other tests run beside these."""
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def neucodec_model() -> Any:
    needs("neucodec")
    from curator_audio.stages.codec.network import TINY
    from curator_audio.stages.codec.random_weights import random_library_model

    return random_library_model("neucodec", TINY, seed=0)


@pytest.fixture(scope="session")
def transformers_model() -> Any:
    if not hasattr(needs("transformers"), "NeuCodecModel"):
        pytest.skip("needs the extra codec (a transformers with NeuCodec)")
    from curator_audio.stages.codec.network import TINY
    from curator_audio.stages.codec.random_weights import random_library_model

    return random_library_model("transformers", TINY, seed=0)


@pytest.fixture(scope="session")
def clips() -> list[Any]:
    """Near in length and far apart, equal ones, multiples of a code and not, very short ones."""
    needs("torch")
    from curator_audio.stages.codec.random_weights import synthetic_speech

    num_samples = [48_000, 47_999, 46_000, 46_000, 40_123, 32_000, 16_001, 6_400, 5_000, 640, 639, 320, 319, 0]
    return [synthetic_speech(count / SAMPLE_RATE, seed) for seed, count in enumerate(num_samples)]


@pytest.fixture(scope="session")
def codes_one_by_one(neucodec_model: Any, clips: list[Any]) -> list[Any]:
    """What ``encode_code`` gives, which takes one clip at a time, and none of less than one code."""
    import torch

    with torch.inference_mode():
        return [
            neucodec_model.encode_code(torch.from_numpy(clip)[None, None])[0, 0].numpy()
            if len(clip) >= 320
            else np.zeros(0, np.int32)
            for clip in clips
        ]
