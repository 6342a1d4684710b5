"""The command line, thin: each command reads its options, calls one function of the library, and prints what is needed.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from lacunet import __version__
from lacunet.cli import benchmark, calibrate, compare, complete, data, import_, segment, show, train
from lacunet.cli.signals import Stopped, leave, stopped_by_signals
from lacunet.cli.terminal import say
from lacunet.errors import LacunetError
from lacunet.scratch import sweep_scratch


def _say_version(wanted: bool) -> bool:
    """The option's value; where it is given, the version is said and nothing else is done."""
    if wanted:
        say(f"lacunet {__version__}")
        raise typer.Exit
    return wanted


app = typer.Typer(
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
) -> None:
    """Options of lacunet itself; each command has its own."""


app.command()(segment.demo)
app.command()(segment.segment)
app.command("import")(import_.import_)
app.command()(complete.complete)
app.command()(train.train)
app.command()(train.evaluate)
app.command()(compare.compare)
app.command()(benchmark.benchmark)
app.command()(benchmark.reproduce)
app.command()(calibrate.calibrate)
app.command()(show.methods)
app.command()(show.models)
app.command()(show.check)
app.command()(data.phantom)
app.command()(data.missing)


def print_what_the_terminal_lacks() -> None:
    """Let letters that the terminal's encoding lacks be printed as `\\u0141`: a name must not end a cohort."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def how_to_go_on(words: Sequence[str]) -> str:
    """What to type after a command was stopped.

    Args:
        words: The command as it was typed, without `lacunet`.
    """
    commands = typer.main.get_command(app)
    assert isinstance(commands, typer.core.TyperGroup)
    command = commands.commands.get(words[0]) if words else None
    if command is not None and any(option.name == "resume" for option in command.params):
        return f"lacunet {words[0]} goes on where it stopped with the same options and --resume"
    return "start the command again"


def main() -> None:
    """Run a command; every error a user can meet is one line and an exit status of 1 or 2."""
    print_what_the_terminal_lacks()
    sweep_scratch()
    try:
        with stopped_by_signals():
            app()
    except LacunetError as error:
        print(f"lacunet: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except Stopped as stopped:
        with suppress(OSError):  # the terminal may be closed
            print(f"lacunet: stopped; {how_to_go_on(sys.argv[1:])}", file=sys.stderr)
        leave(stopped.status)
    except MemoryError:
        print("lacunet: not enough memory; use smaller windows (--window 96) or another machine", file=sys.stderr)
        sys.exit(1)
