"""What dcm2niix prints, in plain words. Its own text is never shown: it may repeat names."""

import re

FAILURES = (
    (
        r"unsupported transfer syntax|compressed image|decode|JPEG|unable to decompress",
        "its compression cannot be read here",
    ),
    (r"No valid DICOM|no valid DICOM", "dcm2niix finds no image in it"),
    (r"missing images|Missing images|slices? missing", "slices are missing"),
    (r"Unable to open|corrupt|truncated", "a file of it is damaged"),
)
"""Pattern -> why there is no image."""

_WARNINGS: tuple[tuple[str, str | None], ...] = (
    # judged by lacunet itself, from the headers
    (r"slope|intercept|32-bit float|Philips Scaling", None),
    (r"Interslice distance varies|equalize slice distances|slices not equidistant|gap\+thick", None),
    (r"order is not spatial|ascending instance number|Instance number \(0020,0013\) not found", None),
    (r"varying acquisition numbers", None),
    (r"transfer syntax|preamble", None),
    # of no concern for one image of a head
    (r"gradients?|bvec|B0|diffusion|DTI|Eddy|DWI", None),
    (r"SliceTiming|Slice timing|RTIA|phase encoding|Seconds between volumes|TR =|fmap|BIDS|MultiBand", None),
    (r"manufacturer|Patient Position|PrivateCreator|Protocol Block|protocol data block|ParallelReduction|XA", None),
    (r"overlay|icon|PhysioLogging|CMRR|CSA|MRS", None),
    (r"row order preserved|not actively supported|more recent than stable|not the latest", None),
    # passed on
    (
        r"missing|repeated, but number of slices|not divisible by",
        "the numbers of its files have gaps: slices may be missing",
    ),
    (r"Slices skipped|not sequential", "some slices do not follow each other in one line, and may have been skipped"),
    (r"gantry tilt", "its slices lie aslant to the direction in which they are stacked"),
    (r"orientation varies|slice orientation", "its slices do not lie in one direction"),
    (r"PixelSpacing|dimensions? var|bit depth varies|bits allocated varies", "its slices differ in size"),
    (r"mirrored", "left and right of a single slice cannot be told"),
    (r"not large enough|fread error|decompress|JPEG|RLE", "a file of it is shorter than it says, or damaged"),
    (r"icon|PALETTE", "its colours are not those of an MR scan"),
    (r"ReferencedFrameNumber|issue 888", "what its frames say of their positions disagrees"),
)
"""Pattern -> words, or None where nothing needs to be said. The first that fits counts."""


def warnings_in_words(said: str) -> tuple[str, ...]:
    """The warnings among what dcm2niix printed, each once; those that lacunet does not know are only counted."""
    words: list[str] = []
    unknown = 0
    for line in said.splitlines():
        if not re.match(r"\s*(?:warning|error)\b", line, re.IGNORECASE):
            continue
        fits = [text for pattern, text in _WARNINGS if re.search(pattern, line, re.IGNORECASE)]
        if not fits:
            unknown += 1
        elif fits[0] is not None and fits[0] not in words:
            words.append(fits[0])
    if unknown:
        words.append(
            f"dcm2niix warned {'once' if unknown == 1 else f'{unknown} times'} of something lacunet does not know"
        )
    return tuple(words)
