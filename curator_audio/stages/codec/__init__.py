"""From segments to neural-codec tokens, and back to sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curator_audio.lazy import lazily

if TYPE_CHECKING:
    from curator_audio.stages.codec.decoder import NeuCodecDecoderStage as NeuCodecDecoderStage
    from curator_audio.stages.codec.encoder import CodecEncoderStage as CodecEncoderStage
    from curator_audio.stages.codec.encoder import NeuCodecEncoderStage as NeuCodecEncoderStage
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "decoder": ["NeuCodecDecoderStage"],
            "encoder": ["CodecEncoderStage", "NeuCodecEncoderStage"],
        },
    )
