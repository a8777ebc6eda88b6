"""Where NeuCodec's weights come from: either library's checkpoint, or a seed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from curator_audio.errors import ConfigurationError, StorageError
from curator_audio.stages.codec.network import EncoderNetwork, Sizes
from curator_audio.stages.codec.semantic import NUM_DISTANCES

PUBLISHED = "neuphonic/neucodec"
SEMANTIC_MODEL = "facebook/w2v-bert-2.0"
FILES = {
    "neucodec": {PUBLISHED: ["pytorch_model.bin", "meta.yaml"], SEMANTIC_MODEL: ["*.json", "model.safetensors"]},
    "transformers": {PUBLISHED: ["*.json", "*.safetensors"]},
}
"""What each library wants of which repository."""

_UNIT_PARTS = ("snake1", "conv1", "snake2", "conv2")
_ADAPTER_PARTS = {"1": "initial_conv", "2": "residual_blocks.1", "3": "residual_blocks.3", "4": "final_conv"}
NAMES: dict[str, list[tuple[str, Any]]] = {
    "neucodec": [
        (r"^semantic_encoder\.layers", "semantic_model.encoder.layers"),
        (r"^semantic_encoder", "semantic_model"),
        (r"^semantic_adapter\.conv(\d)", lambda m: f"SemanticEncoder_module.{_ADAPTER_PARTS[m[1]]}"),
        (r"^acoustic_encoder\.conv1", "CodecEnc.conv_blocks.0"),
        (r"^acoustic_encoder\.snake", "CodecEnc.conv_final_block.0"),
        (r"^acoustic_encoder\.conv2", "CodecEnc.conv_final_block.1"),
        (r"^acoustic_encoder\.blocks\.(\d)", lambda m: f"CodecEnc.conv_blocks.{int(m[1]) + 1}.block"),
        (r"block\.snake$", "block.3"),
        (r"block\.conv$", "block.4"),
        (r"units\.(\d)\.(\w+)$", lambda m: f"{m[1]}.block.{_UNIT_PARTS.index(m[2])}"),
        (r"^fc_encoder", "fc_prior"),
        (r"^project_in", "generator.quantizer.project_in"),
    ],
    "transformers": [
        (r"^semantic_encoder\.layers", "semantic_encoder.encoder.layers"),
        (r"^acoustic_encoder\.blocks\.(\d)", r"acoustic_encoder.block.\1"),
        (r"\.snake$", ".snake1"),
        (r"\.conv$", ".conv1"),
        (r"units\.(\d)", lambda m: f"res_unit{int(m[1]) + 1}"),
        (r"^project_in", "quantizer.project_in"),
    ],
}
"""From a layer's name in ``EncoderNetwork`` to its name in each library, as replacements in this order."""


def their_name(layer: str, implementation: str) -> str:
    """What a library calls a layer of ``EncoderNetwork``.

    Example:
        >>> their_name("acoustic_encoder.blocks.0.units.2.conv1", "neucodec")
        'CodecEnc.conv_blocks.1.block.2.block.1'
        >>> their_name("acoustic_encoder.blocks.0.units.2.conv1", "transformers")
        'acoustic_encoder.block.0.res_unit3.conv1'
    """
    for pattern, replacement in NAMES[implementation]:
        layer = re.sub(pattern, replacement, layer)
    return layer


def network_from(weights: Mapping[str, Tensor], implementation: str) -> EncoderNetwork:
    """The encoder with the weights of a library's model; shares their memory where it can.

    Semantic layers that are not used are left behind, weight normalization is multiplied out.

    Raises:
        ConfigurationError: these are not the weights of a NeuCodec.
    """
    with torch.device("meta"):
        network = EncoderNetwork(_sizes_of(weights, implementation))
    loaded = {}
    for name, wanted in network.state_dict().items():
        layer, _, what = name.rpartition(".")
        value = _weight(weights, their_name(layer, implementation), what)
        loaded[name] = value.detach().reshape(wanted.shape)
    network.load_state_dict(loaded, assign=True)
    network.eval().requires_grad_(False)
    return network


