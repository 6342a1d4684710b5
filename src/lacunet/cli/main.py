"""The command line, thin: each command reads its options, calls one function of the library, and prints what is needed.

Nothing heavy is imported before a command needs it, so that `--help` answers at once.
"""

import sys

import typer

from lacunet.cli import benchmark, calibrate, compare, complete, data, import_, segment, show, train
from lacunet.errors import LacunetError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segments brain tumours from whichever MRI sequences a patient has. Research software, not a medical device.",
)
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


def main() -> None:
    """Run a command; every error a user can meet is one line and an exit status of 1 or 2."""
    try:
        app()
    except LacunetError as error:
        print(f"lacunet: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("lacunet: stopped; --resume goes on with what can be resumed", file=sys.stderr)
        sys.exit(130)
    except MemoryError:
        print("lacunet: not enough memory; use smaller windows (--window 96) or another machine", file=sys.stderr)
        sys.exit(1)
