"""Parts of images that are hidden, to be rebuilt by a network."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lacunet.nn.batch import Images, Presence

Seen = Bool[Tensor, "batch modality _ _ _"]
"""Where a network may look: voxel by voxel, or one truth value for a whole image."""


def draw_seen(acquired: Presence, shape: Sequence[int], patches: int, masked: float) -> Seen:
    """MASK of eq. 3: modalities and patches together (M3AE's way), exactly a share of the patches of all modalities.

    Of a case's acquired modalities a uniformly drawn number is dropped, but enough are left. Of the patches of those
    left, so many are drawn uniformly that the share `masked` of all patches stays unseen. What was not acquired counts
    as masked; a case with too few modalities for the share shows all that it has.

    Args:
        acquired: What there is to be seen.
        shape: Of a crop, in voxels.
        patches: Along each side.
        masked: The share.
    """
    sides = [-(-length // patches) for length in shape]
    grid = [-(-length // side) for length, side in zip(shape, sides, strict=True)]
    count, each = acquired.numel() // len(acquired), grid[0] * grid[1] * grid[2]
    wanted = round((1 - masked) * count * each)
    seen = torch.zeros((len(acquired), count, each), dtype=torch.bool)
    for case, there in zip(seen, acquired.cpu(), strict=True):
        members = there.nonzero()[:, 0]
        least = min(len(members), max(1, -(-wanted // each)))
        left = len(members) - int(torch.randint(len(members) - least + 1, ()))
        shown = members[torch.randperm(len(members))[:left]]
        chosen = torch.randperm(left * each)[:wanted]
        case[shown[chosen // each], chosen % each] = True
    voxels = seen.view(*seen.shape[:2], *grid)
    for axis, (side, length) in enumerate(zip(sides, shape, strict=True), start=2):
        voxels = voxels.repeat_interleave(side, axis).narrow(axis, 0, length)
    return voxels.to(acquired.device)


def reconstruction_loss(rebuilt: Images, images: Images, acquired: Presence) -> Float[Tensor, ""]:
    """Eq. 1: the mean square over the voxels of what was acquired, seen or not; its mean over modalities and cases.

    A case without any costs nothing.
    """
    there = acquired[:, :, None, None, None]
    squares = torch.where(there, rebuilt.float() - images, 0.0).square().mean((2, 3, 4))
    return (squares.sum(dim=1) / acquired.sum(dim=1).clamp_min(1)).mean()
