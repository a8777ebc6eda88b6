"""From segments to neural-codec tokens, and back to sound."""

from curator_audio.stages.codec.decoder import NeuCodecDecoderStage
from curator_audio.stages.codec.encoder import CodecEncoderStage, NeuCodecEncoderStage

__all__ = ["CodecEncoderStage", "NeuCodecDecoderStage", "NeuCodecEncoderStage"]
