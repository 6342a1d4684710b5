"""Draw which tokens a trained `masm` keeps: docs/images/masm-tokens.png, an invented patient, or a case of one's own.

    python scripts/figures/picture_tokens.py RUN [--seed 3] [--subset t1n+t1c+t2w+t2f] [--output FILE]
    python scripts/figures/picture_tokens.py RUN --case DIR --output FILE

A row per sequence, a column per level, the slice with most tumour (the middle one where there is no reference). Kept
tokens show the image as it is; pruned ones are tinted: orange where the partner replaces them, violet where there is
none. The tumour of the reference is outlined.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from lacunet.case import Case
from lacunet.data.find import find_cases
from lacunet.data.labels import with_conventions
from lacunet.data.nifti import load_case
from lacunet.data.phantom.phantom import make_phantom
from lacunet.data.prepare import frame_of, prepare_images, prepare_reference
from lacunet.methods.masm import MASM, ModalityAware
from lacunet.models.model import Model, load_model
from lacunet.prediction.windows import pad_to
from lacunet.task import Subset

REPLACED, LOST = (0.93, 0.55, 0.1), (0.55, 0.36, 0.85)


@dataclass(frozen=True)
class Seen:
    """What is drawn of a case, on the network's grid.

    Attributes:
        images: `modality x y z`.
        tumour: True inside, or None without a reference.
        kept: Per level, `modality x y z` on the grid of tokens.
        sides: Per level, voxels of a token along each axis.
    """

    images: np.ndarray
    tumour: np.ndarray | None
    kept: list[np.ndarray]
    sides: list[int]


def look(model: Model, case: Case, subset: Subset) -> Seen:
    """Run the network once and keep every level's scores."""
    method, task = model.method, model.task
    assert isinstance(method, MASM)
    frame = frame_of(case, subset, model.preparation)
    images = pad_to(prepare_images(case.only(subset), task, model.preparation, frame)[None], method.divisor)
    sides = [2**level * block.tokenise.side for level, block in enumerate(method.aware)]
    kept = [np.ones((len(task.modalities), *(n // side for n in images.shape[2:])), bool) for side in sides]
    hooks = [hook for block, mask in zip(method.aware, kept, strict=True) for hook in listen(block, mask)]
    with torch.inference_mode():
        method(images, torch.tensor([task.presence(subset)]))
    for hook in hooks:
        hook.remove()
    cut = tuple(slice(0, n) for n in frame.shape)
    tumour = None if case.reference is None else prepare_reference(case, task, frame).numpy() > 0
    return Seen(images[0].numpy()[(slice(None), *cut)], tumour, kept, sides)


def listen(block: torch.nn.Module, kept: np.ndarray) -> list[torch.utils.hooks.RemovableHandle]:
    """Write what a block keeps into `kept`; its score is asked once for each group, in order."""
    assert isinstance(block, ModalityAware)
    groups = iter(block.groups)

    def write(module: object, inputs: object, scores: torch.Tensor) -> None:
        for modality, score in zip(next(groups), scores[0], strict=True):
            kept[modality] = (score > 0).numpy().reshape(kept.shape[1:])

    return [] if block.score is None else [block.score.register_forward_hook(write)]


def draw(seen: Seen, model: Model, subset: Subset) -> plt.Figure:
    """A row per sequence, a column per level."""
    task, method = model.task, model.method
    assert isinstance(method, MASM)
    shape = seen.images.shape[1:]
    level_count = len(seen.kept)
    height = 0 if seen.tumour is None else int(np.argmax(seen.tumour.sum((0, 1))))
    height = height or shape[2] // 2
    size = 1.9
    figure, axes = plt.subplots(
        len(subset),
        level_count,
        figsize=(size * level_count * shape[0] / shape[1] + 0.3, size * len(subset) + 0.3),
        squeeze=False,
        facecolor="black",
    )
    partners = {index: group for block in method.aware for group in block.groups for index in group}
    shown = [task.modalities.index(modality) for modality in subset]
    for row, index in zip(axes, shown, strict=True):
        image = seen.images[index][:, :, height]
        image = np.where(image == 0, -10, image)  # what is not brain is black
        colour = REPLACED if len(set(partners[index]) & set(shown)) > 1 else LOST
        for axis, kept, side in zip(row, seen.kept, seen.sides, strict=True):
            axis.imshow(image.T, origin="lower", cmap="gray", vmin=-2.5, vmax=2.5)
            pruned = ~kept[index][:, :, height // side].repeat(side, 0).repeat(side, 1)
            veil = np.zeros((*shape[:2], 4))
            veil[..., :3] = colour
            veil[..., 3] = 0.62 * pruned[: shape[0], : shape[1]]
            axis.imshow(veil.transpose(1, 0, 2), origin="lower")
            if seen.tumour is not None and seen.tumour[:, :, height].any():
                axis.contour(seen.tumour[:, :, height].T, [0.5], colors="#4cc9f0", linewidths=1.1)
            axis.text(0.03, 0.03, f"{kept[index].mean():.0%}", color="white", fontsize=8, transform=axis.transAxes)
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(task.titles[task.modalities[index]], color="white", fontsize=10)
    for level, axis in enumerate(axes[0], start=1):
        axis.set_title(f"level {level}", color="white", fontsize=10)
    figure.tight_layout(pad=0.4)
    return figure


def main() -> None:
    """Read the command line, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a run or a model folder of masm")
    parser.add_argument("--seed", type=int, default=3, help="which invented patient")
    parser.add_argument("--case", type=Path, help="a case folder, instead of an invented patient")
    parser.add_argument("--subset", help="sequences that are shown; all that the case has if not given")
    parser.add_argument("--output", type=Path, default=Path("docs/images/masm-tokens.png"))
    options = parser.parse_args()
    model = load_model(options.model)
    if not isinstance(model.method, MASM) or not len(model.method.aware):
        raise SystemExit(f"{options.model}: not a masm with Modality-Aware blocks")
    if options.case is None:
        case = make_phantom(options.seed)
    else:
        case = load_case(with_conventions(find_cases(options.case))[0], model.task)
    subset = model.task.subset(options.subset) if options.subset else case.acquired(model.task)
    figure = draw(look(model, case, subset), model, subset)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output, dpi=100, facecolor="black")


if __name__ == "__main__":
    main()
