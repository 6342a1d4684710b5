"""What kind of image a series is, by its header: a usable scan, or a document, a map, a localiser and so on."""

from lacunet.data.sequences import sequence_named
from lacunet.data.words import has
from lacunet.intake.identify.image_type import kind_by_types, kind_by_unit
from lacunet.intake.read.series import Series, wrong_stack

_NO_IMAGES = {
    "SR": "a report", "KO": "a list of marked images", "PR": "a display setting", "SEG": "a segmentation",
    "RTSTRUCT": "drawn contours", "RTPLAN": "a treatment plan", "RTDOSE": "a dose map", "REG": "a registration",
    "DOC": "a document", "RWV": "a table of values", "AU": "a recording",
}  # fmt: skip
_OTHER_MODALITIES = {
    "CT": "a CT", "PT": "a PET", "NM": "a nuclear medicine scan", "US": "an ultrasound",
    "CR": "a radiograph", "DX": "a radiograph",
    "XA": "an angiogram", "RF": "a fluoroscopy", "MG": "a mammogram",
    "OT": "an image of no stated kind", "SC": "a screenshot",
    "XC": "a photograph", "ES": "an endoscopy", "SM": "a slide",
}  # fmt: skip
_CLASSES = (
    ("1.2.840.10008.5.1.4.1.1.7", "is a screenshot or a scanned page, not a scan"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "is spectroscopy, not an image"),
    ("1.2.840.10008.5.1.4.1.1.66", "holds raw data or a segmentation, not a scan"),
    ("1.2.840.10008.5.1.4.1.1.30", "is a map of a quantity, not a weighted image"),
)
"""Beginnings of SOPClassUIDs."""


def why_not(series: Series) -> str | None:
    """Why a series is left out, whichever sequence it is; None for a usable stack of MR slices of a head."""
    return _wrong_kind(series) or _wrong_map(series) or wrong_stack(series)


def _wrong_kind(series: Series) -> str | None:
    first = series.first
    if first.modality in _NO_IMAGES:
        return f"is {_NO_IMAGES[first.modality]}, not a scan"
    for beginning, reason in _CLASSES:
        if first.sop_class == beginning or first.sop_class.startswith(beginning + "."):
            return reason
    if first.modality in _OTHER_MODALITIES:
        return f"is {_OTHER_MODALITIES[first.modality]}, not an MR scan"
    if first.modality != "MR":
        return "is no MR scan" if first.modality.isalpha() else "does not say that it is an MR scan"
    if not (first.rows and first.columns):
        return "holds no pixels"
    if first.colour:
        return "is in colour, as maps and screenshots are"
    if first.photometric == "MONOCHROME1":
        return (
            "is stored with inverted grey (MONOCHROME1): bright tissue has low values; convert it, or give it by its "
            "number if its values are right"
        )
    return None


def _wrong_map(series: Series) -> str | None:
    """Localisers, derived maps, reformats and phase images, by ImageType, by the unit of the values and by words."""
    first = series.first
    types = {word for kind in (first.image_type, *(one.frame_type for one in series.slices)) for word in kind}
    if kind := kind_by_types(types | set(first.acquired)):
        return kind
    named = next((found for text in first.texts[:2] if (found := sequence_named(text))), None)
    if named is not None and named.what == "a localiser":
        return "is a localiser"
    if any(one.b_value for one in series.slices):
        return "is diffusion imaging (it has a b-value)"
    mpr = has(first.texts[:2], r"\bmprs?\b") and not has(first.texts[:2], r"\b(?:ns|p[234]|iso|grappa)\b")
    if series.derived and mpr:  # with those words it is MPRAGE, as Siemens abbreviates it
        return "is a reformat of another series"
    return kind_by_unit(first.unit)
