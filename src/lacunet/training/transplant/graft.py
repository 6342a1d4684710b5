"""What is drawn for a transplant."""

from dataclasses import dataclass

import numpy as np

from lacunet.training.augmentation.settings import Elastic
from lacunet.training.augmentation.space import Bend, draw_bend, rotation
from lacunet.training.transplant.settings import Transplant

_BENT = Elastic(chance=0.7, strength=0.15)


@dataclass(frozen=True)
class Graft:
    """One draw of all random parameters of a transplant.

    Attributes:
        luck: Against the chance; below it the lesion is transplanted.
        donor: Which of the donors that can give, from 0 to 1.
        lesion: Which of the donor's lesions, from 0 to 1, larger ones more often.
        matrix: From directions of the crop to directions of the donor, 3 x 3.
        bend: Of the lesion.
        seed: Of the places that are tried.
    """

    luck: float
    donor: float
    lesion: float
    matrix: np.ndarray
    bend: Bend | None
    seed: int


def draw_graft(settings: Transplant, generator: np.random.Generator) -> Graft:
    """Any rotation about z, up to 30 degrees about x and y, any mirror, and a size within the settings."""
    luck, donor, lesion = generator.random(3).tolist()
    angles = np.radians(generator.uniform(-1, 1, 3) * (30, 30, 180))
    mirrors = generator.choice((-1.0, 1.0), 3)
    size = np.exp(generator.uniform(np.log(settings.smallest), np.log(settings.largest)))
    return Graft(
        luck, donor, lesion, rotation(angles) @ np.diag(mirrors) / size, draw_bend(_BENT, generator),
        int(generator.integers(2**31)),
    )  # fmt: skip
