"""Reading what the pipelines wrote into a training loop."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    raise ImportError("curator_audio.training needs PyTorch, which is not installed: pip install torch") from None

from curator_audio.training.dataset import ShardDataset

__all__ = ["ShardDataset"]
