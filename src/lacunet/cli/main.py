"""The command line, thin: each command reads its options, calls one function of the library, and prints what is needed.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lacunet import __version__
from lacunet.cli import (
    benchmark,
    calibrate,
    change,
    compare,
    complete,
    data,
    gather,
    import_,
    measure,
    node,
    segment,
    show,
    train,
)
from lacunet.cli.program import run_program
from lacunet.cli.terminal import DEBUG, say
from lacunet.errors import visible


class Commands(TyperGroup):
    """The commands. What is said of a wrong option repeats what was typed, and that may be the name of a file."""

    def make_context(self, *words: Any, **settings: Any) -> Any:
        """As typer does."""
        try:
            return super().make_context(*words, **settings)
        except Exception as error:
            _make_visible(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        """As typer does."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            _make_visible(error)
            raise


def _make_visible(error: Exception) -> None:
    """Let the sentence of an error about options or arguments be one line that cannot steer a terminal."""
    if isinstance(message := getattr(error, "message", None), str):
        error.message = visible(message)  # type: ignore[attr-defined]


def _say_version(wanted: bool) -> bool:
    """The option's value; where it is given, the version is said and nothing else is done."""
    if wanted:
        say(f"lacunet {__version__}")
        raise typer.Exit
    return wanted


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segments brain tumours from whichever MRI sequences a patient has. Research software, not a medical device.",
)


@app.callback()
def lacunet(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Show where lacunet itself failed; {DEBUG}=1 does the same.")
    ] = False,
) -> None:
    """Options of lacunet itself; each command has its own."""
    if debug:
        os.environ[DEBUG] = "1"


app.command()(segment.demo)
app.command()(segment.segment)
app.command()(measure.measure)
app.command("import")(import_.import_)
app.command()(change.change)
app.command()(complete.complete)
app.command()(train.train)
app.command()(train.evaluate)
app.command()(gather.gather)
app.command()(compare.compare)
app.command()(benchmark.benchmark)
app.command()(benchmark.reproduce)
app.command()(calibrate.calibrate)
app.command()(show.methods)
app.command()(show.models)
app.command()(show.check)
app.command()(data.phantom)
app.command()(data.missing)
app.add_typer(node.node, name="node")


def how_to_go_on(words: Sequence[str]) -> str:
    """What to type after a command was stopped.

    Args:
        words: The command as it was typed, without `lacunet`.
    """
    commands = typer.main.get_command(app)
    assert isinstance(commands, TyperGroup)
    command = commands.commands.get(words[0]) if words else None
    if command is not None and any(option.name == "resume" for option in command.params):
        return f"lacunet {words[0]} goes on where it stopped with the same options and --resume"
    return "start the command again"


def main() -> None:
    """Run a command; every error is one line and an exit status of 1 or 2, also where nobody foresaw it."""
    run_program("lacunet", app, lambda: how_to_go_on(sys.argv[1:]))
