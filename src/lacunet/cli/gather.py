"""Parts to a whole: `lacunet gather`."""

from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.terminal import say


def gather(
    folder: Annotated[Path, typer.Argument(help="The output folder of commands that were given with --part.")],
) -> None:
    """Make the table of a cohort whole, once all its parts are done; the last part does so itself.

    Give it in the folder in which the parts were given, since it reads the same data.
    """
    from lacunet.cli.asked import evaluate_asked, is_asked, read_asked
    from lacunet.data.parts import gather_parts

    of = gather_parts(folder)
    if is_asked(folder):
        evaluate_asked(read_asked(folder), folder, "here", None, resume=True)
    else:
        from lacunet.cohort.files import write_cohort

        write_cohort(folder)
    say(f"{of} parts are whole in {folder}")
