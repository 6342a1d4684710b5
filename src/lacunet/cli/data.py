"""Data to train on: `lacunet phantom`, `lacunet missing`."""

from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.options import Output, TaskName, require_writable
from lacunet.cli.terminal import progress, say
from lacunet.errors import OutputError
from lacunet.task import get_task


def phantom(
    output: Output,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Number of the first patient; the number is the seed.")] = 0,
    spacing: Annotated[float, typer.Option(help="Millimetres between voxels.")] = 1.0,
    healthy: Annotated[bool, typer.Option("--healthy", help="Without a tumour, with empty references.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace patients that are there.")] = False,
) -> None:
    """Invented patients in BraTS layout, with references."""
    from lacunet.data.phantom.phantom import write_phantoms

    require_writable(output)
    with progress() as bar:
        bar.doing("inventing")
        written = write_phantoms(output, count, seed, spacing=spacing, overwrite=overwrite, tumour=not healthy)
    say(f"{len(written)} invented patients in {output}")


def missing(
    data: Annotated[Path, typer.Argument(help="Folder of cases, or a manifest.csv.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write, a .csv file.")],
    full: Annotated[float, typer.Option(help="Share of the cases that stay complete, 0 to 1.")] = 0.1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same draw.")] = 1,
    split: Annotated[str | None, typer.Option(help="FILE:PART, such as split.json:train.")] = None,
    task: TaskName = "glioma",
) -> None:
    """Draw which training cases lose which sequences for good, so that every method trains on the same."""
    from lacunet.data.find import find_cases
    from lacunet.data.labelled import named_part
    from lacunet.data.missing import complete_share, draw_missing, write_missing

    known = get_task(task)
    cases = find_cases(data, known)
    if split is not None:
        cases = named_part(cases, split)
    manifest = draw_missing([case.name for case in cases], known, full, seed)
    if output.exists():
        raise OutputError(f"{output}: exists already and is not drawn again; choose another name")
    write_missing(output, manifest, known)
    say(f"{output}: {len(manifest)} cases, {100 * complete_share(manifest, known):.1f} % complete")
