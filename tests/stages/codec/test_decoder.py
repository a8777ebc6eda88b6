from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curator_audio.errors import ConfigurationError
from curator_audio.stages import Resources, WorkerInfo
from curator_audio.stages.codec import NeuCodecDecoderStage
from curator_audio.stages.speech.sound import decode_sound
from curator_audio.tasks import AudioBatch
from tests.extras import needs

needs("torch")


@pytest.mark.parametrize("implementation", ["neucodec", "transformers"])
def test_codes_become_sound(implementation: str, request: Any) -> None:
    library = request.getfixturevalue(f"{implementation}_model")
    stage = NeuCodecDecoderStage(implementation, model="random-tiny").with_(resources=Resources(gpus=0))
    stage.setup(WorkerInfo())
    codes = list(range(0, 50_000, 1000))
    record = {"segment_id": "a_seg_0", "codes": codes, "audio": None, "sample_rate": 16_000}
    (decoded,) = stage.process(AudioBatch([record])).records
    assert (decoded["sample_rate"], decoded["audio"]["path"], decoded["codes"]) == (24_000, "a_seg_0.flac", codes)
    samples, rate = decode_sound(decoded["audio"]["bytes"])
    assert (rate, len(samples)) == (24_000, 50 * 480)
    expected = library_sound(library, implementation, codes)
    np.testing.assert_allclose(samples, expected, atol=2**-15)
    assert stage.observed.metrics == {"decoded_duration": 1.0}
    assert record["audio"] is None


def library_sound(library: Any, implementation: str, codes: list[int]) -> Any:
    import torch

    given = torch.tensor(codes)[None, None]
    with torch.inference_mode():
        sound = library.decode_code(given) if implementation == "neucodec" else library.decode(given)[0]
    return sound[0, 0].clamp(-1, 1).numpy()


@pytest.mark.parametrize(
    ("codes", "reason", "message"),
    [
        ([], "no_codes", "codes are empty; encode the segment first"),
        (None, "no_codes", "codes are empty"),
        ([1, 65_536], "code_out_of_range", "codes[1] is 65536; the codebook has 65536"),
        ([-1], "code_out_of_range", "codes[0] is -1"),
        ([1.5], "wrong_type", "give a list of ints"),
        (["1"], "wrong_type", "give a list of ints"),
        ([True], "wrong_type", "give a list of ints"),
        ("123", "wrong_type", "codes are '123'"),
    ],
)
def test_what_are_no_codes_is_set_aside(codes: Any, reason: str, message: str) -> None:
    stage = NeuCodecDecoderStage(model="random-tiny")
    assert stage.process(AudioBatch([{"segment_id": "a", "codes": codes}])).records == []
    (bad,) = stage.observed.quarantined
    assert bad.reason == reason
    assert message in bad.message


def test_bad_parameters() -> None:
    with pytest.raises(ConfigurationError, match="implementation is 'vocos'"):
        NeuCodecDecoderStage(implementation="vocos")
