"""Brains for tests: the average one, moved, turned and stretched."""

import numpy as np
from scipy.spatial.transform import Rotation

from lacunet.case import Grid
from lacunet.data.phantom.anatomy import load_atlas
from lacunet.description.pose import pose_of

SPACING = 3.0
RADIUS = 8.0


def moved(degrees: tuple[float, float, float], scale: tuple[float, float, float], shift: tuple[float, float, float]):
    """From mm of the average brain to mm of a patient."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(scale)
    matrix[:3, 3] = shift
    return matrix


class Patient:
    """The average brain after a motion, in voxels of 3 mm."""

    def __init__(self, motion: np.ndarray) -> None:
        self.motion = motion
        affine = np.diag([SPACING] * 3 + [1.0])
        affine[:3, 3] = motion[:3, :3] @ (0, -20, 0) + motion[:3, 3] - 110
        self.grid = Grid((74, 76, 74), affine)
        atlas = load_atlas()
        self.at = self.in_average(self.grid.places(np.indices(self.grid.shape).reshape(3, -1)))
        self.brain = (atlas.sample(atlas.brain, self.at) > 0.5).reshape(self.grid.shape)
        self.pose = pose_of(self.brain, self.grid)

    def in_average(self, places: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.motion[:3, :3], places - self.motion[:3, 3:])

    def ball(self, centre: tuple[float, float, float], radius: float = RADIUS) -> np.ndarray:
        inside = ((self.at - np.array(centre)[:, None]) ** 2).sum(axis=0) <= radius**2
        return inside.reshape(self.grid.shape)
