"""One draw of everything random about a crop, and the changes of intensities that follow from it."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lacunet.training.augmentation.acquisition import Acquisition, acquired_again, draw_acquisitions
from lacunet.training.augmentation.field_of_view import Cut, draw_cut
from lacunet.training.augmentation.settings import Augmentation
from lacunet.training.augmentation.space import Bend, Motion, draw_bend, draw_motions, rotation
from lacunet.training.augmentation.stripping import Mistake, draw_mistake


@dataclass(frozen=True)
class Change:
    """One draw of all random parameters; per-modality ones are listed in the task's order.

    Attributes:
        matrix: From directions of the crop to directions of the source (rotation, scale, mirrors), 3 x 3.
        contrast: Factor per modality.
        shift: Added to each modality's brain voxels.
        gamma: Exponent per modality.
        noise: Deviation of the noise per modality.
        blur: Whether a modality is blurred.
        seed: Of the noise itself.
        inverted: Whether a modality's curve is that of the inverted image; empty where none is.
        bend: Of the whole crop.
        motions: Of each modality against the reference; empty where none moves.
        acquisitions: Shading, ghosts, slices and noise of each modality; empty where none is changed by them.
        mistake: Of the skull stripping.
        cut: Of the field of view.
    """

    matrix: np.ndarray
    contrast: tuple[float, ...]
    shift: tuple[float, ...]
    gamma: tuple[float, ...]
    noise: tuple[float, ...]
    blur: tuple[bool, ...]
    seed: int
    inverted: tuple[bool, ...] = ()
    bend: Bend | None = None
    motions: tuple[Motion | None, ...] = ()
    acquisitions: tuple[Acquisition, ...] = ()
    mistake: Mistake | None = None
    cut: Cut | None = None


def draw_change(
    augmentation: Augmentation,
    modalities: int,
    generator: np.random.Generator,
    *,
    spacing: float = 1.0,
    still: int | None = None,
) -> Change:
    """Random parameters within the bounds of an augmentation.

    Args:
        augmentation: The bounds.
        modalities: How many the task has.
        generator: The draws. A part that is switched on or off changes no draw of another part.
        spacing: Millimetres between voxels of the crop.
        still: The modality that is never moved against the reference.
    """
    for_motions, for_bend, for_acquisitions, for_mistake, for_cut, for_inverted, for_turned = generator.spawn(7)
    angles = np.radians(generator.uniform(-1, 1, 3) * augmentation.rotate)
    factor = 1.0 + generator.uniform(-1, 1) * augmentation.scale
    mirrors = np.where(generator.random(3) < np.asarray(augmentation.flip), -1.0, 1.0)
    turned = for_turned.random() < augmentation.turned
    return Change(
        matrix=rotation(angles) @ np.diag(mirrors) * factor if turned else np.diag(mirrors),
        contrast=tuple(1.0 + generator.uniform(-1, 1, modalities) * augmentation.contrast),
        shift=tuple(generator.uniform(-1, 1, modalities) * augmentation.shift),
        gamma=tuple(np.exp(generator.uniform(-1, 1, modalities) * augmentation.gamma)),
        noise=tuple(generator.uniform(0, 1, modalities) * augmentation.noise),
        blur=tuple(bool(chosen) for chosen in generator.random(modalities) < augmentation.blur),
        seed=int(generator.integers(2**31)),
        inverted=tuple(bool(chosen) for chosen in for_inverted.random(modalities) < augmentation.inverted),
        bend=draw_bend(augmentation.elastic, for_bend),
        motions=draw_motions(augmentation.misregistration, modalities, still, spacing, for_motions),
        acquisitions=draw_acquisitions(augmentation, modalities, spacing, for_acquisitions),
        mistake=draw_mistake(augmentation.stripping, modalities, spacing, for_mistake),
        cut=draw_cut(augmentation.cut_view, modalities, for_cut),
    )


def change_intensities(images: Float[Tensor, "modality x y z"], change: Change) -> Float[Tensor, "modality x y z"]:
    """Acquire each modality again, then blur, curve, contrast, shift and noise, inside its brain.

    The background stays exactly zero.
    """
    device = images.device
    generator = torch.Generator(device).manual_seed(change.seed)
    changed = []
    for index, image in enumerate(images):
        noise = torch.randn(image.shape, generator=generator, device=device) * change.noise[index]
        if change.acquisitions:
            image = acquired_again(image, change.acquisitions[index])
        brain = image != 0
        if change.blur[index]:
            image = F.avg_pool3d(F.pad(image[None, None], (1,) * 6, mode="replicate"), 3, stride=1)[0, 0]
        inverted = bool(change.inverted) and change.inverted[index]
        image = _curve(image, change.gamma[index], inverted) * change.contrast[index] + change.shift[index] + noise
        changed.append(torch.where(brain, image, 0.0))
    return torch.stack(changed)


def _curve(image: Tensor, gamma: float, inverted: bool) -> Tensor:
    """A power law between the image's darkest and brightest voxel, which keep their values."""
    low, high = image.min(), image.max()
    reach = (high - low).clamp_min(1e-6)
    part = ((image - low) / reach).clamp(0, 1)
    return (1 - (1 - part) ** gamma if inverted else part**gamma) * reach + low
