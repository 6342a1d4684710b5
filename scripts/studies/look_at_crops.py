"""Crops of a recipe as a sheet of pictures: is what the network learns from plausible?

    python scripts/studies/look_at_crops.py recipes/small/ccsd.toml CASES -o crops.png --set augment.shading.chance=1

Each row is a crop: every sequence in the axial slice with most tumour, then in a coronal one, with the outlines of the
regions (whole tumour green, core yellow, enhancing red).
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib
import numpy as np

from lacunet.data.labelled import labelled, part_of
from lacunet.nn.batch import Batch
from lacunet.task import Task, get_task
from lacunet.training.crops import Crops
from lacunet.training.healthy import prepare_mirrored, prepare_phantoms
from lacunet.training.prepared import prepare_cases
from lacunet.training.recipe import read_recipe
from lacunet.training.transplant.given import prepare_lesions
from lacunet.training.transplant.transplant import Donors

matplotlib.use("agg")
from matplotlib import pyplot as plt

COLOURS = ("#37d67a", "#ffd400", "#ff4040")


def main() -> None:
    """Prepare some cases, make crops of them as a training does, and draw these."""
    arguments = parsed()
    recipe = read_recipe(arguments.recipe, arguments.set)
    task = get_task(recipe.task)
    cases = labelled(arguments.data, task, None)
    if arguments.split:
        cases = part_of(cases, arguments.split, "train")
    cases = cases[:: max(1, len(cases) // arguments.cases)][: arguments.cases]
    preparation = recipe.prepare.preparation()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.prepared or Path(scratch)
        prepared = list(prepare_cases(cases, task, preparation, folder))
        if arguments.lesions:
            lesions = labelled(arguments.lesions, task, None)
            given = list(prepare_lesions(lesions[:: max(1, len(lesions) // 40)], task, preparation, folder))
        else:
            given = prepared
        brains = [brain for brain in prepare_mirrored(cases, task, preparation, folder) if brain is not None]
        brains += prepare_phantoms(min(2, recipe.train.phantoms), task, preparation, folder)
        crops = Crops(
            prepared, task, recipe.train.model_copy(update={"batch": 1}),
            steps=arguments.number, augmentation=recipe.augment, seed=arguments.seed, stage=0, brains=brains,
            donors=Donors(recipe.transplant, given, preparation), spacing=preparation.spacing,
        )  # fmt: skip
        draw([crops[step] for step in range(arguments.number)], task, arguments.output)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--split", type=Path, help="take its training cases")
    parser.add_argument("--lesions", type=Path, help="take lesions of these cases; else of the cases themselves")
    parser.add_argument("--prepared", type=Path, help="folder of prepared cases; else they are made again")
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--number", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[])
    return parser.parse_args()


def draw(batches: list[Batch], task: Task, output: Path) -> None:
    """One row per crop."""
    columns = 2 * len(task.modalities)
    figure, axes = plt.subplots(len(batches), columns, figsize=(2.2 * columns, 2.3 * len(batches)), squeeze=False)
    for row, batch in zip(axes, batches, strict=True):
        images, regions = batch.images[0].numpy(), batch.regions[0].numpy()
        row[0].set_ylabel(batch.names[0], fontsize=6)
        for half, axis in enumerate((2, 1)):
            others = tuple(other for other in range(3) if other != axis)
            amount = regions.sum(0).sum(others)
            index = int(amount.argmax()) if amount.any() else regions.shape[axis + 1] // 2
            for place, (image, name) in enumerate(zip(images, task.modalities, strict=True)):
                panel = row[half * len(images) + place]
                show(panel, np.take(image, index, axis), np.take(regions, index, axis + 1))
                panel.set_title(name, fontsize=6, pad=1)
    figure.subplots_adjust(0.02, 0.005, 0.998, 0.985, 0.02, 0.08)
    figure.savefig(output, dpi=75)


def show(panel: plt.Axes, image: np.ndarray, regions: np.ndarray) -> None:
    """One slice; black is -3, white 4 standard deviations, and the background is blue."""
    panel.set_xticks([])
    panel.set_yticks([])
    shown = np.repeat(np.clip((image.T + 3) / 7, 0, 1)[..., None], 3, axis=-1)
    shown[image.T == 0] = (0.05, 0.05, 0.25)
    panel.imshow(shown, origin="lower", interpolation="nearest")
    for region, colour in zip(regions, COLOURS, strict=False):
        if region.any() and not region.all():
            panel.contour(region.T, levels=[0.5], colors=[colour], linewidths=0.5)


if __name__ == "__main__":
    main()
