"""What the classifier of sequence types learns from: real and invented scans, with heads around them, seen in many
ways.

A sample starts from a skull-stripped scan at 3 mm (a real case's, or an invented patient's by another scanner) and is
changed at random: contrast, coil, noise, blur, a simulated head around the brain (fluid and dura, skull, scalp, face
and neck), thick slices in any plane, a cut field of view, a stripping that took too much. Then the package's own
`lacunet.intake.identify.features` measures it, as it would measure a hospital's.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lacunet.case import Case, Grid, box_around
from lacunet.data.phantom import anatomy, scanner, signal
from lacunet.data.phantom.phantom import brain_of, draw_patient
from lacunet.intake.identify.features import to_cubes

BASE_MM = 3.0

# Brightness of what surrounds the brain, over the brain's median: from, to.
SURROUNDINGS = {
    "t1n": {"fluid": (0.3, 0.6), "fat": (1.3, 2.6), "muscle": (0.6, 0.9), "mucosa": (0.6, 0.95)},
    "t1c": {"fluid": (0.4, 1.4), "fat": (1.2, 2.5), "muscle": (0.65, 1.1), "mucosa": (1.4, 2.5)},
    "t2w": {"fluid": (1.5, 3.2), "fat": (0.8, 2.3), "muscle": (0.2, 0.6), "mucosa": (1.5, 3.0)},
    "t2f": {"fluid": (0.1, 0.5), "fat": (0.8, 2.3), "muscle": (0.3, 0.7), "mucosa": (0.9, 2.0)},
}

# Maps that are no sequence lacunet uses: brightness by tissue.
OTHERS = {
    "adc": {"white": 0.75, "grey": 0.85, "fluid": 3.0, "vessel": 1.5, "oedema": 1.35, "solid": 1.0, "necrosis": 2.1},
    "density": {
        "white": 0.77,
        "grey": 0.86,
        "fluid": 1.0,
        "vessel": 0.5,
        "oedema": 0.87,
        "solid": 0.88,
        "necrosis": 0.95,
    },
    "anisotropy": {
        "white": 0.5,
        "grey": 0.15,
        "fluid": 0.06,
        "vessel": 0.1,
        "oedema": 0.25,
        "solid": 0.15,
        "necrosis": 0.1,
    },
    "blood": {"white": 1.0, "grey": 2.2, "fluid": 0.1, "vessel": 12.0, "oedema": 0.8, "solid": 3.5, "necrosis": 0.1},
    "ct": {
        "white": 1.030,
        "grey": 1.038,
        "fluid": 1.006,
        "vessel": 1.055,
        "oedema": 1.020,
        "solid": 1.035,
        "necrosis": 1.012,
    },
}


@dataclass(frozen=True)
class Base:
    """A skull-stripped scan at 3 mm in RAS+, its type, and whose it is; background 0."""

    person: str
    kind: str
    volume: np.ndarray


def real_bases(case: Case) -> list[Base]:
    """The scans of a real case (at 1 mm, RAS+)."""
    box = box_around(np.any(list(case.images.values()), 0))
    return [
        Base(case.person, modality, _in_cubes(image[box], image[box] > 0, case.grid.spacing))
        for modality, image in case.images.items()
    ]


def invented_bases(seed: int, scanners: int) -> Iterator[Base]:
    """An invented patient, scanned by several scanners, and maps that are none of the four sequences."""
    patient = draw_patient(seed)
    grid = anatomy.box_grid(2.0)
    contents, points, brain = brain_of(patient, seed, grid)
    generator = np.random.default_rng([seed, 77])
    person = f"phantom-{seed}"
    for _ in range(scanners):
        images = scanner.scan(contents, points, brain, signal.draw_scanner(generator), 2.0, generator)
        yield from (Base(person, kind, _cropped(image, brain)) for kind, image in images.items())
    for name in generator.permutation(list(OTHERS))[:2]:
        yield Base(person, f"other:{name}", _cropped(_map_of(OTHERS[name], contents, brain, generator), brain))


def _map_of(levels: dict[str, float], contents: scanner.Tissues, brain: np.ndarray, generator: np.random.Generator):
    values = sum(fraction * levels[name] for name, fraction in contents.fractions.items())
    volume = np.zeros(brain.shape, np.float32)
    volume[brain] = values * 300.0
    volume = ndimage.gaussian_filter(volume, generator.uniform(0.2, 0.5))
    volume += generator.normal(0, generator.uniform(0.01, 0.05) * 300.0, brain.shape)
    return np.where(brain, volume.clip(1.0), 0.0).astype(np.float32)


def _cropped(volume: np.ndarray, brain: np.ndarray) -> np.ndarray:
    box = box_around(brain)
    return _in_cubes(volume[box], brain[box], (2.0, 2.0, 2.0))


def _in_cubes(volume: np.ndarray, brain: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """At `BASE_MM`; cubes that the brain does not fill are background."""
    whole = to_cubes(brain.astype(np.float32), spacing) > 0.95
    return np.where(whole, to_cubes(volume, spacing).clip(1e-6), 0.0)


def seen(base: Base, generator: np.random.Generator) -> tuple[np.ndarray, Grid]:
    """The base as some scanner and some pipeline might have left it."""
    volume = base.volume / np.median(base.volume[base.volume > 0])
    volume = np.where(volume > 0, volume ** generator.uniform(0.8, 1.3), 0.0).astype(np.float32)
    if generator.random() < 0.65:
        volume = with_head(volume, base.kind, generator)
        volume *= np.exp(generator.uniform(0.0, 0.3) * _smooth_noise(volume.shape, 60.0, generator))
        volume = ndimage.gaussian_filter(volume, generator.uniform(0.0, 0.5))
        noise = generator.uniform(0.01, 0.07)
        volume = signal.rician(volume, noise, generator).astype(np.float32)
    else:
        brain = volume > 0
        volume = ndimage.gaussian_filter(volume, generator.uniform(0.0, 0.35))
        volume *= np.exp(generator.uniform(0.0, 0.3) * _smooth_noise(volume.shape, 60.0, generator))
        volume += generator.normal(0, generator.uniform(0.0, 0.04), volume.shape)
        if generator.random() < 0.3:
            brain = ndimage.binary_erosion(brain, iterations=int(generator.integers(1, 3)))
        volume = np.pad(np.where(brain, volume.clip(1e-3), 0.0), 4)
    volume = _with_cut_view(volume, generator)
    return _with_slices(volume, generator)


def with_head(brain_volume: np.ndarray, kind: str, generator: np.random.Generator) -> np.ndarray:
    """A head around a brain: fluid and dura, skull with marrow, scalp, and the flesh of face and neck below."""
    down = int(generator.uniform(5, 24))
    volume = np.pad(brain_volume, ((10, 10), (11, 10), (down, 10)))
    brain = volume > 0
    kinds = SURROUNDINGS[kind] if kind in SURROUNDINGS else SURROUNDINGS[str(generator.choice(list(SURROUNDINGS)))]
    level = {name: generator.uniform(*limits) for name, limits in kinds.items()}
    if generator.random() < 0.3:
        level["fat"] = generator.uniform(0.15, 0.5)  # fat saturation
    if kind == "other:ct":
        level |= {"fat": 0.9, "muscle": 1.04, "mucosa": 1.03, "fluid": 1.0}
    bone = generator.uniform(1.5, 2.5) if kind == "other:ct" else generator.uniform(0.03, 0.3)
    distance = ndimage.distance_transform_edt(~brain) * BASE_MM
    distance = distance + 1.5 * _smooth_noise(volume.shape, 20.0, generator)
    edges = np.cumsum([generator.uniform(1.5, 4.0), generator.uniform(5.0, 9.0), generator.uniform(3.0, 9.0)])
    flesh = _face_and_neck(brain, generator)
    head = np.zeros_like(volume)
    texture = _smooth_noise(volume.shape, 6.0, generator)
    head[flesh] = level["muscle"]
    head[flesh & (texture > 0.7)] = level["fat"]
    head[flesh & (texture < -1.0)] = level["mucosa"]
    head[flesh & (np.abs(texture) < 0.08)] = 0.02  # air and bone
    head = np.where(distance < edges[2], level["fat"], head)
    head = np.where(distance < edges[1], bone + level["fat"] * 0.5 * (texture > 1.2), head)
    head = np.where(distance < edges[0], level["fluid"] * (1 + 0.2 * texture), head)
    head *= 1.0 + 0.08 * _smooth_noise(volume.shape, 4.0, generator)
    return np.where(brain, volume, head.clip(0.0)).astype(np.float32)


def _face_and_neck(brain: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A cylinder below and an ellipsoid in front and below, from the brain's own box (RAS+)."""
    low, high = (
        np.array([edge.min() for edge in np.nonzero(brain)]),
        np.array([edge.max() for edge in np.nonzero(brain)]),
    )
    middle, size = (low + high) / 2, (high - low).astype(float)
    x, y, z = np.ogrid[tuple(slice(0, extent) for extent in brain.shape)]
    neck = ((x - middle[0]) / (0.38 * size[0])) ** 2 + ((y - middle[1] + 0.1 * size[1]) / (0.35 * size[1])) ** 2 < 1
    neck = neck & (z < low[2] + 0.35 * size[2])
    front, below = generator.uniform(0.15, 0.35), generator.uniform(0.0, 0.3)
    face = (
        ((x - middle[0]) / (0.42 * size[0])) ** 2
        + ((y - middle[1] - front * size[1]) / (0.4 * size[1])) ** 2
        + ((z - low[2] + below * size[2]) / (0.45 * size[2])) ** 2
    ) < 1
    return neck | face


