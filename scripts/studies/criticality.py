"""Which sequence three scores of `ccsd` would remove first, and which one the loss needs.

    python scripts/studies/criticality.py MODEL DATA --split DATA/split.json:val [--side 64]

MODEL is a trained `ccsd`. Of each case that has every sequence, a box about its tumour is encoded once. By sequence:
the cosine score (eq. 4-5), the gradient score (eq. 9) and the rise of the loss without the sequence. Below the table:
how often each score puts the sequence first that the loss needs most, and its rank correlation with the rises. A random
order does so in one case of four, with a correlation of 0: a score that does worse is no reason to expect that removing
the most critical sequence first teaches more than a random order (the paper's failure signature).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from scipy.stats import spearmanr

from lacunet.case import Case
from lacunet.data.labelled import labelled, named_part
from lacunet.data.nifti import load_case
from lacunet.data.prepare import frame_of, prepare_images, prepare_reference
from lacunet.methods.ccsd import CCSD
from lacunet.models.model import Model, load_model
from lacunet.nn.batch import Batch
from lacunet.nn.criticality import cosine_criticality, feature_gradient_norms
from lacunet.task import Task

SCORES = ("cosine", "gradient")


@dataclass(frozen=True)
class Criticalities:
    """Of one case, by sequence.

    Attributes:
        cosine: Minus the mean similarity to the others.
        gradient: Norm of the loss's gradient by the feature.
        rise: Of the loss without the sequence.
    """

    cosine: Sequence[float]
    gradient: Sequence[float]
    rise: Sequence[float]


def main() -> None:
    """Read the command line, look at every case, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", help="FILE:PART; all cases without it")
    parser.add_argument("--side", type=int, default=64, help="voxels of the box, along each side")
    options = parser.parse_args()
    model = load_model(options.model)
    if not isinstance(model.method, CCSD):
        parser.error(f"{options.model} is no ccsd")
    cases = labelled(options.data, model.task, None)
    cases = named_part(cases, options.split) if options.split else cases
    loaded = (load_case(files, model.task) for files in cases if set(files.images) >= set(model.task.modalities))
    found = [criticalities_of(model, model.method, case, options.side) for case in loaded]
    print("\n".join(table(found, model.task)))


def criticalities_of(model: Model, method: CCSD, case: Case, side: int) -> Criticalities:
    """The three scores of one case, of a box about the middle of its tumour."""
    batch = box_of(model, case, side)
    method.requires_grad_(True)
    encoded = method.encode(batch.images, batch.acquired)
    losses = method.losses(batch, encoded, batch.acquired)
    everything = tuple(range(len(model.task.modalities)))
    cosine = cosine_criticality(torch.cat(encoded.fused))(everything)
    return Criticalities(
        cosine=[cosine[index] for index in everything],
        gradient=feature_gradient_norms(losses, encoded.fused)[0].tolist(),
        rise=method.rises_without(batch, encoded, losses.detach())[0].tolist(),
    )


def box_of(model: Model, case: Case, side: int) -> Batch:
    """A batch of one: all sequences and the regions of the reference, in a box that lies in the brain's."""
    task = model.task
    frame = frame_of(case, task.modalities, model.preparation)
    images = prepare_images(case, task, model.preparation, frame)
    regions = prepare_reference(case, task, frame)
    labels = torch.stack([torch.isin(regions, torch.tensor(own)) for own in task.regions.values()]).float()
    inside = labels[0].nonzero().float()
    middle = inside.mean(0) if len(inside) else torch.tensor(labels.shape[1:]) / 2
    starts = [
        int(min(max(0.0, float(at) - side / 2), max(0, length - side)))
        for at, length in zip(middle, labels.shape[1:], strict=True)
    ]
    box = (slice(None), *(slice(start, start + side) for start in starts))
    shown, truth = (_padded(array[box], side) for array in (images, labels))
    acquired = torch.ones(1, len(task.modalities), dtype=torch.bool)
    return Batch(shown[None], acquired, acquired, truth[None], (case.name,))


def _padded(array: torch.Tensor, side: int) -> torch.Tensor:
    """Zeros where the brain is smaller than the box."""
    x, y, z = (side - length for length in array.shape[1:])
    return torch.nn.functional.pad(array, (0, z, 0, y, 0, x))


def table(found: Sequence[Criticalities], task: Task) -> list[str]:
    """Means over cases, then how far each score agrees with the rises."""
    lines = [
        f"| sequence | cosine score | removed first by it | gradient score | by it | rise of the loss without it, "
        f"{len(found)} cases | needed most |",
        "|---|---|---|---|---|---|---|",
    ]
    for index, modality in enumerate(task.modalities):
        cells = [task.titles[modality]]
        for name in (*SCORES, "rise"):
            values = [getattr(one, name) for one in found]
            first = fmean(int(np.argmax(own)) == index for own in values)
            cells += [f"{fmean(own[index] for own in values):.3f}", f"{first:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for name in SCORES:
        pairs = [(getattr(one, name), one.rise) for one in found]
        right = fmean(int(np.argmax(score)) == int(np.argmax(rise)) for score, rise in pairs)
        rank = fmean(float(spearmanr(score, rise).statistic) for score, rise in pairs)
        lines.append(f"The {name} score puts the sequence first that the loss needs most in {right:.0%} of the cases; "
                     f"its rank correlation with the rises is {rank:+.2f} (mean).")  # fmt: skip
    lines.append(f"A random order: {1 / len(task.modalities):.0%}, and 0.")
    return lines


if __name__ == "__main__":
    main()
