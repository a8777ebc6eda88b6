"""NeuCodec's decoder, as its libraries have it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from curator_audio.stages.codec.random_weights import SIZES, random_library_model
from curator_audio.stages.codec.weights import load_library_model

DECODER_PARTS = {
    "neucodec": ("generator", "fc_post_a"),
    "transformers": ("quantizer", "acoustic_decoder"),
}


def load_decoder(implementation: str, model: str | None, seed: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The library's decoder on a device, without the encoder it comes with.

    Returns:
        From codes of shape (num_clips, num_codes) to samples of shape (num_clips, 480 * num_codes).

    Raises:
        ConfigurationError: the library is not there, or does not load this model.
        StorageError: the weights could not be fetched.
    """
    if model in SIZES:
        library = random_library_model(implementation, SIZES[model], seed)
    else:
        library = load_library_model(implementation, model)
    for name, _ in list(library.named_children()):
        if name not in DECODER_PARTS[implementation]:
            delattr(library, name)
    library.to(device)

    def decode(codes: Tensor) -> Tensor:
        if implementation == "neucodec":
            samples: Tensor = library.decode_code(codes[:, None])
        else:
            samples = library.decode(audio_codes=codes[:, None]).audio_values
        return samples[:, 0].float()

    return decode
