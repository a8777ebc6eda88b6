"""NeuCodec's own loop, one clip at a time, against the batched encoder: speed, and whether the codes are the same.

    python benchmarking/scripts/codec_benchmark.py --num-clips 200 --min-sec 1 --max-sec 20
    python benchmarking/scripts/codec_benchmark.py --size tiny --num-clips 8 --max-sec 4 --device cpu

Both have the same weights, clips and device, in one run. The reference is ``encode_code`` of the library neucodec, with
the features it computes on the CPU; it is timed as a user runs it, on a GPU with TF32 convolutions. The codes it is
compared by are computed without TF32. Weights are random unless ``--size published``, and clips synthetic unless
``--audio-dir``. Needs torch, transformers and neucodec with what it imports; neither Ray nor a network.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
SAMPLE_RATE = 16_000
RECORDING_SEC = 120.0


def main() -> None:
    args = parsed_arguments()
    warnings.filterwarnings("ignore", category=FutureWarning)  # of weight normalization, in the reference

    import torch

    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    clips = cut(recording(args), args)
    audio_sec = sum(map(len, clips)) / SAMPLE_RATE
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{len(clips)} clips of {args.min_sec:g}-{args.max_sec:g} s, {audio_sec:.1f} s of audio, {args.size}, {name}")

    library = library_model("neucodec", args).to(device)
    reference_sec, codes = timed(
        lambda: reference_codes(library, clips), warm_up=lambda: reference_codes(library, clips[:2])
    )
    distinct, total = len(np.unique(np.concatenate(codes))), sum(map(len, codes))
    print(f"reference   {audio_sec / reference_sec:8.1f} x real time   {distinct} distinct codes of {total}")
    if device.type == "cuda":
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            codes = reference_codes(library, clips)

    weights = library_model("transformers", args) if args.implementation == "transformers" else library
    for dtype in args.dtype:
        measure_codec(weights, dtype, clips, codes, reference_sec, args, device.type)


def measure_codec(
    library: Any, dtype: str, clips: list[Any], codes: list[Any], reference_sec: float, args: Any, device: str
) -> None:
    from curator_audio.stages.codec import weights
    from curator_audio.stages.codec.neucodec import NeuCodec

    codec = NeuCodec(
        args.implementation, None, dtype, compile=args.compile, batch_audio_sec=args.batch_audio_sec, device=device
    )
    with patch.object(weights, "load_library_model", return_value=library.cpu()):
        codec.load_encoder()
    # Compiled code is made for what it meets; without it a few clips do to wake the device.
    codec.encode(clips if args.compile else clips[:2])
    codec.work.device_time_sec, codec.work.num_batches = 0.0, 0
    seconds, ours = timed(lambda: codec.encode(clips))
    audio_sec = sum(map(len, clips)) / SAMPLE_RATE
    lengths = sum(len(a) == len(b) for a, b in zip(ours, codes))
    equal = sum(int((a == b).sum()) for a, b in zip(ours, codes) if len(a) == len(b)) / sum(map(len, codes))
    print(
        f"{dtype:<11} {audio_sec / seconds:8.1f} x real time   {reference_sec / seconds:5.2f} x the reference   "
        f"{equal:.3%} of codes equal, {lengths} of {len(clips)} lengths   device busy "
        f"{codec.work.device_time_sec / seconds:.0%}, {codec.work.num_batches} batches"
        + (f", {codec.work.out_of_memory} out of memory" if codec.work.out_of_memory else "")
    )


def library_model(implementation: str, args: Any) -> Any:
    from curator_audio.stages.codec.network import TINY, Sizes
    from curator_audio.stages.codec.random_weights import random_library_model
    from curator_audio.stages.codec.weights import load_library_model

    if args.size == "published":
        return load_library_model(implementation, None)
    return random_library_model(implementation, TINY if args.size == "tiny" else Sizes(), args.seed)


def reference_codes(library: Any, clips: list[Any]) -> list[Any]:
    import torch

    with torch.inference_mode():
        return [library.encode_code(torch.from_numpy(clip)[None, None])[0, 0].cpu().numpy() for clip in clips]


def timed(work: Callable[[], list[Any]], warm_up: Callable[[], Any] | None = None) -> tuple[float, list[Any]]:
    if warm_up is not None:
        warm_up()
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def recording(args: Any) -> Any:
    """The sound that clips are cut from."""
    from curator_audio.stages.codec.random_weights import synthetic_speech

    if args.audio_dir is None:
        return synthetic_speech(RECORDING_SEC, args.seed)
    import soundfile
    import soxr

    sounds = []
    for path in sorted(path for path in args.audio_dir.iterdir() if path.suffix in (".wav", ".flac", ".ogg", ".opus")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        sounds.append(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE))
    return np.concatenate(sounds)


def cut(sound: Any, args: Any) -> list[Any]:
    """Clips of random lengths from random places, the same for a seed."""
    random = np.random.default_rng(args.seed)
    clips = []
    for _ in range(args.num_clips):
        length = min(int(random.uniform(args.min_sec, args.max_sec) * SAMPLE_RATE), len(sound))
        start = int(random.integers(0, len(sound) - length + 1))
        clips.append(np.ascontiguousarray(sound[start : start + length], np.float32))
    return clips


def parsed_arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-clips", type=int, default=100)
    parser.add_argument("--min-sec", type=float, default=1.0)
    parser.add_argument("--max-sec", type=float, default=20.0)
    parser.add_argument("--device", help="cuda or cpu; a GPU if there is one")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], help="one line for each")
    parser.add_argument("--implementation", default="neucodec", choices=["neucodec", "transformers"])
    parser.add_argument("--size", default="full", choices=["full", "tiny", "published"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch-audio-sec", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--audio-dir", type=Path, help="a folder of recordings to cut the clips from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
