"""Scans changed in one way at a time, for `stress.py`: what hospitals send, made from cases that have none of it.

The functions are written for this test alone and share nothing with the augmentation of trainings, so that a training
cannot learn the test. All of them keep the grid, and what is 0 outside the brain stays 0 unless a change is about it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from lacunet.case import Case, Grid, box_around

Images = Mapping[str, np.ndarray]
"""By modality, on one grid."""


@dataclass(frozen=True)
class Change:
    """One way in which scans are changed.

    Attributes:
        name: In tables.
        words: What is done, for people.
        make: A case and a generator -> the changed case.
    """

    name: str
    words: str
    make: Callable[[Case, np.random.Generator], Case]


def without_surroundings(case: Case) -> Case:
    """The case without what lies more than 12 mm from its brain and its reference.

    Masks stay as they are, and everything takes a third of the time.
    """
    filled = _brain(case) if case.reference is None else _brain(case) | (case.reference != 0)
    x, y, z = (int(12 / size) for size in case.grid.spacing)
    box = box_around(filled, (x, y, z))
    affine = case.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    return replace(
        case,
        images={modality: image[box].copy() for modality, image in case.images.items()},
        grid=Grid((box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start), affine),
        reference=None if case.reference is None else case.reference[box].copy(),
    )


def changed(case: Case, change: Change, seed: int = 0) -> Case:
    """The case after a change; seed, the case's name and the change decide what is drawn."""
    letters = np.frombuffer(f"{case.name} {change.name}".encode(), np.uint8)
    return change.make(case, np.random.default_rng([seed, *map(int, letters)]))


def shaded(case: Case, generator: np.random.Generator, factor: float) -> Case:
    """Each scan times a smooth field of its own, `factor` times brighter at its 95th percentile than at its 5th."""

    def one(image: np.ndarray) -> np.ndarray:
        field = smooth_field(image.shape, generator, knots=3)
        low, high = np.percentile(field[image != 0], [5, 95])
        return image * np.exp(np.log(factor) * (field - low) / (high - low))

    return _each(case, one)


def thick_slices(case: Case, generator: np.random.Generator, millimetres: float) -> Case:
    """Means over slabs along z, then interpolated between their middles, as thick slices on a fine grid are."""
    return _each(case, lambda image: _blurred(image, case.grid.spacing, (0.0, 0.0, millimetres)))


def low_resolution(case: Case, generator: np.random.Generator, millimetres: float) -> Case:
    """Means over cubes, then interpolated between their middles."""
    return _each(case, lambda image: _blurred(image, case.grid.spacing, (millimetres,) * 3))


def other_contrast(case: Case, generator: np.random.Generator, gamma: float) -> Case:
    """Grey values to the power of `gamma` or of 1 / `gamma`, each scan by its own lot; the brightest stay."""

    def one(image: np.ndarray) -> np.ndarray:
        power = gamma if generator.random() < 0.5 else 1 / gamma
        brightest = np.percentile(image[image > 0], 99.5)
        return np.asarray(brightest * (np.maximum(image, 0) / brightest) ** power)

    return _each(case, one)


def noisy(case: Case, generator: np.random.Generator, share: float) -> Case:
    """Rician noise with a deviation of a share of the brain's median grey value."""

    def one(image: np.ndarray) -> np.ndarray:
        deviation = share * float(np.median(image[image > 0]))
        real, imaginary = generator.normal(0, deviation, (2, *image.shape))
        return np.asarray(np.hypot(image + real, imaginary))

    return _each(case, one)


def misregistered(case: Case, generator: np.random.Generator, millimetres: float) -> Case:
    """Every scan but T1ce, on which tumours are drawn, moved in a direction of its own. The reference stays."""
    images = {}
    for modality, image in case.images.items():
        direction = generator.normal(size=3)
        step = millimetres * direction / np.linalg.norm(direction) / np.asarray(case.grid.spacing)
        images[modality] = image if modality == "t1c" else _moved(image, step)
    return replace(case, images=images)


def cut_field(case: Case, generator: np.random.Generator, share: float) -> Case:
    """A share of the brain's height is missing in every scan and in the reference: the end farther from the tumour."""
    assert case.reference is not None
    side = box_around(_brain(case))[2]
    height = round(share * (side.stop - side.start))
    middle = np.argwhere(case.reference)[:, 2].mean() if case.reference.any() else side.start
    lower = slice(None, side.start + height)
    upper = slice(side.stop - height, None)
    gone = lower if middle - side.start > side.stop - middle else upper
    images = {modality: image.copy() for modality, image in case.images.items()}
    reference = case.reference.copy()
    for array in (*images.values(), reference):
        array[:, :, gone] = 0
    return replace(case, images=images, reference=reference)


