"""From files to a case on a RAS+ grid, and results back onto the grid of the files. Doubtful files are refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float, Shaped
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from lacunet.case import Case, CaseFiles, Grid
from lacunet.data.background import check_signal, on_empty_background
from lacunet.data.content import refuse_labels, refuse_whole_brain
from lacunet.data.formats.nifti_header import SYNTHETIC
from lacunet.data.geometry import CORNER_TOLERANCE_MM, corner_distance, triple
from lacunet.data.labels import to_disk, to_inside
from lacunet.data.volume import nifti_forms, read_file, read_image
from lacunet.errors import DataError, LabelError, OutputError, UnpreparedError
from lacunet.files import whole_file
from lacunet.task import GLIOMA, Task

ESTIMATE_MEAN, ESTIMATE_DEVIATION = 1000, 100
"""Intensities of an estimated sequence: the mean of the brain, and one standard deviation."""

_FORM_FIELDS = (
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
)
_ROW_FIELDS = ("srow_x", "srow_y", "srow_z", "xyzt_units")


def load_case(files: CaseFiles, task: Task = GLIOMA, want_reference: bool = True, whole: bool = True) -> Case:
    """Read all files of a case, check them and turn them to RAS+.

    Args:
        files: Of the case.
        task: Its modalities and labels.
        want_reference: Whether its reference is read, if it has one.
        whole: Whether scans must show a whole brain without its skull. A cube about a tumour need not; what is no brain
            in it must be exactly 0.

    Raises:
        DataError: a file is damaged, not a scan, not skull-stripped, empty or not 3-D.
        GeometryError: the scans do not lie on one grid, or a grid is impossible.
        LabelError: the reference has values that its convention does not know, or its convention is not decided.
    """
    native: Grid | None = None
    first = ""
    notes: list[str] = []
    images: dict[str, np.ndarray] = {}
    for modality in task.subset(files.images):
        file = files.images[modality]
        voxels, grid, said = read_image(file)
        if native is None:
            native, first = grid, file.path.name
        require_same_grid(file.path.name, grid, first, native)
        remarks: list[str] = []
        if whole:
            voxels, remarks = on_empty_background(file.path.name, voxels, grid)
        else:
            check_signal(file.path.name, voxels)
        refuse_labels(file.path.name, voxels)
        images[modality] = to_ras(voxels, native)
        notes += [*said, *remarks]
    if native is None:
        raise DataError(f"{files.name}: has no scan; at least one of {', '.join(task.modalities)} is needed")
    reference = None
    if want_reference and files.reference is not None:
        reference, said = _read_reference(files, native, first, task)
        if whole:
            brain = np.logical_or.reduce([image != 0 for image in images.values()])
            refuse_whole_brain(files.reference.path.name, reference, brain)
        notes += said
    return Case(files.name, files.person, images, ras_grid(native), native, reference, tuple(dict.fromkeys(notes)))


def is_prepared(files: CaseFiles) -> bool:
    """Whether the scans of a case can be segmented as they are: without skull, and on one grid."""
    first: Grid | None = None
    try:
        for file in files.images.values():
            voxels, grid, _ = read_image(file)
            first = first or grid
            require_same_grid("", grid, "", first)
            on_empty_background("", voxels, grid)
    except Exception:  # whatever is wrong is told when the case is loaded, and not before all others
        return False
    return True


def _read_reference(files: CaseFiles, native: Grid, first: str, task: Task) -> tuple[np.ndarray, list[str]]:
    assert files.reference is not None
    path = files.reference.path
    if files.convention is None:
        raise LabelError(
            f"{path.name}: its label convention is not decided yet; call with_conventions on all cases first"
        )
    voxels, grid, notes = read_file(files.reference)
    require_same_grid(path.name, grid, first, native)
    labels, note = to_inside(voxels, files.convention, task, path.name)
    return to_ras(labels, native), [*notes, *([note] if note else [])]


# ---------------------------------------------------------------- grids


def require_same_grid(name: str, grid: Grid, other_name: str, other: Grid) -> None:
    """Refuse two scans that do not lie on one grid.

    Raises:
        UnpreparedError: shape, spacing, orientation or position differ by more than `CORNER_TOLERANCE_MM` at a corner.
    """
    mend = "register the scans to one grid first (lacunet import)"
    if grid.shape != other.shape:
        raise UnpreparedError(f"{name}: shape {grid.shape} differs from {other.shape} of {other_name}; {mend}")
    apart = corner_distance(grid.shape, grid.affine, other.affine)
    if apart <= CORNER_TOLERANCE_MM:
        return
    if not np.allclose(grid.spacing, other.spacing, rtol=0, atol=CORNER_TOLERANCE_MM / max(grid.shape)):
        found, expected = triple(grid.spacing), triple(other.spacing)
        raise UnpreparedError(f"{name}: spacing {found} mm differs from {expected} mm of {other_name}; {mend}")
    found, expected = _codes(grid), _codes(other)
    if found != expected:
        raise UnpreparedError(f"{name}: orientation {found} differs from {expected} of {other_name}; {mend}")
    raise UnpreparedError(f"{name}: lies up to {apart:.1f} mm away from {other_name} (their affines differ); {mend}")


def ras_grid(native: Grid) -> Grid:
    """The grid of the same voxels with axes turned to run right, anterior, superior as nearly as possible."""
    turns = io_orientation(native.affine)
    shape = [0, 0, 0]
    for axis, (target, _) in enumerate(turns):
        shape[int(target)] = native.shape[axis]
    x, y, z = shape
    return Grid((x, y, z), native.affine @ inv_ornt_aff(turns, native.shape))


def to_ras(voxels: np.ndarray, native: Grid) -> np.ndarray:
    """An array on the native grid -> the same voxels on `ras_grid(native)`."""
    return np.ascontiguousarray(apply_orientation(voxels, io_orientation(native.affine)))


def to_native(voxels: np.ndarray, native: Grid) -> np.ndarray:
    """The inverse of `to_ras`, exactly."""
    straight = np.array([[0, 1], [1, 1], [2, 1]], float)
    back = ornt_transform(straight, io_orientation(native.affine))
    return np.ascontiguousarray(apply_orientation(voxels, back))


def _codes(grid: Grid) -> str:
    return "".join(nib.aff2axcodes(grid.affine))


# ---------------------------------------------------------------- writing


def nifti_image(voxels: Shaped[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> nib.Nifti1Image:
    """A NIfTI image in mm, to be saved; the affine (voxel to mm, RAS+) is its qform and its sform."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    set_forms(image, affine)
    return image