def _with_cut_view(volume: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """In two of five scans, up to 30 % is missing at one end of one axis."""
    if generator.random() > 0.4:
        return volume
    axis = int(generator.integers(3))
    cut = int(generator.uniform(0.05, 0.30) * volume.shape[axis])
    keep = slice(cut, None) if generator.random() < 0.5 else slice(0, -cut or None)
    return volume[tuple(keep if k == axis else slice(None) for k in range(3))]


def _with_slices(volume: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, Grid]:
    """Half of the scans have slices of 3 to 7 mm along one axis, some with gaps."""
    spacing = [BASE_MM] * 3
    if generator.random() < 0.5:
        axis = int(generator.integers(3))
        step = generator.uniform(3.0, 7.0)
        width = step * generator.uniform(0.7, 1.0)
        smooth = ndimage.uniform_filter1d(volume, max(round(width / BASE_MM), 1), axis=axis)
        slices = np.arange(0, (volume.shape[axis] - 1) * BASE_MM, step) / BASE_MM
        volume = np.take(smooth, np.round(slices).astype(int), axis=axis)
        spacing[axis] = step
    x, y, z = volume.shape
    return np.ascontiguousarray(volume * generator.uniform(50, 2000)), Grid((x, y, z), np.diag([*spacing, 1.0]))


def _smooth_noise(shape: tuple[int, ...], length_mm: float, generator: np.random.Generator) -> np.ndarray:
    """A random field: mean 0, standard deviation 1, drawn on a lattice of half the correlation length."""
    step = max(length_mm / 2.0 / BASE_MM, 1.0)
    lattice = [int(np.ceil(size / step)) + 4 for size in shape]
    rough = ndimage.gaussian_filter(generator.standard_normal(lattice, dtype=np.float32), 1.0, mode="wrap")
    rough /= rough.std()
    return ndimage.affine_transform(rough, [1.0 / step] * 3, 1.0, shape, order=1, mode="nearest")
