"""Invented patients: the ICBM 152 average brain, deformed; a tumour that grows in it; four scans of it.

For tests, the documentation and the demo, which then need no download. docs/phantoms.md says what they cannot do.

    case = make_phantom(seed=7)
    write_phantoms(Path("phantoms"), count=20)

All random numbers come from PCG64 streams seeded by (seed, purpose): a seed is the same patient at any spacing.
"""

import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lacunet.case import Case, Grid
from lacunet.data.nifti import nifti_image
from lacunet.data.phantom import anatomy, scanner, signal, tumour
from lacunet.errors import OutputError, UsageError
from lacunet.files import whole_folder
from lacunet.task import GLIOMA, Task


@dataclass(frozen=True)
class PhantomVisit:
    """One visit of an invented patient.

    Attributes:
        number: Ends the name of the case: `phantom-00007-001`. Noise differs from visit to visit.
        growth: Volume of the tumour, as a multiple of that at the first visit.
        degrees: How the head is turned about the x, the y and then the z axis through the middle of the box.
        shift: Where the head is moved then, mm.
    """

    number: int = 0
    growth: float = 1.0
    degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def places_in_person(self, points: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "3 n"]:
        """Where points of the scan lie in a head that is neither turned nor moved, mm."""
        if not any((*self.degrees, *self.shift)):
            return points
        middle = np.array(anatomy.BOX_CORNER) + np.array(anatomy.BOX_SIZE) / 2
        turned = Rotation.from_euler("xyz", self.degrees, degrees=True).inv()
        back = turned.apply(points.T - middle - np.array(self.shift)) + middle
        return np.asarray(back.T, dtype=np.float32)


FIRST_VISIT = PhantomVisit()


@dataclass(frozen=True)
class Patient:
    """The random parameters of an invented patient, drawn before anything is computed."""

    shape: anatomy.Shape
    growth: tumour.Growth
    scanner: signal.Scanner


def draw_patient(seed: int) -> Patient:
    """The parameters of a patient. One in five does not enhance; one in five has two or three foci."""
    shape, growth, scanner = (_stream(seed, purpose) for purpose in (0, 1, 2))
    return Patient(_draw_shape(shape), _draw_growth(growth), signal.draw_scanner(scanner))


def make_phantom(
    seed: int, task: Task = GLIOMA, spacing: float = 1.0, tumour: bool = True, visit: PhantomVisit = FIRST_VISIT
) -> Case:
    """An invented patient with all four sequences and a reference mask.

    Args:
        seed: Which patient, 0..99999. A seed gives the same patient at any spacing, and the same bytes at the same one.
        task: Must have no other modalities and labels than `GLIOMA`.
        spacing: Of the isotropic voxels, mm: 1 is what BraTS has (176 x 208 x 176 voxels); 4 is enough for many tests.
        tumour: False: the same person, healthy, with an empty reference.
        visit: Which visit: how far the tumour has grown, and how the head lies.

    Returns:
        A case in RAS+, background 0, whole numbers as a scanner stores them, labels as inside lacunet.

    Raises:
        UsageError: the seed or the spacing (0.5..8 mm) is out of range, or the task has other modalities or labels.
    """
    _check(seed, task, spacing)
    patient = draw_patient(seed)
    patient = replace(patient, growth=replace(patient.growth, volume=patient.growth.volume * visit.growth))
    grid = anatomy.box_grid(spacing)
    contents, points, brain = (brain_of if tumour else healthy_brain_of)(patient, seed, grid, visit)
    images = scanner.scan(contents, points, brain, patient.scanner, spacing, _noise_stream(seed, visit))
    reference = np.zeros(grid.shape, np.uint8)
    reference[brain] = contents.labels
    return Case(
        name=_name(seed, tumour, visit),
        person=f"phantom-{seed:05d}" if tumour else _name(seed, tumour, visit),  # as file names are read
        images={modality: images[modality] for modality in task.modalities},
        grid=grid,
        native=grid,
        reference=reference,
        notes=("invented patient" if tumour else "invented brain without a tumour",),
    )


def brain_of(
    patient: Patient, seed: int, grid: Grid, visit: PhantomVisit = FIRST_VISIT
) -> tuple[scanner.Tissues, np.ndarray, np.ndarray]:
    """The tissues of the patient's brain on a grid of `anatomy.box_grid`, before they are scanned.

    Returns:
        The tissues of the voxels in the brain, their centres in mm (3 x n) in a head that is not moved, and the mask of
        the brain.
    """
    body = anatomy.make_body(patient.shape, _stream(seed, 3))
    points, brain = _brain_points(body, grid, visit)
    return _contents(body, points, patient.growth, _stream(seed, 4)), points, brain


