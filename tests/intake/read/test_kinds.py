"""Series that are no weighted image of a head, by their headers: each is named for what it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_made import Examination
from lacunet.intake.read.header import Header, read_header
from lacunet.intake.read.series import Series, group
from lacunet.intake.read.study import reason_against
from lacunet.task import GLIOMA

AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])
VOLUME = np.random.default_rng(0).integers(1, 900, (12, 12, 12))


def series_of(folder: Path, description: str, kind: str, tags: dict[str, Any]) -> Series:
    """One series, as it is read from its files."""
    paths = Examination(folder).write(VOLUME, AFFINE, 4, description, kind, tags=tags)
    headers = [header for path in paths if isinstance(header := read_header(path), Header)]
    (series,) = group(headers)
    return series


def types(*words: str) -> dict[str, Any]:
    return {"ImageType": list(words)}


@pytest.mark.parametrize(("description", "kind", "tags", "reason"), [
    ("T1 SE", "t1n", {}, None),
    ("t1_mpr_ns_sag_p2_iso", "t1n", {}, None),
    ("t1_mpr_ns_sag_p2_iso", "t1n", types("DERIVED", "PRIMARY", "M", "NORM"), None),
    ("t1_mpr_sag", "t1n", types("DERIVED", "SECONDARY", "MPR"), "is a reformat or a projection"),
    ("t1_mprage_sag MPR tra", "t1n", types("DERIVED", "SECONDARY"), "is a reformat"),
    ("t1_mp2rage_sag_T1_Images", "t1n", {}, "says a map of T1"),
    ("t1_mp2rage_sag", "t1n", types("DERIVED", "PRIMARY", "T1 MAP", "ND"), "is a map of T1, T2 or another quantity"),
    ("T1", "t1n", types("ORIGINAL", "PRIMARY", "T1_MAP"), "is a map of T1, T2 or another quantity"),
    ("t1_mp2rage_sag_UNI-DEN", "t1n", types("DERIVED", "PRIMARY", "M", "ND", "UNI"), None),
    ("t1_mp2rage_sag_INV1", "t1n", {}, "says an inversion image"),
    ("T2", "t2w", types("DERIVED", "PRIMARY", "T2 MAP"), "is a map of T1, T2"),
    ("T2", "t2w", types("DERIVED", "PRIMARY", "R2_STAR MAP"), "is a map of T1, T2"),
    ("T1", "t1n", {"RescaleType": "ms"}, "is a map in ms"),
    ("x", "t2w", {"RescaleType": "10^-6 mm^2/s"}, "is a map of diffusion"),
    ("T1", "t1n", {"RescaleType": "US"}, None),
    ("T1", "t1n", {"RescaleType": "normalized"}, None),
    ("eADC", "t2w", {}, "says diffusion imaging"),
    ("x", "t2w", types("DERIVED", "PRIMARY", "EADC"), "is a diffusion map"),
    ("b0", "t2w", {}, "says diffusion imaging"),
    ("T2 AX", "t2w", {"SequenceName": "*ep_b0"}, "its sequence name says diffusion imaging"),
    ("T2 AX", "t2w", {"DiffusionBValue": 1000.0}, "is diffusion imaging"),
    ("T2 AX", "t2w", {"DiffusionBValue": 0.0}, None),
    ("T2 AX", "t2w", {"ScanningSequence": "EP"}, "its sequence is echo-planar"),
    ("T2 AX", "t2w", {"AcquisitionContrast": "DIFFUSION"}, "is a diffusion map"),
    ("AX HEME", "t1n", {}, "says susceptibility imaging"),
    ("AX HEME", "t2w", {}, "says susceptibility imaging"),
    ("AX GRE", "t1n", {}, "says susceptibility imaging"),
    ("T2 AX", "t2w", {"ScanningSequence": "GR", "RepetitionTime": 700, "EchoTime": 20}, "a gradient echo"),
    ("SWI", "t1n", {}, "says susceptibility imaging"),
    ("T1", "t1n", types("ORIGINAL", "PRIMARY", "PHASE MAP", "P", "SE"), "holds phase"),
    ("T1", "t1n", types("ORIGINAL", "PRIMARY", "R_IR", "R", "IR"), "holds phase, real"),
    ("T1", "t1n", {"ComplexImageComponent": "PHASE"}, "holds phase"),
    ("T1 phase", "t1n", {}, "says a phase image"),
    ("T1 SUB", "t1n", {}, "says a subtraction"),
    ("T1", "t1n", types("DERIVED", "SECONDARY", "SUBTRACTION"), "is a subtraction"),
    ("T1", "t1n", {"PhotometricInterpretation": "MONOCHROME1"}, "inverted grey (MONOCHROME1)"),
    ("MAGiC T1", "t1n", types("DERIVED", "SECONDARY", "OTHER"), None),
    ("MAGiC T1 map", "t1n", types("DERIVED", "SECONDARY", "OTHER"), "says a map of T1"),
    ("PD map", "t1n", {}, "says a map"),
    ("3-Plane Loc", "t2w", {}, "is a localiser"),
    ("t1_mpr_ns_sag", "t1n", {"ProtocolName": "localizer then brain"}, None),
    ("relCBV", "t2w", {}, "says perfusion imaging"),
    ("pCASL", "t2w", {}, "says perfusion imaging"),
    ("press 30", "t2w", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.2"}, "is spectroscopy"),
    ("Segmentation", "t1n", {}, "says a mask"),
    ("screen save", "t1n", types("DERIVED", "SECONDARY", "SCREEN SAVE"), "is a screenshot"),
])  # fmt: skip
def test_kinds_of_series(tmp_path, description: str, kind: str, tags: dict[str, Any], reason: str | None) -> None:
    found = reason_against(series_of(tmp_path, description, kind, tags), GLIOMA)
    assert found is None if reason is None else reason in (found or "")
