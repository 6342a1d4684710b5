"""The average brain that ships with the package, and how it is deformed into an individual one.

Everything is computed on one working grid of 2 mm over a fixed box, or at points given in mm, so that a patient is the
same at every spacing of the scans. Coordinates are RAS+ in mm, as in the ICBM 152 templates.
"""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from lacunet.case import Grid

BOX_CORNER = (-88.0, -120.0, -82.0)
"""Lower corner of the box that every patient lies in, mm."""
BOX_SIZE = (176.0, 208.0, 176.0)
"""Extent of that box, mm; at 1, 2 and 4 mm every side is a whole number of voxels."""
WORKING_SPACING = 2.0
"""Spacing of the working grid, mm: fields are drawn and tumours grow on it."""

Field = Float[np.ndarray, "x y z"]
Vectors = Float[np.ndarray, "3 x y z"]
Points = Float[np.ndarray, "3 n"]


@dataclass(frozen=True)
class Shape:
    """How a patient's brain differs from the average one.

    Attributes:
        scale: Along right, anterior, superior; 1 = the average.
        angles: Rotations about the three axes, radians.
        bend: Standard deviation of the wide displacements (a correlation length of 16 mm), mm.
        fold: Standard deviation of the narrow displacements (5 mm), mm.
        gyri: How far the tissue at a point may differ from the average brain's (log-odds).
        ventricles: How far the walls of the ventricles are pushed out, mm.
        atrophy: Log-odds in favour of cerebrospinal fluid: 0 = the blurred sulci of the average, 3 = wide sulci.
    """

    scale: tuple[float, float, float]
    angles: tuple[float, float, float]
    bend: float
    fold: float
    gyri: float
    ventricles: float
    atrophy: float


@dataclass(frozen=True)
class Atlas:
    """The average brain: fractions in 0..1 on a regular grid. What is neither white nor grey in the brain is fluid."""

    white: Field
    grey: Field
    brain: Field
    origin: np.ndarray
    spacing: float

    def sample(self, field: Field, points: Float[np.ndarray, "3 ..."]) -> Float[np.ndarray, "..."]:
        """A map at points in mm, interpolated linearly; 0 outside."""
        indices = (points - _column(self.origin, points.ndim)) / self.spacing
        return np.asarray(ndimage.map_coordinates(field, indices, order=1, output=np.float32))


@dataclass(frozen=True)
class Body:
    """One person's head on the working grid.

    Attributes:
        atlas: The average brain it was made from.
        places: Where in the atlas each voxel comes from, mm.
        preference: Log-odds added for white, grey and fluid: they make the gyri individual.
        brain: The brain mask as a fraction in 0..1.
        depth: Distance from the outside of the brain, mm.
    """

    atlas: Atlas
    places: Vectors
    preference: Vectors
    brain: Field
    depth: Field

    def tissues(self, points: Points) -> Float[np.ndarray, "3 n"]:
        """Fractions of white matter, grey matter and fluid at points in mm; they add up to 1."""
        places = np.stack([sample_field(axis, points) for axis in self.places])
        white = self.atlas.sample(self.atlas.white, places)
        grey = self.atlas.sample(self.atlas.grey, places)
        average = np.stack([white, grey, 1.0 - white - grey]).clip(1e-3, 1.0)
        preference = np.stack([sample_field(axis, points) for axis in self.preference])
        return _sharpen(average, preference)

    def working_tissues(self) -> Vectors:
        """The same on the working grid; outside the brain all three are 0."""
        places = grid_places(box_grid(WORKING_SPACING))
        inside = self.brain > 0.5
        whole = np.zeros_like(places)
        whole[:, inside] = self.tissues(places[:, inside])
        return whole


def load_atlas() -> Atlas:
    """The average brain (`anatomy.npz`, made by scripts/release/make_anatomy.py), mirrored to both halves."""
    with (files("lacunet.data.phantom") / "anatomy.npz").open("rb") as stream, np.load(stream) as stored:
        halves = {name: stored[name].astype(np.float32) for name in ("white", "grey", "brain")}
        origin, spacing = stored["origin"], float(stored["spacing"])
    white, grey, brain = (np.concatenate([half, half[-2::-1]]) for half in halves.values())
    return Atlas(white / 100.0, grey / 100.0, brain, origin, spacing)


def box_grid(spacing: float) -> Grid:
    """The grid of isotropic voxels that fills the box."""
    x, y, z = (int(size / spacing) for size in BOX_SIZE)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = np.array(BOX_CORNER) + spacing / 2
    return Grid((x, y, z), affine)


