"""Sound files that the tests make: tones that tell the second they are from, in any container, with faults in it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from curator_audio.stages.speech.decode import Recording, open_recording
from curator_audio.stages.speech.sound_options import SoundOptions
from curator_audio.storage.storage import Storage

RATE = 16000

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")


def tones(duration_sec: float = 5.0, rate: int = RATE, num_channels: int = 1) -> np.ndarray:
    """200 Hz in the first second, 400 Hz in the next one and so on; int16 of shape (num_samples, num_channels)."""
    time = np.arange(int(duration_sec * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * 200 * (1 + time.astype(int)) * time)
    return np.repeat(np.round(tone * 32767).astype(np.int16)[:, None], num_channels, axis=1)


def write_sound(
    path: Path, codec: str, samples: np.ndarray, rate: int = RATE, layout: str = "", **options: str
) -> Path:
    """Samples of shape (num_samples, num_channels) as a file of the suffix's container, by FFmpeg's encoder."""
    layout = layout or {1: "mono", 2: "stereo"}[samples.shape[1]]
    with av.open(str(path), "w", options=options) as output:
        add_sound(output, codec, samples, rate, layout)
    return path


def add_sound(output: Any, codec: str, samples: np.ndarray, rate: int, layout: str, **metadata: str) -> None:
    """Another audio track of an open container, the only one written since it was opened or written at once."""
    stream = output.add_stream(codec, rate=rate, layout=layout)
    stream.metadata.update(metadata)
    output.mux(encoded_packets(stream, samples, rate, layout))


def encoded_packets(stream: Any, samples: np.ndarray, rate: int, layout: str) -> list[Any]:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), format="s16", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate, frame_size=size)
    return [
        packet
        for part in [*resampler.resample(frame), *resampler.resample(None), None]
        for packet in stream.encode(part)
    ]


def remuxed(source: Path, target: Path, moved_to: Callable[[float], float | None], **options: str) -> Path:
    """A copy of a file whose packets sound at other times, in seconds, or for None not at all."""
    with av.open(str(source)) as container, av.open(str(target), "w", options=options) as output:
        stream = container.streams.audio[0]
        copy = output.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.size and (time := moved_to(float(packet.pts * packet.time_base))) is not None:
                packet.pts = packet.dts = round(time / packet.time_base)
                packet.stream = copy
                output.mux(packet)
    return target


def decoded(path: Path, **options: Any) -> tuple[Recording, np.ndarray]:
    with open_recording(Storage(), str(path), SoundOptions(**options)) as recording:
        blocks = list(recording.blocks())
    return recording, np.concatenate(blocks)


def by_ffmpeg(path: Path, *options: str) -> np.ndarray:
    """The first track's samples as FFmpeg's own command has them, float32, of one channel."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), *options, "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)


def by_second(samples: np.ndarray, rate: int = RATE) -> list[int]:
    """The loudest tone of every whole second in Hz, 0 for silence."""
    found = []
    for start in range(0, len(samples) - rate + 1, rate):
        second = samples[start + rate // 10 : start + rate * 9 // 10]
        spectrum = np.abs(np.fft.rfft(second * np.hanning(len(second))))
        found.append(int(round(spectrum.argmax() * rate / len(second), -1)) if np.abs(second).max() > 1e-3 else 0)
    return found
