"""What dcm2niix prints becomes plain words, and never its own."""

import pytest

from lacunet.intake.read.converter_words import warnings_in_words

ALL_WELL = """Chris Rorden's dcm2niiX version v1.0.20260724  (JP2:OpenJPEG) (JP-LS:CharLS) GCC10.2.1 x86-64
Found 22 DICOM file(s)
Slices not stacked: echo varies (TE 20, 30; echo 1, 2). Use 'merge 2D slices' option to force stacking
Convert 22 DICOM as /tmp/out/scan (22x26x22x1)
Conversion required 0.01 seconds.
"""


@pytest.mark.parametrize("line", [
    "", "Warning: Variance of DICOM slope/intercept is being ignored due to use of the `-p n` option.",
    "Warning: Interslice distance varies in this volume (incompatible with NIfTI format).",
    "Warning: Unable to determine manufacturer (0008,0070), so conversion is not tuned for vendor.",
    "Warning: Instance Number (0020,0013) order is not spatial.",
    "Warning: Siemens XA exported as classic not enhanced DICOM (issue 236)",
    "Warning: Saving as 32-bit float (slope, intercept or bits allocated varies).",
])  # fmt: skip
def test_what_lacunet_judges_itself_is_not_repeated(line: str) -> None:
    assert warnings_in_words(ALL_WELL + line) == ()


@pytest.mark.parametrize(("line", "words"), [
    ("Warning: Missing images? Expected 22 images, but instance number (0020,0013) ranges from 1 to 44", "have gaps"),
    ("Warning: DICOM images may be missing, expected 30 spatial locations per volume, but found 22.", "have gaps"),
    ("Warning: Slices skipped: image position not sequential, admonish your vendor (Siemens OOG?)", "in one line"),
    ("Warning: Note these images have gantry tilt of 8 degrees (manufacturer ID = 1)", "lie aslant"),
    ("Warning: Keeping series even though slice orientation varies", "in one direction"),
    ("Warning:  PixelSpacing (0028,0030) varies 0.9", "differ in size"),
    ("Error: File not large enough to store image data: /home/Mustermann/1.dcm", "shorter than it says"),
    ("Warning: Check that 2D images are not mirrored.", "left and right"),
    ("Warning: a new one about Mustermann", "warned once of something lacunet does not know"),
    ("Warning: a new one\nWarning: and another\nerror: a third", "warned 3 times of something lacunet does not know"),
])  # fmt: skip
def test_warnings_in_plain_words(line: str, words: str) -> None:
    (said,) = warnings_in_words(f"{ALL_WELL}{line}\n{line if 'new' not in line else ''}")
    assert words in said
    assert "Mustermann" not in said
