"""Derive src/lacunet/data/phantom/anatomy.npz from the ICBM 152 templates in nilearn's wheel. Needs no network.

    pip install nilearn
    python scripts/release/make_anatomy.py

The templates are the symmetric non-linear average of 2009 (release a) at 1 mm: a skull-stripped T1 and maps of grey and
white matter. They are exactly symmetric, so the left half is enough. Kept are grey and white matter in percent
at 1.5 mm, and the brain mask (where the stripped T1 is not background, without holes and loose pieces).
Cerebrospinal fluid is the rest of the mask. The notice that goes with the templates is kept in
src/lacunet/data/phantom/anatomy-notice.txt.
"""

from pathlib import Path

import nibabel
import nilearn
import numpy as np
from scipy import ndimage

SPACING = 1.5
TEMPLATES = Path(nilearn.__file__).parent / "datasets" / "data"
OUTPUT = Path(__file__).parents[2] / "src/lacunet/data/phantom/anatomy.npz"


def read_template(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A template's voxels (0..255) and its affine."""
    image = nibabel.load(TEMPLATES / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
    return np.asarray(image.dataobj, dtype=np.float32), image.affine


def brain_mask(t1: np.ndarray) -> np.ndarray:
    """The largest piece of what is not background, with holes filled."""
    pieces, _ = ndimage.label(ndimage.binary_opening(t1 > 0, iterations=2))
    largest = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    return ndimage.binary_fill_holes(ndimage.binary_dilation(largest, iterations=2) & (t1 > 0))


def left_half(template: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The template at `SPACING`, from its left edge to the mid-plane (x = 0 is the last sample)."""
    middle = -affine[0, 3]  # the template's own spacing is 1 mm, and its mid-plane is a plane of voxels
    first = middle - SPACING * int(middle // SPACING)
    smooth = ndimage.gaussian_filter(template, 0.5)
    shape = [int(middle // SPACING) + 1, *(int((size - 1) // SPACING) + 1 for size in template.shape[1:])]
    return ndimage.affine_transform(smooth, [SPACING] * 3, [first, 0, 0], output_shape=shape, order=1)


def main() -> None:
    """Write the file and say how large it is."""
    t1, affine = read_template("t1")
    mask = brain_mask(t1)
    brain = left_half(mask.astype(np.float32), affine) > 0.5
    percent = {}
    for name, short in (("grey", "gm"), ("white", "wm")):
        half = left_half(np.where(mask, read_template(short)[0], 0), affine)
        percent[name] = np.where(brain, np.rint(half / 2.55), 0).astype(np.uint8)
    origin = np.array([-SPACING * (brain.shape[0] - 1), affine[1, 3], affine[2, 3]])
    np.savez_compressed(OUTPUT, brain=brain, **percent, origin=origin, spacing=np.array(SPACING))
    print(
        f"{OUTPUT}: {OUTPUT.stat().st_size / 1000:.0f} kB, one half {brain.shape}, "
        f"brain {2 * brain.sum() * SPACING**3 / 1e6:.2f} l"
    )


if __name__ == "__main__":
    main()