def skull_rests(case: Case, generator: np.random.Generator, share: float) -> Case:
    """A rim of 5 mm beyond a gap of 3 mm, over a share of the surface: bright as fat is, less in FLAIR."""
    brain = _brain(case)
    away = ndimage.distance_transform_edt(~brain, sampling=case.grid.spacing)
    rim = (away > 3) & (away <= 8)
    field = smooth_field(brain.shape, generator, knots=5)
    left = rim & (field > np.quantile(field[rim], 1 - share))
    bright = {"t1n": 1.5, "t1c": 1.5, "t2w": 1.2, "t2f": 0.9}
    images = {}
    for modality, image in case.images.items():
        level = bright.get(modality, 1.2) * float(np.percentile(image[image > 0], 90))
        values = level * np.exp(0.2 * generator.normal(size=image.shape))
        images[modality] = np.where(left, values, image).astype(np.float32)
    return replace(case, images=images)


CHANGES = (
    Change("shading 1.35", "each scan 1.35 times brighter here than there", lambda c, g: shaded(c, g, 1.35)),
    Change("shading 1.8", "the same, 1.8 times", lambda c, g: shaded(c, g, 1.8)),
    Change("shading 2.7", "the same, 2.7 times", lambda c, g: shaded(c, g, 2.7)),
    Change("6 mm slices", "slices of 6 mm, interpolated", lambda c, g: thick_slices(c, g, 6.0)),
    Change("3 mm voxels", "voxels of 3 mm, interpolated", lambda c, g: low_resolution(c, g, 3.0)),
    Change("gamma", "grey values to the power of 1.5 or 1 / 1.5", lambda c, g: other_contrast(c, g, 1.5)),
    Change("noise", "Rician noise of a tenth of the median", lambda c, g: noisy(c, g, 0.1)),
    Change("2 mm off", "every scan but T1ce moved by 2 mm, each its own way", lambda c, g: misregistered(c, g, 2.0)),
    Change("cut field", "30 % of the brain's height missing, away from the tumour", lambda c, g: cut_field(c, g, 0.3)),
    Change("skull rests", "a rim of skull and skin left over 30 % of the surface", lambda c, g: skull_rests(c, g, 0.3)),
)


def smooth_field(shape: tuple[int, ...], generator: np.random.Generator, knots: int) -> np.ndarray:
    """Normal numbers on a lattice of `knots` points a side, between them cubic."""
    drawn = generator.normal(size=(knots,) * 3)
    places = [np.linspace(0, knots - 1, size) for size in shape]
    for axis, place in enumerate(places):  # one axis after the other, which is quick
        drawn = np.moveaxis(np.moveaxis(drawn, axis, -1) @ _cubic(knots, place).T, -1, axis)
    return drawn


def _cubic(knots: int, places: np.ndarray) -> np.ndarray:
    """What each knot gives to each place, by a cubic spline."""
    return np.stack([ndimage.map_coordinates(one, [places], order=3, mode="nearest") for one in np.eye(knots)], axis=1)


def _each(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> Case:
    """Every scan changed inside its brain; what would become 0 there stays just above it."""
    images = {}
    for modality, image in case.images.items():
        least = 1e-3 * float(np.median(image[image > 0]))
        images[modality] = np.where(image != 0, np.maximum(change(image), least), 0).astype(np.float32)
    return replace(case, images=images)


def _brain(case: Case) -> np.ndarray:
    brain: np.ndarray = np.logical_or.reduce([image != 0 for image in case.images.values()])
    return brain


def _blurred(image: np.ndarray, spacing: tuple[float, float, float], millimetres: tuple[float, ...]) -> np.ndarray:
    """Means over blocks of this size (0: of a voxel), of brain alone, then linear between the blocks' middles."""
    weight = (image != 0).astype(np.float32)
    total = image * weight
    for axis, (size, step) in enumerate(zip(millimetres, spacing, strict=True)):
        count = round(size / step)
        if count > 1:
            total, weight = (_over_blocks(array, axis, count) for array in (total, weight))
    return np.asarray(total / np.maximum(weight, 1e-6))


def _over_blocks(array: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Means over so many voxels along an axis, interpolated back to every voxel."""
    array = np.moveaxis(array, axis, -1)
    length = array.shape[-1]
    padded = np.pad(array, [(0, 0), (0, 0), (0, -length % count)])
    means = padded.reshape(*padded.shape[:-1], -1, count).mean(axis=-1)
    places = np.clip((np.arange(length) - (count - 1) / 2) / count, 0, means.shape[-1] - 1)
    below = np.minimum(places.astype(int), means.shape[-1] - 1)
    above = np.minimum(below + 1, means.shape[-1] - 1)
    share = (places - below).astype(np.float32)
    return np.moveaxis(means[..., below] * (1 - share) + means[..., above] * share, -1, axis)


def _moved(image: np.ndarray, step: np.ndarray) -> np.ndarray:
    """By a fraction of voxels, without a dark rim: grey values are means of brain alone."""
    brain = ndimage.shift((image != 0).astype(np.float32), step, order=1)
    grey = ndimage.shift(image, step, order=1)
    return np.where(brain > 0.5, np.maximum(grey / np.maximum(brain, 1e-6), 1e-6), 0).astype(np.float32)
