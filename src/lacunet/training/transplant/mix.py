"""How a lesion's intensities become those of another brain, and the mixture at its edge."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FEWEST = 30  # voxels of a shell whose mean and deviation mean something
STRETCH = 2.0


def matched(
    image: Float[Tensor, "x y z"],
    shell: Bool[Tensor, "x y z"],
    target: Float[Tensor, "x y z"],
    target_shell: Bool[Tensor, "x y z"],
    limit: float,
) -> Float[Tensor, "x y z"]:
    """A donor's image whose shell has the mean and deviation of the target's shell.

    Contrast changes by a factor of 2 at most; an image without enough of a shell stays as it is.

    Args:
        image: The donor's.
        shell: Healthy brain around the lesion.
        target: Of the same shape.
        target_shell: Healthy brain around the place of the lesion.
        limit: Largest normalised intensity that preparation leaves.
    """
    home, there = image[shell & (image != 0)], target[target_shell & (target != 0)]
    if min(len(home), len(there)) < FEWEST:
        return image
    factor = (there.std() / home.std().clamp_min(1e-3)).clamp(1 / STRETCH, STRETCH)
    return ((image - home.mean()) * factor + there.mean()).clamp(-limit, limit)


def mixed(
    target: Float[Tensor, "x y z"], image: Float[Tensor, "x y z"], weight: Float[Tensor, "x y z"]
) -> Float[Tensor, "x y z"]:
    """The donor's image where its weight is 1, the target where it is 0; nothing outside the target's brain."""
    return torch.where(target != 0, torch.lerp(target, image, weight), target)