def grid_places(grid: Grid) -> Vectors:
    """The centre of every voxel of an axis-aligned grid, mm."""
    axes = [grid.affine[k, 3] + grid.affine[k, k] * np.arange(grid.shape[k]) for k in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def sample_field(field: Field, points: Points) -> Float[np.ndarray, " n"]:
    """A field of the working grid at points in mm, interpolated linearly; the border value outside."""
    corner = _column(np.array(BOX_CORNER) + WORKING_SPACING / 2, 2)
    indices = (points - corner) / WORKING_SPACING
    return np.asarray(ndimage.map_coordinates(field, indices, order=1, output=np.float32, mode="nearest"))


def smooth_noise(generator: np.random.Generator, length: float) -> Field:
    """A random field on the working grid: mean 0, standard deviation 1, correlation length in mm.

    It is drawn on a lattice as coarse as the length allows, which is fast for smooth fields.
    """
    step = max(length / 2.0, WORKING_SPACING)
    lattice = [int(np.ceil(size / step)) + 5 for size in BOX_SIZE]
    rough = generator.standard_normal(lattice, dtype=np.float32)
    smooth = ndimage.gaussian_filter(rough, length / step, truncate=3.0, mode="wrap")
    smooth /= smooth.std()
    zoom, shape = WORKING_SPACING / step, box_grid(WORKING_SPACING).shape
    if zoom == 1.0:
        return np.asarray(smooth[: shape[0], : shape[1], : shape[2]])
    return np.asarray(ndimage.affine_transform(smooth, [zoom] * 3, 2.0, shape, order=1, mode="nearest"))


def bulge(places: Float[np.ndarray, "3 ..."], centre: np.ndarray, radius: float, shift: float) -> np.ndarray:
    """Displacement away from a centre, largest (`shift` mm) at `radius` mm, fading beyond.

    The mapping is one-to-one as long as `shift` is below 0.6 `radius`.
    """
    offset = places - _column(centre, places.ndim)
    squared = (offset**2).sum(0) / radius**2
    return np.asarray(offset * (shift / radius) * np.exp(0.5 * (1.0 - squared)), dtype=np.float32)


def taper(depth: np.ndarray) -> np.ndarray:
    """0 at the skull, which does not move, rising smoothly to 1 at a depth of 20 mm."""
    part = (depth / 20.0).clip(0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part), dtype=np.float32)


def make_body(shape: Shape, generator: np.random.Generator) -> Body:
    """Deform the average brain: affine, smooth elastic displacements, ventricles, individual gyri."""
    atlas = load_atlas()
    grid = box_grid(WORKING_SPACING)
    places = grid_places(grid)
    elastic = np.stack(
        [shape.bend * smooth_noise(generator, 16.0) + shape.fold * smooth_noise(generator, 5.0) for _ in range(3)]
    )
    places = np.tensordot(_from_patient_to_atlas(shape), places + elastic, axes=1).astype(np.float32)
    brain = atlas.sample(atlas.brain, places)
    depth = ndimage.distance_transform_edt(brain > 0.5).astype(np.float32) * WORKING_SPACING
    for side in (-14.0, 14.0):
        places = places - taper(depth) * bulge(places, np.array([side, -12.0, 18.0]), 14.0, shape.ventricles)
    preference = shape.gyri * np.stack([smooth_noise(generator, 3.0) for _ in range(3)])
    preference[2] += shape.atrophy
    return Body(atlas, places, preference.astype(np.float32), brain, depth)


def _sharpen(average: Float[np.ndarray, "3 n"], preference: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
    """One brain has sharper borders than the average of many: a softmax of the log-odds, 2.5 times as steep."""
    odds = np.exp(2.5 * np.log(average) + preference)
    return np.asarray(odds / odds.sum(0), dtype=np.float32)


def _from_patient_to_atlas(shape: Shape) -> np.ndarray:
    """The matrix from a point of the patient to the point of the atlas: undo the rotation, then the scale."""
    a, b, c = shape.angles
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.linalg.inv(about_z @ about_y @ about_x @ np.diag(shape.scale))


def _column(vector: np.ndarray, dimensions: int) -> np.ndarray:
    """A vector shaped to broadcast over an array whose first axis is the coordinate."""
    return np.asarray(vector, dtype=np.float32).reshape(3, *[1] * (dimensions - 1))
