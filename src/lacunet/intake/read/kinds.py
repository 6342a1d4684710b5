"""What kind of image a series is, by its header: a usable scan, or a document, a map, a localiser and so on."""

from lacunet.data.words import has
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
_SCREENSHOT = "1.2.840.10008.5.1.4.1.1.7"


def why_not(series: Series) -> str | None:
    """Why a series is left out, whichever sequence it is; None for a usable stack of MR slices of a head."""
    return _wrong_kind(series) or _wrong_map(series) or wrong_stack(series)


def _wrong_kind(series: Series) -> str | None:
    first = series.first
    if first.modality in _NO_IMAGES:
        return f"is {_NO_IMAGES[first.modality]}, not a scan"
    if first.sop_class.startswith(_SCREENSHOT):
        return "is a screenshot or a scanned page, not a scan"
    if first.modality in _OTHER_MODALITIES:
        return f"is {_OTHER_MODALITIES[first.modality]}, not an MR scan"
    if first.modality != "MR":
        return "is no MR scan" if first.modality.isalpha() else "does not say that it is an MR scan"
    if not (first.rows and first.columns):
        return "holds no pixels"
    return "is in colour, as maps and screenshots are" if first.colour else None


def _wrong_map(series: Series) -> str | None:
    """Localisers, derived maps and reformats, by ImageType and by description."""
    first = series.first
    types = {word for kind in (first.image_type, *(one.frame_type for one in series.slices)) for word in kind}
    texts = first.texts[:2]
    if types & {"LOCALIZER", "LOCALISER", "SCOUT"} or has(texts, _LOCALISER):
        return "is a localiser"
    if types & {"ADC", "FA", "TRACEW", "TRACE", "DIFFUSION", "EXP", "EADC", "TENSOR", "DIFFUSION_ANISO", "MD"}:
        return "is a diffusion map"
    if types & {
        "CBF",
        "CBV",
        "RCBV",
        "MTT",
        "TTP",
        "TMAX",
        "PERFUSION",
        "GBP",
        "PBP",
        "ASL",
        "RELCBV",
        "RELCBF",
        "RELMTT",
    }:
        return "is a perfusion map"
    if types & {
        "MPR",
        "REFORMATTED",
        "PROJECTION IMAGE",
        "MIP",
        "MINIP",
        "MIN_IP",
        "MAX_IP",
        "CURVED",
        "RESLICED",
        "MNIP",
    }:
        return "is a reformat or a projection of another series"
    if series.derived and has(texts, r"\bmprs?\b"):
        return "is a reformat of another series"
    if types & {"SUBTRACT", "SUBTRACTION", "SUB"}:
        return "is a subtraction of two series"
    if types & {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY"}:
        return "holds phase, real or imaginary values, not a magnitude image"
    return None


_LOCALISER = (
    r"\b(?:localizer|localiser|localizador|lokalizer|locator|scout|survey|topogram\w*|ubersicht|"
    r"3 ?pl(?:ane)?s?(?: loc)?|3plane|plan scan|aahead|loc|calibration|shim|smartbrain)\b"
)