def set_forms(image: nib.Nifti1Image, affine: Float[np.ndarray, "4 4"]) -> None:
    """Make an affine (voxel to mm, RAS+) both the qform and the sform of an image, as scanner coordinates (code 1)."""
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)


def write_mask(
    path: Path, labels: np.ndarray, case: Case, convention: str, task: Task = GLIOMA, like: Path | None = None
) -> None:
    """Write labels on the grid that the case has on disk (NIfTI, uint8), whole or not at all.

    Args:
        path: Ends in .nii.gz or .nii.
        labels: Labels inside lacunet, on `case.grid`.
        case: Whose grid it is.
        convention: What the integers on disk mean.
        task: Knows the conventions.
        like: A scan of the case; where it is NIfTI, its qform, sform and units are copied exactly. Otherwise both are
            the affine.

    Raises:
        OutputError: the file cannot be written, or its name has another suffix.
        UsageError: unknown convention.
    """
    disk = to_disk(labels, convention, task)
    _write(path, disk, case, f"lacunet: labels {convention}", like)


def write_image(path: Path, values: np.ndarray, case: Case, description: str, like: Path | None = None) -> None:
    """Write a map of floats (a probability) on the grid that the case has on disk, as `write_mask` does."""
    _write(path, values.astype(np.float32), case, f"lacunet: {description}", like)


def write_estimate(path: Path, values: np.ndarray, case: Case, modality: str, like: Path | None = None) -> None:
    """Write an estimated sequence as `write_mask` does, marked in the header so that it is never read as a scan.

    Args:
        path: Ends in .nii.gz or .nii.
        values: As `scaled_estimate` gives them.
        case: Whose grid it is.
        modality: What was estimated.
        like: A scan of the case; see `write_mask`.
    """
    units = f"{ESTIMATE_MEAN} = mean of the brain, {ESTIMATE_DEVIATION} = 1 SD"
    _write(path, values, case, f"{SYNTHETIC} {modality}, not a scan; {units}", like, f"SYNTHETIC {modality}")


def scaled_estimate(values: np.ndarray, case: Case) -> np.ndarray:
    """From standard deviations around the mean of the brain to intensities (int16): mean 1000, 100 per deviation.

    So the brain is never 0. The background is 0: the voxels where no image of the case has signal.
    """
    brain = np.logical_or.reduce([image != 0 for image in case.images.values()])
    return np.where(brain, np.rint(ESTIMATE_MEAN + ESTIMATE_DEVIATION * values), 0).astype(np.int16)


def _write(path: Path, values: np.ndarray, case: Case, description: str, like: Path | None, intent: str = "") -> None:
    if not path.name.lower().endswith((".nii.gz", ".nii")):
        raise OutputError(f"{path}: results are NIfTI; end the name in .nii.gz")
    if values.shape != case.grid.shape:
        raise ValueError(f"array of shape {values.shape} on a grid of {case.grid.shape}")
    image = nifti_image(to_native(values, case.native), case.native.affine)
    if like is not None and (forms := nifti_forms(like)) is not None:
        copy_forms(image.header, forms)
    image.header["descrip"] = description.encode()[:79]
    image.header["intent_name"] = intent.encode()[:15]
    with whole_file(path) as temporary:
        nib.save(image, temporary)


@np.errstate(over="ignore")  # a form that is not in use may have any numbers
def copy_forms(header: nib.Nifti1Header, original: nib.Nifti1Header) -> None:
    """Copy what says where voxels lie, field by field: qform, sform and their codes, voxel sizes, units."""
    for name in (*_FORM_FIELDS, *_ROW_FIELDS):
        header[name] = original[name]
    header["pixdim"][:4] = original["pixdim"][:4]
