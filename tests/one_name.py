"""One invented name of a patient for everything that lacunet reads, and a search for it in all that it writes."""

import base64
import gzip
import io
import json
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from html import escape
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

FAMILY, GIVEN = "Grüßenbäcker", "Wöndula"
PLAIN_FAMILY, PLAIN_GIVEN = "Gruessenbaecker", "Woendula"
BARE_FAMILY, BARE_GIVEN = "Grussenbacker", "Wondula"
BIRTH, NUMBER = "19640812", "QX-4711-0815"
WORDS = (FAMILY, GIVEN, PLAIN_FAMILY, PLAIN_GIVEN, BARE_FAMILY, BARE_GIVEN, BIRTH, NUMBER)
SENTENCE = f"{FAMILY}, {GIVEN} ({PLAIN_FAMILY} {PLAIN_GIVEN}) {BIRTH} {NUMBER}"
"""For fields of free text."""
SHORT = f"{FAMILY} {PLAIN_GIVEN} {BIRTH}"
"""For fields of at most 64 letters."""

DICOM_TAGS = {
    "SpecificCharacterSet": "ISO_IR 192", "StudyDescription": SHORT, "ProtocolName": f"T1 KM {SHORT}",
    "ImageComments": SENTENCE, "PatientComments": SENTENCE, "OtherPatientIDs": NUMBER, "StationName": PLAIN_FAMILY,
    "RequestedProcedureDescription": SHORT, "ContrastBolusAgent": f"Gadovist {SHORT}",
    "PerformedProcedureStepDescription": SHORT, "SequenceName": PLAIN_FAMILY, "DeviceSerialNumber": NUMBER,
    "InstitutionAddress": SENTENCE, "AdditionalPatientHistory": SENTENCE, "PatientAddress": SHORT,
}  # fmt: skip
"""Attributes of a series that people type into, or that identify a person."""


TAKEN_OVER = (
    "PatientName", "PatientID", "PatientBirthDate", "OtherPatientIDs", "PatientComments", "AdditionalPatientHistory",
    "PatientAddress", "StudyDescription", "ContributingEquipmentSequence",
)  # fmt: skip
"""What a DICOM SEG has of its patient, its study and the device of its source."""


def spellings() -> set[bytes]:
    """Every way in which one of the words may stand in a file, in lower case."""
    found: set[bytes] = set()
    for word in WORDS:
        for form in ("NFC", "NFD"):
            text = unicodedata.normalize(form, word).lower()
            found |= {
                text.encode(),
                text.encode("utf-16-le"),
                text.encode("latin-1", "ignore") if form == "NFC" else b"",
            }
            found |= {json.dumps(text)[1:-1].encode(), escape(text).encode(), repr(text.encode())[2:-1].encode()}
            found |= {text.encode("ascii", "xmlcharrefreplace"), text.encode("ascii", "backslashreplace")}
            found.add("".join(f"%{byte:02x}" if byte > 127 else chr(byte) for byte in text.encode()).encode())
    return {one for one in found if len(one) > 5}


SPELLINGS = spellings()


def named_in(content: bytes | str) -> list[str]:
    """The spellings of the name that are in a text or in bytes, packed or not."""
    start = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return sorted({one.decode("latin-1") for layer in _layers(start) for one in SPELLINGS if one in layer.lower()})


def _layers(content: bytes, depth: int = 0) -> Iterator[bytes]:
    """Bytes, and what is packed in them: gzip, zip, base64."""
    yield content
    if depth > 3:
        return
    if content[:2] == b"\x1f\x8b":
        yield content[:300]  # the header of gzip may name a file
        try:
            yield from _layers(gzip.decompress(content), depth + 1)
        except (OSError, EOFError, zlib.error):
            return
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for one in archive.namelist():
                yield one.encode()
                yield from _layers(archive.read(one), depth + 1)
    if b"<html" in content[:200].lower():
        for run in re.findall(rb"[A-Za-z0-9+/]{200,}={0,2}", content):
            yield from _layers(base64.b64decode(run + b"=" * (-len(run) % 4)), depth + 1)


def leaks_below(folder: Path) -> dict[str, list[str]]:
    """File -> spellings of the name in its path and content, for all results but the table that is private.

    A DICOM SEG belongs to its patient: what it must take over from the patient and the study of its source is no leak.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        where = path.relative_to(folder).as_posix()
        seen = named_in(where)
        if path.is_file() and path.name != "sources.csv":
            seen += named_in(_without_patient(path)) if path.suffix == ".dcm" else named_in(path.read_bytes())
        if seen:
            found[where] = seen
    return found


def _without_patient(path: Path) -> bytes:
    data = pydicom.dcmread(path)
    for name in TAKEN_OVER:
        if name in data:
            delattr(data, name)
    out = io.BytesIO()
    data.save_as(out)
    return out.getvalue()


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """A scan whose header, extension and sidecar hold the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    image.header["descrip"] = f"{PLAIN_FAMILY} {FAMILY}".encode()[:79]
    image.header["aux_file"] = PLAIN_FAMILY.encode()
    image.header["intent_name"] = PLAIN_FAMILY.encode()[:15]
    image.header["db_name"] = PLAIN_GIVEN.encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", SENTENCE.encode()))
    nib.save(image, path)
    stem = path.name.split(".nii")[0]
    sidecar = {"PatientName": SENTENCE, "SeriesDescription": SENTENCE, "ProtocolName": SENTENCE, "Manufacturer": FAMILY}
    path.with_name(f"{stem}.json").write_text(json.dumps(sidecar), encoding="utf-8")
    return path
