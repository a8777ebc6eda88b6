"""NeuCodec's semantic branch: the first 16 layers of w2v-bert-2.0, and the adapter after them."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_LAYERS = 16
NUM_FEATURES = 160
FARTHEST_LEFT, FARTHEST_RIGHT = 64, 8
"""Distances between frames, beyond which attention knows only left from right."""
NUM_DISTANCES = FARTHEST_LEFT + FARTHEST_RIGHT + 1
KERNEL_SIZE = 31


class FeatureProjection(nn.Module):
    """From mel features to the model's width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(NUM_FEATURES)
        self.projection = nn.Linear(NUM_FEATURES, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.layer_norm(x))


class FeedForward(nn.Module):
    """Two linear layers."""

    def __init__(self, width: int, inner_width: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(width, inner_width)
        self.output_dense = nn.Linear(inner_width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.output_dense(F.silu(self.intermediate_dense(x)))


class SelfAttention(nn.Module):
    """Attention with a learned vector for every distance between query and key (Shaw et al., arXiv:1803.02155)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.distance_embedding = nn.Embedding(NUM_DISTANCES, width // num_heads)

    def forward(self, x: Tensor, distances: Tensor) -> Tensor:
        num_clips, num_frames, width = x.shape
        heads = (num_clips, num_frames, self.num_heads, width // self.num_heads)
        query, key, value = (
            linear(x).view(heads).transpose(1, 2) for linear in (self.linear_q, self.linear_k, self.linear_v)
        )
        # There are few distances: the query is weighed against each once, and every key looks its own up. The place
        # after the last one is for keys beyond the clip's end.
        scores = query @ self.distance_embedding.weight.T * heads[-1] ** -0.5
        scores = F.pad(scores, (0, 1), value=float("-inf"))
        bias = scores.gather(-1, distances[:, None].expand(num_clips, self.num_heads, -1, -1))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.linear_out(mixed.transpose(1, 2).reshape(x.shape))


class ConvolutionModule(nn.Module):
    """A convolution that looks back only, so that padding after a clip's end does not reach into it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)
        self.pointwise_conv1 = nn.Linear(width, 2 * width, bias=False)
        self.depthwise_conv = nn.Conv1d(width, width, KERNEL_SIZE, groups=width, bias=False)
        self.depthwise_layer_norm = nn.LayerNorm(width)
        self.pointwise_conv2 = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.pointwise_conv1(self.layer_norm(x)), -1)
        x = self.depthwise_conv(F.pad(x.transpose(1, 2), (KERNEL_SIZE - 1, 0))).transpose(1, 2)
        return self.pointwise_conv2(F.silu(self.depthwise_layer_norm(x)))


class ConformerLayer(nn.Module):
    """Attention and convolution between two half feed-forward layers (arXiv:2005.08100)."""

    def __init__(self, width: int, inner_width: int, num_heads: int) -> None:
        super().__init__()
        self.ffn1_layer_norm = nn.LayerNorm(width)
        self.ffn1 = FeedForward(width, inner_width)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = SelfAttention(width, num_heads)
        self.conv_module = ConvolutionModule(width)
        self.ffn2_layer_norm = nn.LayerNorm(width)
        self.ffn2 = FeedForward(width, inner_width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, distances: Tensor) -> Tensor:
        x = x + 0.5 * self.ffn1(self.ffn1_layer_norm(x))
        x = x + self.self_attn(self.self_attn_layer_norm(x), distances)
        x = x + self.conv_module(x)
        x = x + 0.5 * self.ffn2(self.ffn2_layer_norm(x))
        return self.final_layer_norm(x)


class SemanticEncoder(nn.Module):
    """Mel features to vectors, one for every frame.

    Args:
        width: of the vectors.
        inner_width: of the feed-forward layers.
        num_heads: of the attention.
    """

    def __init__(self, width: int, inner_width: int, num_heads: int) -> None:
        super().__init__()
        self.feature_projection = FeatureProjection(width)
        self.layers = nn.ModuleList(ConformerLayer(width, inner_width, num_heads) for _ in range(NUM_LAYERS))

    def forward(self, features: Tensor, num_frames: Tensor) -> Tensor:
        """Vectors of shape (num_clips, most frames, width); those after a clip's last frame mean nothing."""
        x = self.feature_projection(features.to(self.feature_projection.projection.weight.dtype))
        place = torch.arange(x.shape[1], device=x.device)
        distances = (place - place[:, None]).clamp(-FARTHEST_LEFT, FARTHEST_RIGHT) + FARTHEST_LEFT
        distances = distances.where((place < num_frames[:, None])[:, None], NUM_DISTANCES)
        for layer in self.layers:
            x = layer(x, distances)
        return x


class SemanticAdapter(nn.Module):
    """Four convolutions; each sees zeros after a clip's last frame, as it would if the clip were alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv1d(width, width, 3, padding=1)
        self.conv3 = nn.Conv1d(width, width, 3, padding=1)
        self.conv4 = nn.Conv1d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, num_frames: Tensor) -> Tensor:
        """Vectors of shape (num_clips, most frames, width), from such vectors."""
        is_sound = (torch.arange(x.shape[1], device=x.device) < num_frames[:, None])[:, None]
        x = x.transpose(1, 2).where(is_sound, 0.0)
        x = F.relu(self.conv1(x)).where(is_sound, 0.0)
        inner = F.relu(self.conv2(x)).where(is_sound, 0.0)
        x = (x + self.conv3(inner)).where(is_sound, 0.0)
        return self.conv4(x).transpose(1, 2)
