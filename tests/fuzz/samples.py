"""Good files to be damaged, as small as their readers accept: headers then are a large part of them."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from calibrations_made import calibration_made, tiny_model
from dicom_made import Examination
from evaluations_made import rows_made, steady, write_evaluation
from lacunet.case import Grid
from lacunet.files import write_json
from lacunet.intake.align.quality import Judgement
from lacunet.intake.align.rigid import Rigid
from lacunet.intake.found import Caution
from lacunet.intake.record import HowFound, ImportRecord, Placed, Step, write_record
from lacunet.models.calibration import put_beside
from lacunet.task import GLIOMA
from lacunet.training.recipe import write_recipe
from small import brain, tiny_recipe

SHAPE = (10, 11, 12)
AFFINE = np.array([[-1.0, 0, 0, 40], [0, 1.5, 0, -30], [0, 0, 2, 10], [0, 0, 0, 1]])


def scan_voxels() -> np.ndarray:
    """A box of tissue in empty space (int16)."""
    return brain(SHAPE, (2, 2, 2), (7, 8, 9)).astype(np.int16)


def mask_voxels() -> np.ndarray:
    """Labels of BraTS 2023 (uint8)."""
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[3:6, 3:6, 3:6] = 2
    voxels[4, 4:6, 4] = 1, 3
    return voxels


def nifti_bytes(voxels: np.ndarray) -> bytes:
    """A NIfTI-1 file with a qform and an sform."""
    image = nib.Nifti1Image(voxels, AFFINE)
    image.header.set_xyzt_units("mm")
    image.set_qform(AFFINE, code=1)
    image.set_sform(AFFINE, code=1)
    return bytes(image.to_bytes())


def pair_bytes(voxels: np.ndarray) -> tuple[bytes, bytes]:
    """Header and voxels of a NIfTI pair."""
    one = bytearray(nifti_bytes(voxels))
    one[344:348], one[108:112] = b"ni1\0", struct.pack("<f", 0.0)
    return bytes(one[:348]) + b"\0" * 4, bytes(one[352:])


def metaimage_bytes(voxels: np.ndarray, packed: bool) -> bytes:
    """A .mha file of int16 voxels."""
    body = voxels.tobytes(order="F")
    content = zlib.compress(body) if packed else body
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"CompressedData = {packed}\n{f'CompressedDataSize = {len(content)}{chr(10)}' if packed else ''}"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1.5 2\n"
        f"DimSize = {' '.join(map(str, voxels.shape))}\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    return header.encode() + content


def nrrd_bytes(voxels: np.ndarray, packed: bool) -> bytes:
    """A .nrrd file of int16 voxels."""
    body = voxels.tobytes(order="F")
    header = (
        "NRRD0005\n# by hand\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(map(str, voxels.shape))}\nspace directions: (1,0,0) (0,1.5,0) (0,0,2)\n"
        f"kinds: domain domain domain\nendian: little\nencoding: {'gzip' if packed else 'raw'}\n"
        "space origin: (0,0,0)\nkey:=value\n\n"
    )
    return header.encode() + (gzip.compress(body, mtime=0) if packed else body)


def mgh_bytes(voxels: np.ndarray) -> bytes:
    """A FreeSurfer .mgh file."""
    return bytes(nib.MGHImage(voxels, AFFINE).to_bytes())


def write_dicom(folder: Path, how: str) -> None:
    """A series: classic files (explicit, implicit or deflated), or one enhanced file."""
    volume = np.random.default_rng(0).integers(1, 900, (6, 7, 8))
    affine = np.diag([20.0, 20.0, 12.0, 1.0])
    made = Examination(folder)
    if how == "enhanced":
        paths = [made.write_enhanced(volume, affine, 4, "AX T2 FLAIR", "t2f")]
    else:
        paths = made.write(volume, affine, 4, "AX T2 FLAIR", "t2f", implicit=how == "implicit")
    names: dict[str, str] = {}
    for path in paths:
        data = pydicom.dcmread(path)
        data.walk(lambda _, element: _name(element, names))
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        if how == "deflated":
            data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        data.save_as(path, enforce_file_format=True)


def _name(element: pydicom.DataElement, names: dict[str, str]) -> None:
    """A UID that is the same in every run, in place of a random one."""
    if element.VR == "UI" and str(element.value).startswith("1.2.826."):
        element.value = names.setdefault(str(element.value), f"1.2.826.0.1.3680043.8.498.{10**30 + len(names)}")


MEMBERS = (("a/one.txt", b"one" * 9), ("a/b/two.nii", b"\x5c\x01two" * 40), ("three", b""))


def zip_bytes() -> bytes:
    """A .zip of three files in two folders."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def lzma_zip_bytes() -> bytes:
    """A .zip of a file that is compressed with LZMA."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("four"), b"four" * 9, zipfile.ZIP_LZMA)
    return stream.getvalue()


def tar_bytes() -> bytes:
    """A .tar of the same files, with a folder, a link and a long name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in (*MEMBERS, ("long" * 30 + "é", b"long")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, kind in (("folder", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a/one.txt" if kind != tarfile.DIRTYPE else ""
            archive.addfile(member)
    return stream.getvalue().rstrip(b"\0") + b"\0" * 1024


def write_model(folder: Path) -> None:
    """An untrained model with a calibration."""
    tiny_model(folder)
    put_beside(calibration_made(), folder)


def write_recipe_file(path: Path) -> None:
    """Every key of a recipe."""
    write_recipe(path, tiny_recipe(stages={"train": {"share": 1.0, "batch": 2, "learning_rate": 0.001}}))


def write_manifest(folder: Path) -> None:
    """Two cases, one with a reference."""
    for name in ("a.nii.gz", "b.nii.gz", "s.nii.gz"):
        (folder / name).write_bytes(b"")
    (folder / "manifest.csv").write_text(
        "case,person,t1c,t2f,reference,convention\nalpha-1,alpha,a.nii.gz,b.nii.gz,s.nii.gz,brats2023\n"
        "beta-1,beta,a.nii.gz,,,\n"
    )


def write_msd(folder: Path) -> None:
    """dataset.json of the decathlon, with one case."""
    for name in ("imagesTr/case_1.nii.gz", "labelsTr/case_1.nii.gz", "imagesTr/case_2_0001.nii.gz"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    fields = {
        "name": "BRATS", "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "numTraining": 1, "training": [{"image": "./imagesTr/case_1.nii.gz", "label": "./labelsTr/case_1.nii.gz"}],
    }  # fmt: skip
    write_json(folder / "dataset.json", fields)


def write_splits(folder: Path) -> None:
    """A split in JSON and one in text files."""
    write_json(folder / "split.json", {"train": ["a-1", "a-2"], "val": ["b-1"], "test": ["c-1"]})
    (folder / "lists").mkdir()
    (folder / "lists" / "train.txt").write_text("a-1\na-2\n")
    (folder / "lists" / "val.txt").write_text("b-1\n")


def write_scores(folder: Path) -> None:
    """An evaluation of two cases from all subsets, whose task is written out."""
    rows = rows_made(steady(0.5), ("alpha-1", "beta-1"), without=[("alpha-1", "et")])
    write_evaluation(folder, rows, task=replace(GLIOMA), identity={"weights": "ab" * 32})


def write_import_record(folder: Path) -> None:
    """import.json of a case with one scan."""
    grid = Grid(SHAPE, AFFINE)
    caution = Caution("body part", "it does not say that it shows a head")
    found = HowFound({"t1c": "series 4, by its words"}, ["series 5: a localiser"], cautions=[caution])
    record = ImportRecord(
        case="case-1",
        grid=grid,
        reference="t1c",
        scans={"t1c": Placed(grid, Rigid.identity(), True, 0.98)},
        steps=[Step("register", 1.5, "nothing was moved")],
        judgements=[Judgement("brain", 0.9, "good", "the brain is whole")],
        warnings=["a warning"],
        versions={"lacunet": "0"},
        found=found,
    )
    write_record(folder / "import.json", record)
