"""Hold a trained `smsn` against its parallel twin as sequences go missing: numbers, and a picture of them.

    python scripts/studies/smsn_claim.py RUN TWIN --data DATA --split FILE:PART -o FOLDER

RUN and TWIN are runs or model folders of `smsn`, the twin trained with `--set arguments.fusion=parallel`. Of every case
of the part and every subset:

dice            of whole cases, as `lacunet evaluate` scores them
nats_z1, nats_z2  KL(p(z|x) || N(0, I)) summed over channels and voxels of a crop, codes drawn: in the mean over cases,
                no less than I(Z;X)
loss            Dice plus cross-entropy on the crop
rise            what the loss gains when all weights move a random way, filter by filter as far as `--radius` times
                their own length (Li et al., 2018); the mean over directions and both ways
gain_logits     how many times as long a small change of the images can be as a change of the logits: a local Lipschitz
                constant of the whole network, from below (power iteration)
gain_fusion     the same from the encoders' features to z2: of the fusion alone

A crop lies about the middle of the tumour. Everything is seeded. `claim.csv` has a row per model, case and subset,
`landscape.csv` the loss along the directions, `claim.json` means by the number of missing sequences, `claim.png` all
of it. Skips and specific features go round the bottlenecks: nats_z2 is about z2, not about all that the decoder sees.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from torch import Tensor

from lacunet.case import Case
from lacunet.data.labelled import labelled, named_part
from lacunet.data.nifti import load_case
from lacunet.data.prepare import frame_of, prepare_images, prepare_reference, regions_of
from lacunet.evaluation.metrics import dice, region_masks
from lacunet.files import whole_file, write_json
from lacunet.methods.smsn import SMSN
from lacunet.models.model import Model, load_model
from lacunet.nn.batch import hide
from lacunet.nn.losses import segmentation_losses
from lacunet.prediction.predictor import Predictor
from lacunet.task import Subset
from lacunet.training.augmentation.space import cut_out
from landscape import filter_normalised, largest_gain, moved

Table = dict[tuple[str, Subset], float]
"""A number for each case and subset."""

MEASURES = ("dice", "nats_z1", "nats_z2", "loss", "rise", "gain_logits", "gain_fusion")


@dataclass(frozen=True)
class Crop:
    """A case about the middle of its tumour: images and regions as a batch of one."""

    name: str
    images: Tensor
    regions: Tensor


@dataclass(frozen=True)
class Measured:
    """What was found of one model: a table per measure, and the loss along each direction."""

    tables: dict[str, Table]
    curves: list[dict[float, Table]]


def main() -> None:
    """Read the command line, measure both, write everything."""
    options = read_options()
    models = {name: load_smsn(name) for name in (options.run, options.twin)}
    cases = cases_of(options.data, options.split, models[options.run])
    found = {name: measure(model, cases, options) for name, model in models.items()}
    options.output.mkdir(parents=True, exist_ok=True)
    titles = titles_of(models)
    rows = [row for name in models for row in rows_of(titles[name], found[name], models[name])]
    curves = [row for name in models for row in curve_rows(titles[name], found[name], models[name])]
    write_table(options.output / "claim.csv", rows)
    write_table(options.output / "landscape.csv", curves)
    write_json(options.output / "claim.json", summary_of(rows, options))
    draw(rows, curves, list(titles.values())).savefig(options.output / "claim.png", dpi=110)


def read_options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("twin")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", help="FILE:PART; every case of the data if not given")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--crop", type=int, default=64, help="voxels of the crop along each axis")
    parser.add_argument("--directions", type=int, default=5)
    parser.add_argument("--radius", type=float, default=0.2)
    parser.add_argument("--points", type=int, default=3, help="distances on either side, the last at the radius")
    parser.add_argument("--iterations", type=int, default=5, help="of the power iteration")
    parser.add_argument("--draws", type=int, default=4, help="of the codes, for the nats")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def load_smsn(source: str) -> Model:
    """A model of this method."""
    model = load_model(source)
    if not isinstance(model.method, SMSN):
        raise SystemExit(f"{source}: not a model of smsn")
    if len(model.method.fusion.sizes) > 2:
        raise SystemExit(f"{source}: its groups make more than two bottlenecks; this script compares z1 and z2 alone")
    return model


def titles_of(models: dict[str, Model]) -> dict[str, str]:
    """What each is called: its fusion, or its run where both have the same."""
    fusions = {name: str(model.method.arguments.get("fusion", "sequential")) for name, model in models.items()}
    return fusions if len(set(fusions.values())) == len(fusions) else {name: name for name in fusions}


def cases_of(data: Path, split: str | None, model: Model) -> list[Case]:
    """The named cases, those with all sequences."""
    files = labelled(data, model.task, None)
    if split is not None:
        files = named_part(files, split)
    loaded = [load_case(case, model.task) for case in files]
    complete = [case for case in loaded if len(case.images) == len(model.task.modalities)]
    if not complete:
        raise SystemExit(f"{data}: no case has all sequences")
    return complete


def measure(model: Model, cases: Sequence[Case], options: argparse.Namespace) -> Measured:
    """Everything about one model."""
    method = model.method
    assert isinstance(method, SMSN)
    crops = [crop_of(case, model, options.crop) for case in cases]
    tables: dict[str, Table] = {"dice": dice_table(model, cases)}
    tables["loss"] = loss_table(method, crops)
    curves = loss_curves(method, crops, options)
    ends = [table for curve in curves for distance, table in curve.items() if abs(distance) == options.radius]
    tables["rise"] = {key: fmean(end[key] for end in ends) - loss for key, loss in tables["loss"].items()}
    for measure_one in (nats_tables, gain_tables):
        tables |= measure_one(method, crops, options)
    return Measured(tables, curves)


def crop_of(case: Case, model: Model, side: int) -> Crop:
    """The case about the middle of its tumour, or of its box where there is none."""
    frame = frame_of(case, case.acquired(model.task), model.preparation)
    images = prepare_images(case, model.task, model.preparation, frame)
    labels = prepare_reference(case, model.task, frame)
    voxels = labels.nonzero().float() if labels.any() else torch.tensor([[0.0] * 3, [n - 1.0 for n in labels.shape]])
    middle = ((voxels.min(0).values + voxels.max(0).values) / 2).round().numpy() + 0.5
    cut, marked = cut_out(images.numpy(), labels.numpy(), middle, np.eye(3), (side, side, side))
    return Crop(case.name, cut[None], regions_of(marked, model.task)[None])


def presence_of(method: SMSN, subset: Subset) -> Tensor:
    """A subset as a mask of one case."""
    return torch.tensor([method.task.presence(subset)])


def dice_table(model: Model, cases: Sequence[Case]) -> Table:
    """Mean Dice over the regions of whole cases."""
    predictor, found = Predictor(model, "cpu"), {}
    for case in cases:
        assert case.reference is not None
        reference = region_masks(case.reference, model.task)
        for prediction in predictor.each(case, model.task.subsets):
            scores = [dice(mask, reference[region]) for region, mask in prediction.regions().items()]
            found[case.name, prediction.subset] = fmean(scores)
    return found


@torch.no_grad()
def loss_table(method: SMSN, crops: Sequence[Crop]) -> Table:
    """The loss of each crop seen through each subset; encoded once."""
    found = {}
    for crop in crops:
        encoded = method.encode(crop.images, presence_of(method, method.task.modalities))
        for subset in method.task.subsets:
            logits = method.decode(encoded, presence_of(method, subset))
            found[crop.name, subset] = float(segmentation_losses(logits, crop.regions))
    return found


def loss_curves(method: SMSN, crops: Sequence[Crop], options: argparse.Namespace) -> list[dict[float, Table]]:
    """The loss along each direction, on both sides of the solution."""
    weights, curves = list(method.parameters()), []
    distances = distances_of(options.radius, options.points)
    for number in range(options.directions):
        direction = filter_normalised(weights, torch.Generator().manual_seed(options.seed * 1000 + number))
        curve = {}
        for distance in distances:
            with moved(weights, direction, distance):
                curve[distance] = loss_table(method, crops)
        curves.append(curve)
    return curves


def distances_of(radius: float, points: int) -> list[float]:
    """Even steps to both sides, the last ones exactly at the radius."""
    return [side * radius * (n / points) for n in range(1, points + 1) for side in (-1, 1)]


@torch.no_grad()
def nats_tables(method: SMSN, crops: Sequence[Crop], options: argparse.Namespace) -> dict[str, Table]:
    """What passes each bottleneck; z2's depends on the z1 that was drawn, so on the mean over some draws."""
    tables: dict[str, Table] = {"nats_z1": {}, "nats_z2": {}}
    for crop in crops:
        encoded = method.encode(crop.images, presence_of(method, method.task.modalities))
        for subset in method.task.subsets:
            torch.manual_seed(options.seed)
            drawn = [method.fuse(encoded, presence_of(method, subset), drawn=True) for _ in range(options.draws)]
            for number in range(1, 1 + len(drawn[0].bottlenecks)):
                nats = fmean(float(fused.bottlenecks[-number].nats().sum()) for fused in drawn)
                tables[f"nats_z{3 - number}"][crop.name, subset] = nats
    return {name: table for name, table in tables.items() if table}


