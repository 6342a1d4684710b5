"""Images and masks in every format, read as `segment`, `import` and `evaluate` read them."""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from fuzz import samples
from fuzz.formats import Format, every_step, files
from fuzz.mutate import Way, any_bytes, gunzip, gzipped, head_of_text, inside, numbers_at, row
from lacunet.case import CaseFiles, ImageFile
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case, write_mask
from lacunet.intake.read.plain_copy import clean_copy


def _read_scan(folder: Path, output: Path, name: str, volume: int | None = None) -> None:
    """As `segment` reads a scan and writes a mask onto its grid, and as `import` copies it."""
    path = folder / name
    case_files = CaseFiles("case", "person", {"t1c": ImageFile(path, volume)}, None, "manifest", None)

    def segment() -> None:
        case = load_case(case_files)
        write_mask(output / "mask.nii.gz", np.zeros(case.grid.shape, np.uint8), case, "brats2023", like=path)

    copies = [lambda: clean_copy(path, output / "copy.nii.gz")] if volume is None else []
    every_step(segment, *copies)


def _read_mask(folder: Path, output: Path) -> None:
    """As `evaluate` reads a reference, with its label convention found out."""
    images = {"t1c": ImageFile(folder / "scan.nii")}
    case_files = CaseFiles("case", "person", images, ImageFile(folder / "mask.nii.gz"), "brats2023", None)
    load_case(with_conventions([case_files])[0])


_NIFTI_HEADER = (
    *row(0, 1, "i"), *row(40, 8, "h"), *row(40, 8, "h"), *row(56, 3, "f"), *row(68, 4, "h"), *row(76, 8, "f"),
    *row(108, 3, "f"), *row(120, 1, "h"), *row(122, 2, "b"), *row(124, 4, "f"), *row(252, 2, "h"), *row(256, 18, "f"),
    *row(344, 4, "b"), *row(348, 4, "b"),
)  # fmt: skip
_NIFTI = (numbers_at(*_NIFTI_HEADER), numbers_at(*_NIFTI_HEADER), any_bytes)
_MGH = (numbers_at(*row(0, 7, "i", ">"), *row(28, 1, "h", ">"), *row(30, 15, "f", ">")), any_bytes)


def _packed(ways: Sequence[Way]) -> tuple[Way, ...]:
    """Ways for a file compressed with gzip: its content mostly, and itself."""
    return (*(inside(gunzip, gzipped, way) for way in ways), any_bytes)


def _zlib_body(mark: bytes, unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes]) -> Way:
    """A way for the compressed voxels after a header that ends with `mark`."""

    def way(content: bytes, draw: Random) -> bytes:
        head, end, body = content.partition(mark)
        return head + end + pack(any_bytes(unpack(body), draw))

    return way


def image_formats() -> list[Format]:
    """In the order of the table."""
    scan, mask = samples.scan_voxels(), samples.mask_voxels()
    nifti, pair = samples.nifti_bytes(scan), samples.pair_bytes(scan)
    four = samples.nifti_bytes(np.stack([scan, scan + (scan > 0), scan], axis=-1))
    mark, end = b"ElementDataFile = LOCAL\n", b"\n\n"
    return [
        Format("NIfTI .nii", files(a__nii=nifti), partial(_read_scan, name="a.nii"), {"a.nii": _NIFTI}),
        Format(
            "NIfTI .nii.gz", files(a__nii__gz=gzipped(nifti)), partial(_read_scan, name="a.nii.gz"),
            {"a.nii.gz": _packed(_NIFTI)},
        ),
        Format(
            "NIfTI .hdr and .img", files(a__hdr=pair[0], a__img=pair[1]), partial(_read_scan, name="a.hdr"),
            {"a.hdr": _NIFTI, "a.img": (any_bytes,)},
        ),
        Format(
            "NIfTI of four dimensions", files(a__nii__gz=gzipped(four)),
            partial(_read_scan, name="a.nii.gz", volume=2), {"a.nii.gz": _packed(_NIFTI)},
        ),
        Format(
            "reference mask", files(scan__nii=nifti, mask__nii__gz=gzipped(samples.nifti_bytes(mask))), _read_mask,
            {"mask.nii.gz": _packed(_NIFTI)},
        ),
        Format(
            "MetaImage .mha", files(a__mha=samples.metaimage_bytes(scan, False)), partial(_read_scan, name="a.mha"),
            {"a.mha": (head_of_text(mark), head_of_text(mark), any_bytes)},
        ),
        Format(
            "MetaImage .mha, compressed", files(a__mha=samples.metaimage_bytes(scan, True)),
            partial(_read_scan, name="a.mha"),
            {"a.mha": (head_of_text(mark), _zlib_body(mark, zlib.decompress, zlib.compress), any_bytes)},
        ),
        Format(
            "NRRD", files(a__nrrd=samples.nrrd_bytes(scan, False)), partial(_read_scan, name="a.nrrd"),
            {"a.nrrd": (head_of_text(end), head_of_text(end), any_bytes)},
        ),
        Format(
            "NRRD, compressed", files(a__nrrd=samples.nrrd_bytes(scan, True)), partial(_read_scan, name="a.nrrd"),
            {"a.nrrd": (head_of_text(end), _zlib_body(end, gunzip, gzipped), any_bytes)},
        ),
        Format(
            "FreeSurfer .mgz", files(a__mgz=gzipped(samples.mgh_bytes(scan))), partial(_read_scan, name="a.mgz"),
            {"a.mgz": _packed(_MGH)},
        ),
    ]  # fmt: skip
