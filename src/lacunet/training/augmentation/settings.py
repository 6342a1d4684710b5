"""The section `[augment]` of a recipe: how far training crops may be moved and changed."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Chance = Annotated[float, Field(ge=0, le=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Shading(_Settings):
    """Smooth brightness that a coil leaves in an image: intensities times exp(field); see shading.py.

    Attributes:
        chance: That a modality is shaded.
        strength: Largest deviation of the field over a crop: 0.35 makes the brightest parts about 4 times the darkest.
    """

    chance: Chance = 0.0
    strength: float = Field(0.35, gt=0, le=1)


class Slices(_Settings):
    """Coarser voxels than the crop's; see acquisition.py.

    Attributes:
        chance: That a modality is made coarser.
        thickest: Largest thickness of a slice, mm.
        isotropic: Chance that such a modality is made coarser along all axes, by at most half of that, instead of one.
    """

    chance: Chance = 0.0
    thickest: float = Field(6.0, gt=0, le=20)
    isotropic: Chance = 0.25


class Rician(_Settings):
    """Noise of a magnitude image, which makes dark tissue brighter; see acquisition.py.

    Attributes:
        chance: That a modality is made noisy.
        strength: Largest deviation of each channel of the receiver, in standard deviations of the brain.
    """

    chance: Chance = 0.0
    strength: float = Field(0.3, gt=0, le=2)


class Ghosts(_Settings):
    """Displaced, faint copies of a moving head; see ghosts.py.

    Attributes:
        chance: That a modality has them.
        strength: Largest brightness of the copies together, relative to the image.
    """

    chance: Chance = 0.0
    strength: float = Field(0.2, gt=0, le=0.5)


class Misregistration(_Settings):
    """Scans that do not quite lie on each other; see space.py.

    Attributes:
        chance: That a modality is moved against the reference. T1ce, to which enhancing rims belong, never is.
        shift: Largest shift along each axis, mm.
        rotate: Largest rotation about each axis, degrees.
    """

    chance: Chance = 0.0
    shift: float = Field(2.0, ge=0, le=20)
    rotate: float = Field(2.0, ge=0, le=30)


class Elastic(_Settings):
    """Smooth bending of images and reference together; see space.py.

    Attributes:
        chance: That a crop is bent.
        strength: Largest deviation of the displacement, relative to the distance between control points; above 0.25
            some places fold over.
    """

    chance: Chance = 0.0
    strength: float = Field(0.15, gt=0, le=0.25)


class Stripping(_Settings):
    """Mistakes of skull stripping, the same in all modalities; see stripping.py.

    Attributes:
        chance: That a crop has any.
        eroded: Chance that brain is missing at its edge, instead of skull and dura being left around it.
        depth: Largest depth of either, mm.
    """

    chance: Chance = 0.0
    eroded: Chance = 0.4
    depth: float = Field(9.0, gt=0, le=30)


class CutView(_Settings):
    """A field of view that ends inside the brain; see field_of_view.py.

    Attributes:
        chance: That a crop's case has one.
        depth: Largest depth of the missing slab, relative to the case's extent.
        together: Chance that all modalities are cut at the same place, instead of one being cut.
    """

    chance: Chance = 0.0
    depth: float = Field(0.3, gt=0, le=0.9)
    together: Chance = 0.3


class Augmentation(_Settings):
    """How far training images may be moved and changed. Zero switches a part off.

    Attributes:
        flip: Chance to mirror along x, y and z.
        turned: Chance that a crop is rotated and changed in size. The others keep their voxels, and are made in a
            fraction of the time.
        rotate: Largest rotation about each axis, degrees.
        scale: Largest relative change of size: 0.15 means 0.85 to 1.15.
        contrast: Largest relative change of each modality's contrast.
        shift: Largest change of each modality's mean, in standard deviations.
        gamma: Largest exponent of a change of each modality's curve, as a power of e: 0.3 means 0.74 to 1.35.
        inverted: Chance that a modality's curve is bent from its bright end: the power law of the inverted image.
        noise: Largest deviation of added Gaussian noise, in standard deviations of the image.
        blur: Chance to blur a modality slightly, as thick slices do.
        shading: See `Shading`.
        slices: See `Slices`.
        rician: See `Rician`.
        ghosts: See `Ghosts`.
        misregistration: See `Misregistration`.
        elastic: See `Elastic`.
        stripping: See `Stripping`.
        cut_view: See `CutView`.
    """

    flip: tuple[Chance, Chance, Chance] = (0.5, 0.5, 0.5)
    turned: Chance = 1.0
    rotate: float = Field(15.0, ge=0, le=180)
    scale: float = Field(0.15, ge=0, lt=1)
    contrast: float = Field(0.15, ge=0, lt=1)
    shift: float = Field(0.15, ge=0)
    gamma: float = Field(0.25, ge=0)
    inverted: Chance = 0.0
    noise: float = Field(0.1, ge=0)
    blur: float = Field(0.1, ge=0, le=1)
    shading: Shading = Shading()
    slices: Slices = Slices()
    rician: Rician = Rician()
    ghosts: Ghosts = Ghosts()
    misregistration: Misregistration = Misregistration()
    elastic: Elastic = Elastic()
    stripping: Stripping = Stripping()
    cut_view: CutView = CutView()


NO_AUGMENTATION = Augmentation(
    flip=(0.0, 0.0, 0.0), rotate=0.0, scale=0.0, contrast=0.0, shift=0.0, gamma=0.0, noise=0.0, blur=0.0
)
