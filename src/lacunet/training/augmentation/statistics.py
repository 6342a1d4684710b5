"""Mean and deviation of a modality inside its brain, which preparation sets and a change may have to keep."""

from jaxtyping import Bool, Float
from torch import Tensor


def mean_and_deviation(image: Float[Tensor, "x y z"], brain: Bool[Tensor, "x y z"]) -> tuple[Tensor, Tensor]:
    """Over the voxels of the brain; 0 and 0 where there is none. Voxels outside the brain must be zero."""
    count = brain.sum().clamp_min(1)
    mean = image.sum() / count
    return mean, ((image.square().sum() / count) - mean.square()).clamp_min(0).sqrt()


def with_statistics(
    image: Float[Tensor, "x y z"], brain: Bool[Tensor, "x y z"], mean: Tensor, deviation: Tensor
) -> Float[Tensor, "x y z"]:
    """The image with this mean and deviation over its brain, zero elsewhere.

    A scan is normalised after all that a scanner or a stripping did to it. A crop has not the statistics of the whole
    brain, so that a change takes those that the crop had before.
    """
    image = image * brain
    own_mean, own_deviation = mean_and_deviation(image, brain)
    return ((image - own_mean) * (deviation / own_deviation.clamp_min(1e-3)) + mean) * brain