def _weight(weights: Mapping[str, Tensor], layer: str, what: str) -> Tensor:
    try:
        if what == "frequency":
            return weights[f"{layer}.act.alpha"].exp()
        if what == "gain":
            return 1 / (weights[f"{layer}.act.beta"].exp() + 1e-9)
        if f"{layer}.weight_v" in weights and what == "weight":
            direction = weights[f"{layer}.weight_v"]
            return direction * (weights[f"{layer}.weight_g"] / direction.norm(dim=(1, 2), keepdim=True))
        return weights[f"{layer}.{what}"]
    except KeyError as error:
        raise ConfigurationError(f"the model has no weight {error}; give a NeuCodec model") from None


def _sizes_of(weights: Mapping[str, Tensor], implementation: str) -> Sizes:
    def shape(layer: str) -> torch.Size:
        return _weight(weights, their_name(layer, implementation), "weight").shape

    inner_width, semantic_width = shape("semantic_encoder.layers.0.ffn1.intermediate_dense")
    num_distances, head_width = shape("semantic_encoder.layers.0.self_attn.distance_embedding")
    if num_distances != NUM_DISTANCES:
        raise ConfigurationError(
            f"the semantic model knows {num_distances} distances, not {NUM_DISTANCES}; give a NeuCodec model"
        )
    return Sizes(
        semantic_width,
        inner_width,
        semantic_width // head_width,
        shape("acoustic_encoder.conv1")[0],
        shape("acoustic_encoder.conv2")[0],
    )


def copy_to_library(network: EncoderNetwork, library: torch.nn.Module, implementation: str) -> None:
    """Give a library's model the encoder's weights: to compare the two."""
    theirs = library.state_dict()  # whose tensors are the model's own
    for layer, what, value in _named_weights(network):
        name = their_name(layer, implementation)
        if what == "frequency":
            theirs[f"{name}.act.alpha"].copy_(value.log().flatten())
        elif what == "gain":
            theirs[f"{name}.act.beta"].copy_((1 / value - 1e-9).log().flatten())
        elif what == "weight" and f"{name}.weight_v" in theirs:
            theirs[f"{name}.weight_v"].copy_(value)
            theirs[f"{name}.weight_g"].copy_(value.norm(dim=(1, 2), keepdim=True))
        else:
            theirs[f"{name}.{what}"].copy_(value.reshape(theirs[f"{name}.{what}"].shape))


def _named_weights(network: EncoderNetwork) -> Iterator[tuple[str, str, Tensor]]:
    for name, value in network.state_dict().items():
        layer, _, what = name.rpartition(".")
        yield layer, what, value


def load_library_model(implementation: str, model: str | None) -> torch.nn.Module:
    """The model as its library loads it, on the CPU.

    Args:
        implementation: ``neucodec`` or ``transformers``.
        model: a repository of the Hub, for ``transformers`` also a folder; None for the published one.

    Raises:
        ConfigurationError: the library is not installed or too old, or does not load this model.
        StorageError: the weights could not be fetched.
    """
    model = model or PUBLISHED
    try:
        if implementation == "neucodec":
            import neucodec

            library_class: Any = neucodec.NeuCodec
        else:
            from transformers import NeuCodecModel

            library_class = NeuCodecModel
    except ImportError as error:
        raise ConfigurationError(
            f"the implementation '{implementation}' cannot be imported ({error}); pip install 'curator-audio[codec]'"
        ) from None
    if implementation == "neucodec" and model != PUBLISHED:
        raise ConfigurationError(
            f"model is '{model}', but the library neucodec loads '{PUBLISHED}' only; "
            "set implementation to transformers for another one or for a folder"
        )
    try:
        library: torch.nn.Module = library_class.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:  # of the Hub's client, whose own errors are OSErrors
        raise StorageError(
            f"the weights of '{model}' cannot be loaded: {_first_line(error)}; "
            "they come from the Hub (or its cache, HF_HOME)"
        ) from None
    return library.eval().requires_grad_(False)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def download(implementation: str) -> None:
    """Put the published weights into the Hub's cache, so that workers of one node do not fetch them at once.

    Raises:
        StorageError: they could not be fetched.
    """
    from huggingface_hub import snapshot_download

    for repository, files in FILES[implementation].items():
        try:
            snapshot_download(repository, allow_patterns=files)
        except (OSError, ValueError) as error:
            raise StorageError(
                f"'{repository}' cannot be fetched from the Hub: {_first_line(error)}; "
                "fetch it where there is a network and set HF_HOME to its cache"
            ) from None
