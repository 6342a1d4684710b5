"""One scan of a case made bad, for `corruption.py`: ghosts, shading, another sequence, another place, cut, noise.

The others and the reference stay as they are. The case's name, the sequence and the corruption decide what is drawn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from lacunet.case import Case
from lacunet.training.augmentation.field_of_view import Cut, missing_voxels
from lacunet.training.augmentation.ghosts import Ghost, with_ghosts
from lacunet.training.augmentation.space import Motion, cut_out
from scan_changes import noisy, shaded

TAKEN_FOR: Mapping[str, tuple[str, str]] = {
    "t1n": ("t1c", "t2w"),
    "t1c": ("t1n", "t2f"),
    "t2w": ("t2f", "t1n"),
    "t2f": ("t2w", "t1c"),
}
"""The sequence that lies under this one's name: first one that looks much like it, then one that does not."""

Make = Callable[[Case, str, np.random.Generator], np.ndarray]
"""A case, the sequence that is made bad and a generator -> its image."""


@dataclass(frozen=True)
class Corruption:
    """One way in which a scan is bad.

    Attributes:
        kind: `motion`, `shading`, `identity`, `place`, `cut`, `noise`.
        strength: In tables.
        words: What is done, for people.
        make: Does it.
    """

    kind: str
    strength: str
    words: str
    make: Make

    @property
    def name(self) -> str:
        """Of a folder, and on the command line."""
        return f"{self.kind} {self.strength}"


def corrupted(case: Case, modality: str, corruption: Corruption, seed: int = 0) -> Case:
    """The case with one bad scan.

    Raises:
        KeyError: the case lacks the sequence, or the one that should lie under its name.
    """
    letters = np.frombuffer(f"{case.name} {modality} {corruption.name}".encode(), np.uint8)
    image = corruption.make(case, modality, np.random.default_rng([seed, *map(int, letters)]))
    return replace(case, images={**case.images, modality: image.astype(np.float32)})


def moved_head(case: Case, modality: str, generator: np.random.Generator, strength: float) -> np.ndarray:
    """Copies of the brain along one direction, so bright together: near ones (jerks) or far ones (periodic motion)."""
    image = case.images[modality]
    parts, jerk = int(generator.integers(2, 5)), float(generator.uniform(0.02, 0.06))
    shifts = tuple(copy / parts for copy in range(1, parts)) if generator.random() < 0.5 else (-jerk, jerk)
    ghost = Ghost(int(generator.integers(2)), shifts, strength)
    brain = image != 0
    return _inside(image, with_ghosts(torch.from_numpy(image), torch.from_numpy(brain), ghost).numpy())


def uneven(case: Case, modality: str, generator: np.random.Generator, factor: float) -> np.ndarray:
    """So many times brighter in one place than in another."""
    return shaded(case.only((modality,)), generator, factor).images[modality]


def mistaken(case: Case, modality: str, generator: np.random.Generator, unlike: bool) -> np.ndarray:
    """Another sequence under this one's name."""
    return case.images[TAKEN_FOR[modality][unlike]]


def misplaced(
    case: Case, modality: str, generator: np.random.Generator, millimetres: float, degrees: float
) -> np.ndarray:
    """Moved in a direction and turned about an axis that are drawn."""
    direction, axis = generator.normal(size=(2, 3))
    shift = millimetres * direction / np.linalg.norm(direction) / np.asarray(case.grid.spacing)
    angles = np.radians(degrees) * axis / np.linalg.norm(axis)
    image = case.images[modality]
    x, y, z = image.shape
    motion = Motion(tuple(map(float, angles)), tuple(map(float, shift)))
    middle = (np.asarray(image.shape) - 1) / 2
    moved, _ = cut_out(image[None], np.zeros(image.shape, np.uint8), middle, np.eye(3), (x, y, z), motions=[motion])
    return moved[0].numpy()


def cut_off(case: Case, modality: str, generator: np.random.Generator, share: float) -> np.ndarray:
    """A share of the scan's height is missing, at its lower or its upper end."""
    image = case.images[modality]
    up = 1.0 if generator.random() < 0.5 else -1.0
    inside = np.flatnonzero((image != 0).any(axis=(0, 1)))
    brain = image[:, :, inside[0] : inside[-1] + 1]
    middle = (np.asarray(brain.shape) - 1) / 2
    x, y, z = brain.shape
    gone = missing_voxels(Cut((0.0, 0.0, up), share, None), middle, np.eye(3), (x, y, z), (x, y, z))
    left = image.copy()
    left[:, :, inside[0] : inside[-1] + 1] *= ~gone.numpy()
    return left


def grainy(case: Case, modality: str, generator: np.random.Generator, share: float) -> np.ndarray:
    """Rician noise with a deviation of this share of the brain's median grey value."""
    return noisy(case.only((modality,)), generator, share).images[modality]


CORRUPTIONS = (
    Corruption("motion", "0.3", "ghosts with 0.3 of the brightness", lambda c, m, g: moved_head(c, m, g, 0.3)),
    Corruption("motion", "0.6", "ghosts with 0.6 of the brightness", lambda c, m, g: moved_head(c, m, g, 0.6)),
    Corruption("shading", "2.7", "2.7 times brighter here than there", lambda c, m, g: uneven(c, m, g, 2.7)),
    Corruption("shading", "6", "6 times brighter here than there", lambda c, m, g: uneven(c, m, g, 6.0)),
    Corruption("identity", "like", "a similar sequence under its name", lambda c, m, g: mistaken(c, m, g, False)),
    Corruption("identity", "unlike", "another sequence under its name", lambda c, m, g: mistaken(c, m, g, True)),
    Corruption("place", "8 mm", "moved by 8 mm, turned by 5 degrees", lambda c, m, g: misplaced(c, m, g, 8.0, 5.0)),
    Corruption("place", "25 mm", "moved by 25 mm, turned by 15", lambda c, m, g: misplaced(c, m, g, 25.0, 15.0)),
    Corruption("cut", "0.3", "30 % of the height missing", lambda c, m, g: cut_off(c, m, g, 0.3)),
    Corruption("cut", "0.6", "60 % of the height missing", lambda c, m, g: cut_off(c, m, g, 0.6)),
    Corruption("noise", "0.3", "noise of 0.3 of the median", lambda c, m, g: grainy(c, m, g, 0.3)),
    Corruption("noise", "1", "noise as large as the median", lambda c, m, g: grainy(c, m, g, 1.0)),
)


def _inside(image: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """What is 0 outside the brain stays 0, and nothing inside becomes 0."""
    least = 1e-3 * float(np.median(image[image > 0]))
    return np.where(image != 0, np.maximum(changed, least), 0)
