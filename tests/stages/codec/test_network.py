"""The encoder's network on its devices, and its two branches beside each other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.extras import needs

torch = needs("torch")

from curator_audio.stages.codec import network  # noqa: E402
from curator_audio.stages.codec.network import side_by_side  # noqa: E402
from curator_audio.stages.codec.neucodec import NeuCodec  # noqa: E402
from curator_audio.stages.codec.random_weights import synthetic_speech  # noqa: E402
from tests.conftest import REPOSITORY  # noqa: E402


@pytest.fixture
def five_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(5)
    yield
    torch.set_num_threads(before)


def num_threads() -> Any:
    return torch.tensor(torch.get_num_threads())


def num_threads_of_another() -> int:
    with ThreadPoolExecutor(1) as pool:
        return int(pool.submit(torch.get_num_threads).result())


@pytest.mark.usefixtures("five_threads")
def test_two_computations_share_the_threads() -> None:
    assert side_by_side(num_threads, num_threads) == (3, 2)
    assert (torch.get_num_threads(), num_threads_of_another()) == (5, 5)


def test_a_single_thread_does_one_after_the_other() -> None:
    assert torch.get_num_threads() == 1
    done: list[str] = []
    side_by_side(lambda: done.append("one"), lambda: done.append("other"))
    assert done == ["one", "other"]


@pytest.mark.usefixtures("five_threads")
@pytest.mark.parametrize("place", [0, 1])
def test_an_error_leaves_the_threads_as_they_were(place: int) -> None:
    def too_much() -> Any:
        raise RuntimeError("not enough memory")

    computations = [num_threads, num_threads]
    computations[place] = too_much
    with pytest.raises(RuntimeError, match="not enough memory"):
        side_by_side(*computations)
    assert (torch.get_num_threads(), num_threads_of_another()) == (5, 5)


@pytest.mark.usefixtures("five_threads")
def test_codes_do_not_depend_on_threads(clips: list[Any], codes_one_by_one: list[Any]) -> None:
    codes = NeuCodec(model="random-tiny", device="cpu").encode(clips)
    assert sum((a != b).sum() for a, b in zip(codes, codes_one_by_one)) <= 1
    assert [len(of_clip) for of_clip in codes] == [len(of_clip) for of_clip in codes_one_by_one]


def test_on_a_gpu_a_batch_stays_there() -> None:
    command = [sys.executable, "-m", "tests.stages.codec.fake_gpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    crossings = {"aten._to_copy.default from cpu": 1}  # the numbers of codes, from pinned memory
    assert done.stdout.splitlines() == [f"cuda torch.int32 ({num_clips}, 50) {crossings}" for num_clips in (1, 3)]


def test_compiled_it_gives_the_same_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # needs no C++ compiler
    clips = [synthetic_speech(seconds, seed=0) for seconds in (0.5, 0.8, 0.81)]
    plain, compiled = (NeuCodec(model="random-tiny", device="cpu", compile=compile) for compile in (False, True))
    codes = plain.encode(clips)
    compiled.load_encoder()
    monkeypatch.delattr(network, "side_by_side")  # two threads cannot compile at once
    for of_plain, of_compiled in zip(codes, compiled.encode(clips)):
        assert (of_compiled == of_plain).all() and len(set(of_plain.tolist())) > 5
