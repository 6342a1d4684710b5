"""Two visits of one person: `lacunet change`."""

from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.options import (
    Device,
    MethodFile,
    MirrorName,
    ModelName,
    Output,
    Overwrite,
    PrecisionName,
    Window,
    predictor_of,
    require_writable,
    task_of,
)
from lacunet.cli.terminal import print_changed, progress


def change(
    earlier: Annotated[Path, typer.Argument(help="What lacunet segment wrote for the earlier visit: OUT/CASE.")],
    later: Annotated[Path, typer.Argument(help="The same for the later visit.")],
    output: Output = Path("change"),
    model: ModelName = "default",
    days: Annotated[int | None, typer.Option(min=0, help="Days between the visits, where no file says it.")] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    window: Window = 0,
    mirror: MirrorName = "none",
    method_file: MethodFile = None,
) -> None:
    """What has changed between two visits of one person, and whether it is more than the error of measurement.

    The verdict rests on the sequences that both visits have: a visit with more is segmented again from these.
    """
    from lacunet.visits.change import change as change_between

    task = task_of(model)
    require_writable(output)
    with progress() as bar:
        done = change_between(
            earlier,
            later,
            output,
            lambda: predictor_of(model, device, precision, window, method_file, mirror=mirror),
            task,
            days,
            overwrite,
            bar,
        )
    print_changed(done, task)