def healthy_brain_of(
    patient: Patient, seed: int, grid: Grid, visit: PhantomVisit = FIRST_VISIT
) -> tuple[scanner.Tissues, np.ndarray, np.ndarray]:
    """As `brain_of`, before any tumour grew."""
    body = anatomy.make_body(patient.shape, _stream(seed, 3))
    points, brain = _brain_points(body, grid, visit)
    white, grey, fluid = body.tissues(points)
    vessel = anatomy.sample_field(_vessels(body, _stream(seed, 6)), points) * fluid
    fractions = {"white": white, "grey": grey, "fluid": fluid - vessel, "vessel": vessel}
    return scanner.Tissues(fractions, np.zeros_like(fluid), np.zeros(fluid.shape, np.uint8)), points, brain


def write_phantoms(
    folder: Path,
    count: int,
    seed: int = 0,
    task: Task = GLIOMA,
    spacing: float = 1.0,
    overwrite: bool = False,
    tumour: bool = True,
) -> list[Path]:
    """Write invented patients in the layout of BraTS 2023: `phantom-00007-000/phantom-00007-000-t1c.nii.gz`, `...-seg`.

    Labels are those of `brats2023`. A patient is named after its seed: `seed`, `seed + 1`, ... `seed + count - 1`. With
    `tumour` False they are healthy, with empty references: `phantom-00007-healthy`.

    Returns:
        The folders of the cases.

    Raises:
        UsageError: `count` is below 1, or see `make_phantom`.
        OutputError: a case's folder exists and `overwrite` is not set (nothing is written then), or writing fails.
    """
    if count < 1:
        raise UsageError(f"{count} phantoms asked for; ask for 1 or more")
    _check(seed, task, spacing)
    _check(seed + count - 1, task, spacing)
    cases = [folder / _name(number, tumour, FIRST_VISIT) for number in range(seed, seed + count)]
    if not overwrite:
        for case in cases:
            if case.exists():
                raise OutputError(f"{case}: exists already; choose another folder, or overwrite it (--overwrite)")
    return [write_phantom(folder, number, task, spacing, tumour) for number in range(seed, seed + count)]


def write_phantom(
    folder: Path,
    seed: int,
    task: Task,
    spacing: float = 1.0,
    tumour: bool = True,
    visit: PhantomVisit = FIRST_VISIT,
) -> Path:
    """Write one invented patient, whole or not at all; a folder that is there is replaced. Returns the folder.

    Raises:
        OutputError: it cannot be written.
        UsageError: see `make_phantom`.
    """
    case = make_phantom(seed, task, spacing, tumour, visit)
    with whole_folder(folder / case.name) as temporary:
        for modality, image in case.images.items():
            _write(temporary / f"{case.name}-{modality}.nii.gz", image.astype(np.int16), case.grid)
        if case.reference is not None:
            _write(temporary / f"{case.name}-seg.nii.gz", case.reference, case.grid)
    return folder / case.name


def _name(seed: int, tumour: bool, visit: PhantomVisit) -> str:
    return f"phantom-{seed:05d}-{f'{visit.number:03d}' if tumour else 'healthy'}"


def _check(seed: int, task: Task, spacing: float) -> None:
    """Refuse a seed, a task or a spacing that phantoms cannot have."""
    if not 0 <= seed <= 99999:
        raise UsageError(f"phantom {seed}: seeds run from 0 to 99999")
    if not 0.5 <= spacing <= 8.0:
        raise UsageError(f"a phantom with voxels of {spacing} mm: choose a spacing within 0.5..8 mm")
    if unknown := set(task.modalities) - set(GLIOMA.modalities):
        raise UsageError(
            f"task {task.name}: phantoms have no {', '.join(sorted(unknown))}; they have {', '.join(GLIOMA.modalities)}"
        )
    if dict(task.labels) != dict(GLIOMA.labels):
        raise UsageError(f"task {task.name}: phantoms are labelled {dict(GLIOMA.labels)}, not {dict(task.labels)}")


