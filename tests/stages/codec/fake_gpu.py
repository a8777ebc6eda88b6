"""Encodes on a fake GPU: its tensors have devices and shapes, and no numbers. Prints the operations between devices.

In a process of its own, because PyTorch is not quite the same afterwards.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from curator_audio.stages.codec.mel import MelFeatures
from curator_audio.stages.codec.network import TINY, EncoderNetwork


class Crossings(TorchDispatchMode):  # type: ignore[misc]
    """Counts operations between devices. Those that would wait for a GPU to know a value, fake tensors refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = operation(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, torch.Tensor)]
        if len({tensor.device.type for tensor in tensors}) > 1:
            self.counted[f"{operation} from {tensors[0].device.type}"] += 1
        return given


def encode(num_codes: list[int], dtype: str, mel: MelFeatures) -> str:
    """What there is to say of a batch of clips with so many codes."""
    with torch.device("cuda"):
        network = EncoderNetwork(TINY).eval().to_precision(getattr(torch, dtype))
    waves = torch.zeros((len(num_codes), (max(num_codes) + 1) * 320), device="cuda")
    network(waves, num_codes, mel)  # which sends its filters along
    with Crossings() as crossings:
        codes = network(waves, num_codes, mel)
    return f"{codes.device.type} {codes.dtype} {tuple(codes.shape)} {dict(crossings.counted)}"


if __name__ == "__main__":
    make = torch.tensor
    torch.tensor = lambda *args, pin_memory=False, **kwargs: make(*args, **kwargs)
    mel = MelFeatures(torch.device("cpu"))
    with FakeTensorMode() as mode, torch.no_grad():
        mel._window, mel._filters = (mode.from_tensor(own).to("cuda") for own in (mel._window, mel._filters))
        for dtype, num_codes in (("float32", [50]), ("bfloat16", [50, 37, 41])):
            print(encode(num_codes, dtype, mel))
