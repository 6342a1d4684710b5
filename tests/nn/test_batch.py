"""Subsets that a loss decodes beside the one that a batch shows."""

from collections import Counter

import torch

from lacunet.nn.batch import Batch, shown_subsets


def batch_of(acquired: list[list[int]], presence: list[list[int]]) -> Batch:
    images = torch.zeros(len(acquired), 4, 2, 2, 2)
    there, shown = (torch.tensor(rows, dtype=torch.bool) for rows in (acquired, presence))
    return Batch(images, there, shown, images[:, :3], ("a", "b")[: len(acquired)])


def test_the_first_subset_is_the_one_shown_and_alone_draws_nothing() -> None:
    batch = batch_of([[1, 1, 1, 1]], [[0, 1, 0, 0]])
    before = torch.random.get_rng_state()
    (only,) = shown_subsets(batch, 1)
    assert torch.equal(only, batch.presence)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_every_subset_of_what_was_acquired_is_drawn_equally_often_and_no_other() -> None:
    torch.manual_seed(1)
    batch = batch_of([[1, 0, 1, 1], [0, 1, 0, 0]], [[1, 0, 0, 0], [0, 1, 0, 0]])
    drawn = shown_subsets(batch, 2101)[1:]
    first, second = (Counter(tuple(map(int, presence[case])) for presence in drawn) for case in (0, 1))
    assert second == {(0, 1, 0, 0): 2100}
    assert len(first) == 7
    assert all(subset[1] == 0 and any(subset) for subset in first)
    assert all(240 < count < 360 for count in first.values())  # 300 each, four deviations