def _stream(seed: int, purpose: int) -> np.random.Generator:
    """An independent stream of random numbers for one purpose of one patient."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, purpose])))


def _noise_stream(seed: int, visit: PhantomVisit) -> np.random.Generator:
    """Random numbers of one examination."""
    if visit.number == 0:
        return _stream(seed, 5)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 5, visit.number])))


def _draw_shape(generator: np.random.Generator) -> anatomy.Shape:
    scale = generator.normal(1.0, 0.03, 3).clip(0.93, 1.06)
    angles = np.deg2rad(generator.normal(0.0, 2.5, 3).clip(-5, 5))
    return anatomy.Shape(
        scale=(float(scale[0]), float(scale[1]), float(scale[2])),
        angles=(float(angles[0]), float(angles[1]), float(angles[2])),
        bend=generator.uniform(1.5, 3.0),
        fold=generator.uniform(0.5, 1.1),
        gyri=generator.uniform(0.8, 1.6),
        ventricles=generator.uniform(0.0, 4.0),
        atrophy=generator.uniform(1.0, 3.0),
    )


def _draw_growth(generator: np.random.Generator) -> tumour.Growth:
    enhancing = generator.random() < 0.8
    foci = 1 if generator.random() < 0.8 else int(generator.integers(2, 4))
    volume = float(np.exp(generator.uniform(np.log(15.0), np.log(130.0))))
    width = generator.uniform(0.07, 0.15) * _radius(volume)  # sqrt(D / rho), mm: from well-defined to infiltrating
    proliferation = generator.uniform(0.012, 0.04)
    return tumour.Growth(
        diffusion=proliferation * width**2,
        ratio=generator.uniform(5.0, 10.0),
        proliferation=proliferation,
        foci=foci,
        volume=volume,
        core=generator.uniform(0.15, 0.6),
        necrosis=generator.uniform(0.1, 0.75) if enhancing else generator.uniform(0.0, 0.2),
        enhancing=bool(enhancing),
        leak=generator.uniform(0.75, 1.0),
        push=generator.uniform(0.0, 0.25),
    )


def _radius(volume: float) -> float:
    """Radius (mm) of a ball of this volume (ml)."""
    return float((3.0 / (4.0 * np.pi) * volume * 1000.0) ** (1.0 / 3.0))


def _brain_points(body: anatomy.Body, grid: Grid, visit: PhantomVisit) -> tuple[np.ndarray, np.ndarray]:
    """The centres (mm) of the voxels in the brain, in a head that is not moved, and the mask of those voxels."""
    centres = visit.places_in_person(anatomy.grid_places(grid).reshape(3, -1))
    inside = anatomy.sample_field(body.brain, centres) > 0.5
    return centres[:, inside], inside.reshape(grid.shape)


def _contents(
    body: anatomy.Body, points: np.ndarray, growth: tumour.Growth, generator: np.random.Generator
) -> scanner.Tissues:
    """Grow the tumour on the working grid, push the brain aside, and give the tissues at each point."""
    white, grey, fluid = body.working_tissues()
    allowed = (body.brain > 0.5) & (fluid < 0.5)
    seeds = tumour.choose_seeds(white, body.depth, allowed, growth, generator)
    density = tumour.grow(white, grey, allowed, seeds, growth)
    roughness = 0.9 * anatomy.smooth_noise(generator, 7.0) + 0.5 * anatomy.smooth_noise(generator, 3.0)
    odds = tumour.log_odds(tumour.fill_walls(density, allowed)) + roughness - 2.0 * grey  # oedema spares the cortex
    limits = tumour.find_limits(odds, density, allowed, growth)
    patches = anatomy.smooth_noise(generator, 5.0)
    vessels = _vessels(body, generator)

    points = _pushed(points, body, density, growth)
    tissue = body.tissues(points)
    spread, patch, vessel = (anatomy.sample_field(field, points) for field in (odds, patches, vessels))
    return scanner.mix(tissue, spread, patch, vessel, limits, growth)


def _pushed(
    points: np.ndarray, body: anatomy.Body, density: Float[np.ndarray, "x y z"], growth: tumour.Growth
) -> np.ndarray:
    """Where the tissue at these points was before the tumour displaced it (mass effect)."""
    working = anatomy.box_grid(anatomy.WORKING_SPACING)
    centre = np.array(ndimage.center_of_mass(density)) * anatomy.WORKING_SPACING + working.affine[:3, 3]
    radius = _radius(growth.volume)
    yielding = anatomy.taper(anatomy.sample_field(body.depth, points))
    moved = points - yielding * anatomy.bulge(points, centre, radius, growth.push * radius)
    return np.asarray(moved, dtype=np.float32)


def _vessels(body: anatomy.Body, generator: np.random.Generator) -> np.ndarray:
    """Fraction of blood vessel: thin winding lines, where two random fields are both near 0, in the outer fluid."""
    one, other = anatomy.smooth_noise(generator, 8.0), anatomy.smooth_noise(generator, 8.0)
    line = np.exp(-(one**2 + other**2) / (2 * 0.2**2))
    return np.asarray(line * (body.depth < 30.0), dtype=np.float32)


def _write(path: Path, array: np.ndarray, grid: Grid) -> None:
    """A NIfTI file whose bytes depend on its contents alone (no time stamp)."""
    content = nifti_image(array, grid.affine).to_bytes()
    path.write_bytes(gzip.compress(content, compresslevel=6, mtime=0))
