"""The two branches of the encoder, one beside the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from curator_audio.stages.codec.network import side_by_side  # noqa: E402
from curator_audio.stages.codec.neucodec import NeuCodec  # noqa: E402


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
