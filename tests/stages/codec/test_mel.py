"""The features of a batch against those of the feature extractor, clip by clip."""

from typing import Any

import numpy as np

from tests.extras import needs

torch = needs("torch")
transformers = needs("transformers")

from curator_audio.stages.codec.mel import MelFeatures  # noqa: E402
from curator_audio.stages.codec.random_weights import synthetic_speech  # noqa: E402


def features_alone(clip: Any) -> Any:
    extractor = transformers.SeamlessM4TFeatureExtractor(padding_value=1)
    return extractor(clip, sampling_rate=16_000, return_tensors="pt").input_features[0]


def batch_of(clips: list[Any]) -> tuple[Any, Any]:
    """The clips, each with zeros up to the next multiple of 320 and beyond, and the number of frames of each."""
    num_codes = [len(clip) // 320 for clip in clips]
    waves = torch.zeros(len(clips), (max(num_codes) + 1) * 320)
    for row, clip in enumerate(clips):
        waves[row, : len(clip)] = torch.from_numpy(clip)
    return waves, torch.tensor(num_codes)


def test_a_batch_has_the_features_of_each_clip_alone() -> None:
    clips = [synthetic_speech(sec, seed) for seed, sec in enumerate([2.0, 1.999, 1.3, 0.5, 0.04, 0.02])]
    waves, num_frames = batch_of(clips)
    features = MelFeatures(waves.device)(waves, num_frames)
    for row, clip in enumerate(clips):
        alone = features_alone(np.pad(clip, (0, 320 - len(clip) % 320)))
        assert len(alone) == num_frames[row]
        assert (features[row, : len(alone)] - alone).abs().max() < 1e-3  # where two frames are nearly the same
        assert (features[row, : len(alone)] - alone).abs().mean() < 1e-5
        assert (features[row, len(alone) :] == 0).all()


def test_loud_sound_quiet_sound_and_an_offset() -> None:
    time = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    clips = [tone, tone * 1e-4, (tone * 0.1 + 0.5).astype(np.float32), np.sign(tone)]
    waves, num_frames = batch_of(clips)
    features = MelFeatures(waves.device)(waves, num_frames)
    for row, clip in enumerate(clips):
        alone = features_alone(np.pad(clip, (0, 320)))
        assert (features[row] - alone).abs().max() < 1e-3


def test_digital_silence_has_no_features() -> None:
    """All its energies are the floor, the variance is 0."""
    waves = torch.zeros(1, 3200)
    assert (MelFeatures(waves.device)(waves, torch.tensor([9])) == 0).all()