def gain_tables(method: SMSN, crops: Sequence[Crop], options: argparse.Namespace) -> dict[str, Table]:
    """`gains_of` every crop and subset."""
    tables: dict[str, Table] = {"gain_logits": {}, "gain_fusion": {}}
    for crop in crops:
        for subset in method.task.subsets:
            for name, gain in gains_of(method, crop, subset, options).items():
                tables[name][crop.name, subset] = gain
    return tables


def gains_of(method: SMSN, crop: Crop, subset: Subset, options: argparse.Namespace) -> dict[str, float]:
    """The largest gain from images to logits, and from the encoders' features to z2."""
    presence = presence_of(method, subset)
    with torch.no_grad():
        encoded = method.encode(crop.images, presence)

    def logits(images: Tensor) -> Tensor:
        return method(images, presence)

    def shared(features: Tensor) -> Tensor:
        return method.fuse(replace(encoded, features=features), presence).shared

    def gain(function: Callable[[Tensor], Tensor], at: Tensor) -> float:
        return largest_gain(function, at, torch.Generator().manual_seed(options.seed), iterations=options.iterations)

    return {
        "gain_logits": gain(logits, hide(crop.images, presence)),
        "gain_fusion": gain(shared, encoded.features),
    }


def rows_of(name: str, found: Measured, model: Model) -> list[dict[str, Any]]:
    """A row per case and subset."""
    count = len(model.task.modalities)
    return [
        {"model": name, "case": case, "subset": model.task.subset_name(subset), "missing": count - len(subset)}
        | {measure: found.tables[measure][case, subset] for measure in MEASURES if measure in found.tables}
        for case, subset in found.tables["dice"]
    ]


