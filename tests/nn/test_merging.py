"""Token merging: which tokens are merged into which, and what comes back."""

import torch

from lacunet.nn.attention import Layer
from lacunet.nn.merging import merge, merged_layer, slots_of, unmerge

ROW = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [3.0, 0.1], [0.5, 2.0], [1.0, 1.0]]])
"""Two destinations, along x and along y. The third token is nearly along x, the fourth less nearly along y."""

KEPT = torch.tensor([[0, 1]])


def test_the_most_alike_are_merged_into_the_one_they_are_most_like():
    """Cosines with the nearest: 0.999 (x), 0.970 (y), 0.707."""
    assert slots_of(ROW, KEPT, 0).tolist() == [[0, 1, 2, 3, 4]]
    assert slots_of(ROW, KEPT, 1).tolist() == [[0, 1, 0, 2, 3]]
    assert slots_of(ROW, KEPT, 2).tolist() == [[0, 1, 0, 1, 2]]
    assert slots_of(ROW, KEPT, 3)[0, :4].tolist() == [0, 1, 0, 1]


def test_destinations_stay_wherever_they_stand():
    row, kept = ROW.flip(1), torch.tensor([[3, 4]])  # along y, along x
    assert slots_of(row, kept, 2).tolist() == [[0, 1, 2, 1, 2]]


def test_merged_tokens_are_means_and_go_back_to_all():
    slots = torch.tensor([[0, 1, 0, 1, 2]])
    merged = merge(ROW, slots, 3)
    torch.testing.assert_close(merged, torch.tensor([[[2.0, 0.05], [0.25, 1.5], [1.0, 1.0]]]))
    torch.testing.assert_close(unmerge(merged, slots), merged[:, [0, 1, 0, 1, 2]])


def test_rows_are_merged_each_by_itself():
    rows = torch.cat([ROW, ROW.flip(1)])
    kept = torch.tensor([[0, 1], [3, 4]])
    slots = slots_of(rows, kept, 2)
    assert slots.tolist() == [[0, 1, 0, 1, 2], [0, 1, 2, 1, 2]]
    torch.testing.assert_close(merge(rows, slots, 3)[1], merge(rows[1:], slots[1:], 3)[0])


@torch.no_grad()
def test_a_layer_relates_the_merged_row_and_adds_what_it_found():
    torch.manual_seed(1)
    layer, tokens, kept = Layer(4, 2), torch.randn(1, 6, 4), torch.tensor([[0, 3]])
    slots = slots_of(tokens, kept, 3)
    fewer = torch.stack([tokens[0, slots[0] == slot].mean(0) for slot in range(3)])[None]
    added = layer(fewer, None) - fewer
    torch.testing.assert_close(merged_layer(layer, tokens, kept, 3), tokens + added[:, slots[0]])
    torch.testing.assert_close(merged_layer(layer, tokens, kept, 0), layer(tokens, None))


def test_gradients_reach_every_token():
    torch.manual_seed(1)
    tokens = torch.randn(1, 6, 4, requires_grad=True)
    merged_layer(Layer(4, 2), tokens, torch.tensor([[0, 3]]), 4).square().sum().backward()
    assert tokens.grad is not None
    assert (tokens.grad.abs().amax(2) > 0).all()


def test_no_rows_are_no_tokens():
    none = torch.zeros(0, 6, 4)
    assert merged_layer(Layer(4, 2), none, torch.zeros((0, 2), dtype=torch.long), 3).shape == (0, 6, 4)
