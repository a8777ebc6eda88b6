from hypothesis import given
from hypothesis import strategies as st

from curator_audio.stages.codec.packing import MIN_FILL, pack

LENGTHS = st.lists(st.integers(1, 1000), max_size=200)
BUDGETS = st.integers(1, 5000)


@given(LENGTHS, BUDGETS)
def test_every_clip_is_in_one_batch(lengths: list[int], budget: int) -> None:
    batches = pack(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)


@given(LENGTHS, BUDGETS)
def test_a_batch_keeps_to_the_budget_with_its_padding(lengths: list[int], budget: int) -> None:
    for batch in pack(lengths, budget):
        assert len(batch) * max(lengths[i] for i in batch) <= budget or len(batch) == 1


@given(LENGTHS, BUDGETS)
def test_little_of_a_batch_is_padding(lengths: list[int], budget: int) -> None:
    for batch in pack(lengths, budget):
        assert min(lengths[i] for i in batch) >= MIN_FILL * max(lengths[i] for i in batch)


@given(LENGTHS, BUDGETS)
def test_the_longest_come_first(lengths: list[int], budget: int) -> None:
    """What does not fit in memory is found out at the start."""
    order = [lengths[i] for batch in pack(lengths, budget) for i in batch]
    assert order == sorted(lengths, reverse=True)


@given(st.integers(1, 100), st.integers(1, 50), BUDGETS)
def test_equal_lengths_fill_batches(length: int, count: int, budget: int) -> None:
    batches = pack([length] * count, budget)
    at_once = max(1, budget // length)
    assert [len(batch) for batch in batches[:-1]] == [at_once] * (len(batches) - 1)


def test_clips_of_similar_length_go_together() -> None:
    assert pack([100, 10, 98, 11, 99, 12], budget=1000) == [[0, 4, 2], [5, 3, 1]]


def test_the_budget_ends_a_batch() -> None:
    assert pack([100, 90, 80], budget=200) == [[0, 1], [2]]


def test_nothing_to_pack() -> None:
    assert pack([], budget=10) == []
