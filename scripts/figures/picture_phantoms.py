"""Draw docs/images/phantoms.png: a few invented patients, the slice with most tumour, four sequences and the labels.

python scripts/figures/picture_phantoms.py [--seeds 1 3 10] [--output FILE]
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap

from lacunet.case import Case
from lacunet.data.phantom.phantom import make_phantom
from lacunet.task import GLIOMA

LABEL_COLOURS = ListedColormap(["#d1495b", "#66a182", "#edae49"])


def draw_case(axes: np.ndarray, case: Case) -> None:
    """One row: the sequences, then the labels over FLAIR."""
    reference = case.reference
    assert reference is not None
    slice_ = int(np.argmax((reference > 0).sum((0, 1))))
    for axis, modality in zip(axes, [*GLIOMA.modalities, "t2f"], strict=True):
        image = case.images[modality][:, :, slice_]
        axis.imshow(image.T, origin="lower", cmap="gray", vmin=0, vmax=np.percentile(image[image > 0], 99.7))
    labels = reference[:, :, slice_].T
    axes[-1].imshow(np.ma.masked_equal(labels, 0), origin="lower", cmap=LABEL_COLOURS, vmin=1, vmax=3, alpha=0.7)
    axes[0].text(4, 8, case.person, color="white", fontsize=8)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--output", type=Path, default=Path("docs/images/phantoms.png"))
    options = parser.parse_args()
    figure, axes = plt.subplots(
        len(options.seeds), 5, figsize=(10, 2.3 * len(options.seeds)), squeeze=False, facecolor="black"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for row, seed in zip(axes, options.seeds, strict=True):
        draw_case(row, make_phantom(seed))
    for axis, title in zip(axes[0], [*(GLIOMA.titles[name] for name in GLIOMA.modalities), "labels"], strict=True):
        axis.set_title(title, color="white", fontsize=10)
    figure.tight_layout(pad=0.3)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=80, facecolor="black")


if __name__ == "__main__":
    main()
