"""NeuCodec's own loop, one clip at a time, against the batched encoder: speed, and whether the codes are the same.

    python benchmarking/scripts/codec_benchmark.py --num-clips 200 --min-sec 1 --max-sec 20
    python benchmarking/scripts/codec_benchmark.py --num-clips 8 --max-sec 8 --device cpu --dtype float32
    python benchmarking/scripts/codec_benchmark.py --size tiny --num-clips 8 --max-sec 4 --device cpu

All have the same weights, clips and device, in one run, and take turns: every round times each of them over all clips,
every other round in reverse, so that what else the machine does meets all alike. The reference is ``encode_code`` of
the library neucodec, with the features it computes on the CPU; it is timed as a user runs it, on a GPU with TF32
convolutions. The codes it is compared by are computed without TF32. Weights are random unless ``--size published``,
and clips synthetic unless ``--audio-dir``. Needs torch, transformers and neucodec with what it imports; neither Ray nor
a network.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
SAMPLE_RATE = 16_000
RECORDING_SEC = 120.0
SEED = 0


def main() -> None:
    args = parsed_arguments()
    warnings.filterwarnings("ignore", category=FutureWarning)  # of weight normalization, in the reference

    import torch

    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    clips = cut(recording(args), args)
    audio_sec = sum(map(len, clips)) / SAMPLE_RATE
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    lengths = f"{args.min_sec:g}-{args.max_sec:g} s, {audio_sec:.1f} s of audio"
    print(f"{len(clips)} clips of {lengths}, {args.size}, {name}, {args.rounds} rounds", flush=True)

    library = library_model("neucodec", args)
    weights = library_model("transformers", args) if args.implementation == "transformers" else library
    codecs = {dtype: loaded_codec(weights, dtype, args, str(device)) for dtype in args.dtype}
    library.to(device)
    encoders = {"reference": lambda: reference_codes(library, clips)}
    encoders |= {dtype: partial(codec.encode, clips) for dtype, codec in codecs.items()}
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        codes = {name: encode() for name, encode in encoders.items()}
    timed_rounds(encoders, 1)  # warms them up, as they will be timed
    for codec in codecs.values():
        codec.work = type(codec.work)()
    wall_sec, cpu_sec = timed_rounds(encoders, args.rounds)

    for name, of_clips in codes.items():
        seconds = wall_sec[name].sum() / args.rounds
        cores = cpu_sec[name].sum() / wall_sec[name].sum()
        print(f"{name:<10}{audio_sec / seconds:8.2f} x real time on {cores:.1f} cores", end="   ")
        if name == "reference":
            print(f"{len(np.unique(np.concatenate(of_clips)))} distinct codes of {sum(map(len, of_clips))}")
            continue
        ratios, work = wall_sec["reference"] / wall_sec[name], codecs[name].work
        print(
            f"{wall_sec['reference'].sum() / wall_sec[name].sum():5.2f} x the reference, "
            f"a round {ratios.min():.2f} to {ratios.max():.2f}, median {np.median(ratios):.2f}; "
            f"{cpu_sec['reference'].sum() / cpu_sec[name].sum():.2f} x by CPU time\n"
            f"{'':<10}{agreement(of_clips, codes['reference'])}; {work.num_batches / args.rounds:g} batches, "
            f"{work.out_of_memory} out of memory, device busy {work.device_time_sec / args.rounds / seconds:.0%}"
        )


def loaded_codec(library: Any, dtype: str, args: Any, device: str) -> Any:
    from curator_audio.stages.codec import weights
    from curator_audio.stages.codec.neucodec import NeuCodec

    codec = NeuCodec(
        args.implementation, None, dtype, compile=args.compile, batch_audio_sec=args.batch_audio_sec, device=device
    )
    with patch.object(weights, "load_library_model", return_value=library):
        codec.load_encoder()
    return codec


def timed_rounds(encoders: dict[str, Callable[[], Any]], num_rounds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seconds that each took in each round: of the clock, and of this process on all cores."""
    wall_sec = {name: np.zeros(num_rounds) for name in encoders}
    cpu_sec = {name: np.zeros(num_rounds) for name in encoders}
    for turn in range(num_rounds):
        for name in list(encoders)[:: -1 if turn % 2 else 1]:
            wall, cpu = time.perf_counter(), time.process_time()
            encoders[name]()
            wall_sec[name][turn] = time.perf_counter() - wall
            cpu_sec[name][turn] = time.process_time() - cpu
    return wall_sec, cpu_sec


def agreement(ours: list[Any], theirs: list[Any]) -> str:
    same_length = [(a, b) for a, b in zip(ours, theirs) if len(a) == len(b)]
    equal = sum(int((a == b).sum()) for a, b in same_length) / sum(map(len, theirs))
    return f"{equal:.3%} of codes equal, {len(same_length)} of {len(theirs)} lengths"


def library_model(implementation: str, args: Any) -> Any:
    from curator_audio.stages.codec.network import TINY, Sizes
    from curator_audio.stages.codec.random_weights import random_library_model
    from curator_audio.stages.codec.weights import load_library_model

    if args.size == "published":
        return load_library_model(implementation, None)
    return random_library_model(implementation, TINY if args.size == "tiny" else Sizes(), SEED)


def reference_codes(library: Any, clips: list[Any]) -> list[Any]:
    import torch

    with torch.inference_mode():
        return [library.encode_code(torch.from_numpy(clip)[None, None])[0, 0].cpu().numpy() for clip in clips]


def recording(args: Any) -> Any:
    """The sound that clips are cut from."""
    from curator_audio.stages.codec.random_weights import synthetic_speech

    if args.audio_dir is None:
        return synthetic_speech(RECORDING_SEC, SEED)
    import soundfile
    import soxr

    sounds = []
    for path in sorted(path for path in args.audio_dir.iterdir() if path.suffix in (".wav", ".flac", ".ogg", ".opus")):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        sounds.append(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE))
    return np.concatenate(sounds)


def cut(sound: Any, args: Any) -> list[Any]:
    """Clips of random lengths from random places, the same in every run."""
    random = np.random.default_rng(SEED)
    clips = []
    for _ in range(args.num_clips):
        length = min(int(random.uniform(args.min_sec, args.max_sec) * SAMPLE_RATE), len(sound))
        start = int(random.integers(0, len(sound) - length + 1))
        clips.append(np.ascontiguousarray(sound[start : start + length], np.float32))
    return clips


def parsed_arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-clips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--min-sec", type=float, default=1.0)
    parser.add_argument("--max-sec", type=float, default=20.0)
    parser.add_argument("--device", help="cuda or cpu; a GPU if there is one")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], help="one line for each")
    parser.add_argument("--implementation", default="neucodec", choices=["neucodec", "transformers"])
    parser.add_argument("--size", default="full", choices=["full", "tiny", "published"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch-audio-sec", type=float)
    parser.add_argument("--audio-dir", type=Path, help="a folder of recordings to cut the clips from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
