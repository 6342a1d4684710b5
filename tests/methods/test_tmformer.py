"""TMFormer: which tokens are kept, and that absent ones are neither kept nor merged."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from batches_made import batch_of, clock_at, made_by_recipe, numbers_in, presence_of, sizes_apart
from lacunet.methods.tmformer import TMFormer, likeliest, related_by_merging
from lacunet.nn.attention import Layer
from lacunet.nn.losses import segmentation_losses
from lacunet.nn.merging import merged_layer
from lacunet.nn.method import make_method
from lacunet.nn.placed import tokens_of
from lacunet.task import GLIOMA

EVERYTHING = GLIOMA.modalities
PAIR = ("t1n", "t2w")


def tmformer(**arguments: Any) -> TMFormer:
    torch.manual_seed(1)
    method = make_method(TMFormer, GLIOMA, {"width": 4, "levels": 3, **arguments})
    assert isinstance(method, TMFormer)
    return method.train()


def test_each_window_keeps_its_likeliest_token():
    scores = torch.zeros(1, 1, 2, 2, 4)
    scores[0, 0, 1, 0, 1] = 3  # in the first window along z; number 1 * 8 + 0 * 4 + 1
    scores[0, 0, 0, 1, 2] = -1
    scores[0, 0, 1, 1, 3] = 2  # in the second; number 15
    assert likeliest(scores).tolist() == [[9, 15]]


def test_windows_at_an_odd_border_keep_one_too():
    found = likeliest(torch.randn(2, 1, 3, 2, 5, generator=torch.Generator().manual_seed(1)))
    assert found.shape == (2, 2 * 1 * 3)
    assert all(len(set(row)) == 6 for row in found.tolist())


@torch.no_grad()
def test_of_each_place_the_likeliest_modality_is_kept_and_the_others_are_merged():
    torch.manual_seed(2)
    layer, maps, scores = Layer(8, 2), torch.randn(1, 4, 8, 1, 1, 2), torch.zeros(1, 4, 1, 1, 2)
    scores[0, :, 0, 0] = torch.tensor([[1.0, 2.0], [9.0, 9.0], [3.0, 0.0], [9.0, 9.0]])
    presence = presence_of(PAIR)  # T2 is likelier at the first place, T1 at the second
    row = torch.cat([tokens_of(maps[0, 0]), tokens_of(maps[0, 2])])[None]
    expected = merged_layer(layer, row, torch.tensor([[2, 1]]), 2)
    found = related_by_merging(layer, maps, scores, presence)
    torch.testing.assert_close(torch.cat([tokens_of(found[0, 0]), tokens_of(found[0, 2])]), expected[0])
    assert found[0, [1, 3]].abs().max() == 0


@torch.no_grad()
def test_one_modality_alone_is_not_merged_with_anything():
    torch.manual_seed(2)
    layer, maps = Layer(8, 2), torch.randn(1, 4, 8, 2, 2, 2)
    found = related_by_merging(layer, maps, torch.randn(1, 4, 2, 2, 2), presence_of(("t1c",)))
    torch.testing.assert_close(tokens_of(found[0, 1]), layer(tokens_of(maps[0, 1])[None], None)[0])


@torch.no_grad()
@pytest.mark.parametrize("subset", [("t1c",), PAIR, EVERYTHING], ids="+".join)
def test_as_many_tokens_attend_whatever_is_there(subset: tuple[str, ...]):
    method, seen = tmformer().eval(), []
    method.among.attention.register_forward_hook(lambda module, inputs, answer: seen.append(inputs[0].shape[1]))
    method.within[0].attention.register_forward_hook(lambda module, inputs, answer: seen.append(inputs[0].shape[1]))
    method(batch_of(subset).images, presence_of(subset))
    assert seen == [32, 64]  # of 4 x 4 x 4 places, half are left within a modality


@torch.no_grad()
def test_the_coarse_mask_is_compared_at_its_own_resolution():
    method, batch = tmformer(), batch_of(PAIR)
    masks = method._masks(method.branches.encode(batch.images, batch.presence))
    pooled = F.avg_pool3d(batch.regions, 4)
    expected = (segmentation_losses(masks[0], pooled) + segmentation_losses(masks[2], pooled)) / 2
    torch.testing.assert_close(method.stages()[0].loss(batch, clock_at())["coarse"], expected[0])


def test_learns_from_what_is_shown():
    method = tmformer()
    terms = method.stages()[0].loss(batch_of(PAIR, EVERYTHING), clock_at())
    assert set(terms) == {"segmentation", "deep", "auxiliary", "coarse"}
    torch.stack([*terms.values()]).sum().backward()
    assert not [name for name, parameter in method.named_parameters() if parameter.grad is None]


def test_size_at_full_scale():
    """How many numbers the published network has is not known to us."""
    assert numbers_in(made_by_recipe("tmformer")) == 34_808_626 + 128 * 3 + 3  # mmformer's, and the coarse mask


def test_the_small_recipe_is_the_same_method_on_another_scale():
    assert sizes_apart("tmformer")
