"""NeuCodec with random weights: the real architecture where there is no network, for tests and benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from curator_audio.stages.codec.acoustic import AntiAliasedSnake
from curator_audio.stages.codec.mel import SAMPLE_RATE, MelFeatures
from curator_audio.stages.codec.network import NUM_DIMENSIONS, SAMPLES_PER_CODE, TINY, EncoderNetwork, Sizes
from curator_audio.stages.codec.weights import copy_to_library

if TYPE_CHECKING:
    from curator_audio.stages.speech.sound import Samples

SIZES = {"random": Sizes(), "random-tiny": TINY}
"""What may be given as a model instead of a published one."""
SPREAD = 1.0
"""Standard deviation of what is quantized: enough for all four levels."""


def random_network(sizes: Sizes, seed: int) -> EncoderNetwork:
    """An encoder whose codes tell clips and moments apart, the same for a seed on every machine.

    With plain random weights every moment has the same code, and the acoustic branch is lost beside the semantic one.
    So both branches are scaled to vary by one over a synthetic clip, and the quantizer's input to spread over its
    levels. The measured scales are rounded, because the last digits of a measurement differ between machines.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = EncoderNetwork(sizes)
        network.eval().requires_grad_(False)
        for layer in network.acoustic_encoder.modules():
            if isinstance(layer, nn.Conv1d):
                layer.weight *= 3**0.5  # PyTorch's own weights let a signal fade from layer to layer
            elif isinstance(layer, AntiAliasedSnake):
                layer.frequency.normal_(std=0.3).exp_()
                layer.gain.normal_(std=0.3).exp_().mul_(0.2)  # more, and rounding errors grow from layer to layer
        network.acoustic_encoder.conv1.weight *= 10  # as loud as the biases that follow
        clip = torch.from_numpy(synthetic_speech(2.0, seed=0))[None]
        num_codes = [clip.shape[1] // SAMPLES_PER_CODE]
        waves = nn.functional.pad(clip, (0, SAMPLES_PER_CODE))
        mel = MelFeatures(clip.device)
        semantic, acoustic = network.branches(waves, num_codes, mel)
        network.semantic_adapter.conv4.weight /= _rounded(semantic.std(1).mean())
        network.acoustic_encoder.conv2.weight /= _rounded(acoustic.std(1).mean())
        assert network.acoustic_encoder.conv2.bias is not None
        network.acoustic_encoder.conv2.bias.zero_()  # scaled up, it would drown what varies

        network.project_in.weight.copy_(
            nn.init.orthogonal_(torch.empty(NUM_DIMENSIONS, network.fc_encoder.in_features))
        )
        both = torch.cat(network.branches(waves, num_codes, mel), -1)
        latents = network.project_in(network.fc_encoder(both))[0]
        scale = SPREAD / _rounded(latents.std(0))
        network.project_in.weight *= scale[:, None]
        network.project_in.bias.copy_((network.project_in.bias - _rounded(latents.mean(0))) * scale)
    return network


def _rounded(values: torch.Tensor) -> torch.Tensor:
    return values.bfloat16().float()


def synthetic_speech(duration_sec: float, seed: int) -> Samples:
    """Something between a vowel and a rustle: harmonics of a wandering pitch under wandering formants, and noise.

    Example:
        >>> synthetic_speech(0.5, seed=1).shape
        (8000,)
    """
    random = np.random.default_rng(seed)
    num_samples = round(duration_sec * SAMPLE_RATE)
    time = np.arange(num_samples) / SAMPLE_RATE

    def wandering(low: float, high: float, per_sec: float) -> Any:
        """A line through random heights at random times."""
        num_points = 2 + int(duration_sec * per_sec)
        return np.interp(time, np.linspace(0, duration_sec, num_points), random.uniform(low, high, num_points))

    phase = 2 * np.pi * np.cumsum(wandering(80, 260, 3)) / SAMPLE_RATE
    pitch = np.gradient(phase) * SAMPLE_RATE / (2 * np.pi) if num_samples > 1 else np.full(num_samples, 100.0)
    formants = [
        (wandering(*band, 6), width) for band, width in (((250, 900), 90), ((900, 2500), 140), ((2400, 3500), 220))
    ]
    voiced = np.zeros(num_samples)
    for harmonic in range(1, 25):
        height = sum(1 / (1 + ((harmonic * pitch - centre) / width) ** 2) for centre, width in formants)
        voiced += height * np.sin(harmonic * phase)
    loudness = np.clip(wandering(-0.3, 1.0, 8), 0, None)
    noise = random.standard_normal(num_samples) * np.clip(wandering(-0.5, 1.0, 8), 0.01, None)
    sound = 0.1 * loudness * voiced + 0.05 * noise
    clip: Samples = np.clip(sound, -1, 1).astype(np.float32)
    return clip


def random_library_model(implementation: str, sizes: Sizes, seed: int) -> nn.Module:
    """A library's own model with the weights of ``random_network``, and a random decoder.

    Raises:
        ImportError: the library is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        library = (_neucodec_model if implementation == "neucodec" else _transformers_model)(sizes)
        library.requires_grad_(False).eval()
    copy_to_library(random_network(sizes, seed), library, implementation)
    return library


def _semantic_config(sizes: Sizes, num_layers: int) -> Any:
    from transformers import Wav2Vec2BertConfig

    return Wav2Vec2BertConfig(
        hidden_size=sizes.semantic_width,
        intermediate_size=sizes.inner_width,
        num_attention_heads=sizes.num_heads,
        num_hidden_layers=num_layers,
        output_hidden_states=True,
    )


def _neucodec_model(sizes: Sizes) -> nn.Module:
    from neucodec import NeuCodec
    from neucodec.codec_decoder_vocos import CodecDecoderVocos
    from neucodec.codec_encoder import CodecEncoder
    from neucodec.module import SemanticEncoder
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertModel

    class RandomNeuCodec(NeuCodec):  # type: ignore[misc]
        """Made of the same parts as its parent, which can only fetch one of them from the Hub."""

        def __init__(self) -> None:
            nn.Module.__init__(self)
            width = sizes.semantic_width + sizes.acoustic_width
            self.sample_rate, self.hop_length = 24_000, 480
            self.semantic_model = Wav2Vec2BertModel(_semantic_config(sizes, num_layers=24))
            self.feature_extractor = SeamlessM4TFeatureExtractor(padding_value=1)
            self.SemanticEncoder_module = SemanticEncoder(*[sizes.semantic_width] * 3)
            self.CodecEnc = CodecEncoder(ngf=sizes.num_channels, hidden_dim=sizes.acoustic_width)
            heads = {"heads": sizes.acoustic_width // 64, "pos_meb_dim": 64}
            self.generator = CodecDecoderVocos(hidden_dim=sizes.acoustic_width, hop_length=480, vq_dim=width, **heads)
            self.fc_prior = nn.Linear(width, width)
            self.fc_post_a = nn.Linear(width, sizes.acoustic_width)

    model: nn.Module = RandomNeuCodec()
    return model


def _transformers_model(sizes: Sizes) -> nn.Module:
    from transformers import NeuCodecConfig, NeuCodecModel

    config = NeuCodecConfig(
        hidden_size=sizes.acoustic_width,
        intermediate_size=4 * sizes.acoustic_width,
        num_attention_heads=sizes.acoustic_width // 64,
        num_key_value_heads=sizes.acoustic_width // 64,
        encoder_hidden_size=sizes.num_channels,
        quantization_dim=sizes.semantic_width + sizes.acoustic_width,
        semantic_model_config=_semantic_config(sizes, num_layers=16),
    )
    model: nn.Module = NeuCodecModel(config)
    return model
