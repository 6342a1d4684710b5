"""What kind of image a header states by its own words: ImageType, frame type, AcquisitionContrast and the like."""

import re
from collections.abc import Collection

_KINDS = (
    ("is a localiser", r"LOCALI[SZ]ER|SCOUT"),
    (
        "is a diffusion map",
        r"[ED]?ADC|ADC[_ ].*|FA|TRACEW?|DIFFUSION|EXP|EADC|TENSOR\w*|DIFFUSION_ANISO\w*|MD|RD|COLFA|ISOTROPIC",
    ),
    (
        "is a perfusion map",
        r"(?:REL|R)?(?:CB[FV]|MTT)|TTP|TMAX|PERFUSION\w*|[GP]BP|ASL|KTRANS",
    ),
    (
        "is a map of T1, T2 or another quantity, not an image weighted by it",
        r"(?:[QS]?[TR][12]|[TR]2[_ ]?STAR|[TR]2\*|PD|B[01]|FIELD|T1RHO|MTR?|PARAMETRIC|FAT[_ ]FRACTION)[_ ]?MAP\w*"
        r"|[QR][12]|R2[_ ]?STAR|R2\*|B[01]MAP|QMAP|QSM|FIELD_?MAP\w*",
    ),
    (
        "is a reformat or a projection of another series",
        r"MPR|REFORMATTED|PROJECTION IMAGE|MIP|MINIP|MIN_IP|MAX_IP|CURVED|RESLICED|MNIP|MEAN_IP|MPVR|VOLUME_?RENDER\w*",
    ),
    ("is a subtraction of two series", r"SUB|SUBTRACT\w*"),
    ("is an inversion image of MP2RAGE", r"INV[12]|INV_[12]"),
    (
        "holds phase, real or imaginary values, not a magnitude image",
        r"P|PHASE|PHASE[_ ]MAP|PHASE_?\w*|R|REAL|I|IMAGINARY|VELOCITY(?:[_ ]MAP)?|FILTERED_?PHASE",
    ),
    ("is weighted by susceptibility (T2*)", r"T2_STAR|SWI|SUSCEPTIBILITY|T2_STAR_WEIGHTED|SWAN"),
    ("is angiography", r"TIME_OF_FLIGHT|TOF|ANGIO|PHASE_CONTRAST"),
    ("is functional imaging or spectroscopy", r"FMRI|BOLD|SPECTROSCOPY|METABOLITE_MAP|MOSAIC"),
    (
        "is a screenshot or a display of results",
        r"SCREEN ?SAVE|SCREENSHOT|SCREEN CAPTURE|CSA REPORT|CSA MPR|FUSED|FUSION",
    ),
)
_UNITS = (
    ("is a map of diffusion", r".*mm\^?2/s.*|.*um\^?2/.*"),
    (
        "is a map in {unit}, not a weighted image",
        r"m?s|msec|1/s|s\^?-1|hz|%|percent|ppm|ppb|rad|radians|ml/.*|°|degrees?",
    ),
)


def kind_by_types(types: Collection[str]) -> str | None:
    """Why an image is no weighted magnitude image of a head, by the words of its header in capitals; None: it may be.

    Args:
        types: Of ImageType, FrameType, AcquisitionContrast, ComplexImageComponent.
    """
    for kind, pattern in _KINDS:
        if any(re.fullmatch(pattern, word) for word in types):
            return kind
    return None


def kind_by_unit(unit: str) -> str | None:
    """Why an image is a map, by the unit of its values (RescaleType); None: the unit does not say so."""
    for kind, pattern in _UNITS:
        if re.fullmatch(pattern, unit.strip().lower()):
            return kind.format(unit=unit.strip().lower())
    return None
