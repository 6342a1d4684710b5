"""Measures of a mask that somebody drew or corrected: `lacunet measure`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lacunet.cli.options import Overwrite, ShowNames, TaskName
from lacunet.cli.terminal import print_rows, say
from lacunet.errors import OutputError
from lacunet.reading import is_folder
from lacunet.task import IN_BRACKETS, get_task

if TYPE_CHECKING:
    from lacunet.corrections.record import MeasuresRecord
    from lacunet.description.vasari import Feature
    from lacunet.segmentation.record import ShapeRecord
    from lacunet.task import Task


FILE_NAME = "measures.json"
"""Of what is measured, in a folder that --output names."""


def measure(
    mask: Annotated[Path, typer.Argument(help="A mask: NIfTI, or NRRD, also .seg.nrrd of 3D Slicer.")],
    case: Annotated[
        Path | None,
        typer.Option("--case", help="Its case: the folder that lacunet segment wrote for it, or that of its scans."),
    ] = None,
    scan: Annotated[
        list[Path] | None,
        typer.Option("--scan", help="A scan without skull in the same coordinates. May be repeated."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Label convention of the mask, where it does not show.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", "--json", help="A JSON file of all that was measured."),
    ] = None,
    task: TaskName = "glioma",
    show_names: ShowNames = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure a mask, such as a corrected one: volumes, diameters, foci, side, lobes, and the change to the model's."""
    from lacunet.corrections.measure import measure as measure_mask
    from lacunet.files import write_json

    output = output / FILE_NAME if output and is_folder(output) else output
    if output is not None and not overwrite and os.path.lexists(output):  # False of a name that no file can have
        raise OutputError(f"{output}: exists already; replace it with --overwrite, or choose another name")
    known = get_task(task)
    record = measure_mask(mask, known, case, scan or (), labels, show_names)
    _print_measures(record, known)
    if output is not None:
        write_json(output, record.model_dump(mode="json"))
        say(f"Measures: {output}")


def _print_measures(record: "MeasuresRecord", task: "Task") -> None:
    """What must be said first, the volumes with their change, the sizes, the lobes and the warnings."""
    from lacunet.description.lobes import share_words

    for caution in record.cautions:
        say(f"CAUTION: {caution.sentence}")
    titles, rows = _volumes(record, task)
    print_rows("region", titles, rows)
    if record.measures:
        say()
        titles = ["largest", "foci", "side", "midline"] if record.place_from else ["largest", "foci"]
        print_rows("region", titles, [_size(region, shape, task) for region, shape in record.measures.items()])
    for region, shape in record.measures.items():
        if shape.lobes:
            say(f"{task.titles[region]}: {share_words(shape.lobes)}")
    if record.vasari:
        _print_vasari(record.vasari)
    if record.change and not record.change.corrected:
        say("the mask is the model's own: no voxel was changed")
    for warning in record.warnings:
        say(f"note: {warning}")


def _print_vasari(features: "Sequence[Feature]") -> None:
    """The features that can be said, and why the others cannot."""
    from lacunet.description.vasari import CAVEAT

    rows = [[f"{one.number} {one.name}", one.value, one.amount_words or "-"] for one in features if one.value]
    say()
    print_rows("VASARI", ["value", "measured"], rows)
    unsaid: dict[str, list[str]] = {}
    for feature in features:
        if feature.value is None:
            unsaid.setdefault(feature.note, []).append(feature.number)
    for why, numbers in unsaid.items():
        say(f"not stated: {', '.join(numbers)}, since {why}")
    say(f"features of VASARI are {CAVEAT}")


def _volumes(record: "MeasuresRecord", task: "Task") -> tuple[list[str], list[list[str]]]:
    change = record.change
    rows = []
    for region, volume in record.volumes_ml.items():
        seen = record.evidence.get(region, "seen")
        row = [f"{task.titles[region]}{IN_BRACKETS[seen]}", f"{volume:.1f}"]
        if change:
            own = change.regions[region]
            row += [f"{own.model_ml:.1f}", f"{own.change_ml:+.1f}", "-" if own.dice is None else f"{own.dice:.3f}"]
        rows.append(row)
    return ["ml", "model ml", "change", "Dice"] if change else ["ml"], rows


def _size(region: str, shape: "ShapeRecord", task: "Task") -> list[str]:
    from lacunet.description.shape import diameter_words, midline_words, side_words

    largest = max(shape.foci, key=lambda focus: focus.product_mm2, default=None)
    size = diameter_words(largest.longest_mm, largest.across_mm) if largest else "-"
    row = [task.titles[region], size, str(len(shape.foci))]
    if shape.side is None or shape.right_share is None or shape.midline_mm is None:
        return row
    return [*row, side_words(shape.side, shape.right_share), midline_words(shape.midline_mm)]