def curve_rows(name: str, found: Measured, model: Model) -> list[dict[str, Any]]:
    """A row per direction, distance and number of missing sequences."""
    count, rows = len(model.task.modalities), []
    for number, curve in enumerate(found.curves):
        for distance, table in sorted({0.0: found.tables["loss"], **curve}.items()):
            for missing in range(count):
                losses = [loss for (_, subset), loss in table.items() if count - len(subset) == missing]
                row = {"model": name, "direction": number, "distance": distance, "missing": missing}
                rows.append(row | {"loss": fmean(losses)})
    return rows


def means_of(rows: Sequence[dict[str, Any]], name: str, measure: str) -> list[float]:
    """By the number of missing sequences, from none; nothing where a model has no such measure."""
    own = [row for row in rows if row["model"] == name and measure in row]
    return [fmean(row[measure] for row in own if row["missing"] == n) for n in sorted({row["missing"] for row in own})]


def summary_of(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Settings, means by the number of missing sequences, and the first model's lead in Dice."""
    names = list(dict.fromkeys(row["model"] for row in rows))
    means = {name: {measure: means_of(rows, name, measure) for measure in MEASURES} for name in names}
    leads = [one - other for one, other in zip(*(means[name]["dice"] for name in names), strict=True)]
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    cases = sorted({row["case"] for row in rows})
    return {"settings": settings, "cases": cases, "means_by_missing": means, "lead_in_dice_by_missing": leads}


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A CSV file, whole; a model without a measure has an empty cell."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


COLOURS = ("#1d6fb8", "#d9822b")
PANELS = {
    "dice": "Dice",
    "nats_z2": "nats that pass, at least I(Z;X)",
    "rise": "rise of the loss about the solution",
    "gain_logits": "gain, images to logits",
    "gain_fusion": "gain, features to z2",
}


def draw(rows: Sequence[dict[str, Any]], curves: Sequence[dict[str, Any]], names: Sequence[str]) -> plt.Figure:
    """Each measure by the number of missing sequences, and the loss along the directions."""
    figure, axes = plt.subplots(2, 3, figsize=(11.5, 6.6), layout="constrained")
    first, *others = axes.flat
    for axis, (measure, title) in zip([first, *others[:2], *others[3:]], PANELS.items(), strict=True):
        for name, colour in zip(names, COLOURS, strict=True):
            values = means_of(rows, name, measure)
            axis.plot(range(len(values)), values, "o-", color=colour, label=name)
            if measure == "nats_z2" and (earlier := means_of(rows, name, "nats_z1")):
                axis.plot(range(len(earlier)), earlier, "o:", color=colour, label=f"{name}, z1", alpha=0.7)
        axis.set_title(title, fontsize=10)
        axis.set_xticks(range(4))
        axis.set_xlabel("missing sequences", fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.25)
    first.legend(fontsize=9)
    others[0].legend(fontsize=8)
    draw_curves(others[2], curves, names)
    return figure


def draw_curves(axis: plt.Axes, curves: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """The mean over the directions, for no and for most missing sequences."""
    most = max(row["missing"] for row in curves)
    for name, colour in zip(names, COLOURS, strict=True):
        for missing, style in ((0, "-"), (most, "--")):
            own = [row for row in curves if row["model"] == name and row["missing"] == missing]
            distances = sorted({row["distance"] for row in own})
            means = [fmean(row["loss"] for row in own if row["distance"] == distance) for distance in distances]
            axis.plot(distances, means, style, color=colour, label=f"{name}, {missing} missing")
    axis.set_title("loss along random directions", fontsize=10)
    axis.set_xlabel("distance, in lengths of the weights", fontsize=9)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7)


if __name__ == "__main__":
    main()
