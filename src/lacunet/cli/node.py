"""A node beside an archive: `lacunet node run`, `status`, `retry` and `example`."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.terminal import say
from lacunet.errors import UsageError

Config = Annotated[Path, typer.Argument(help="The node's TOML file; lacunet node example prints one.")]

node = typer.Typer(
    no_args_is_help=True,
    help="A DICOM node: takes studies from an archive, segments them, and sends masks back.",
)


@node.command()
def run(config: Config) -> None:
    """Run the node until it is stopped."""
    from lacunet.node.run import run_node
    from lacunet.node.settings import read_settings

    run_node(config, read_settings(config), _log, threading.Event())


@node.command()
def status(config: Config) -> None:
    """Say what the node waits for, what it has done, and what failed and why."""
    from lacunet.node.queue import Queue
    from lacunet.node.settings import read_settings
    from lacunet.node.status import status_lines, status_of

    for line in status_lines(status_of(Queue(read_settings(config).folder))):
        say(line)


@node.command()
def retry(config: Config, name: Annotated[str, typer.Argument(help="The study's name, as status prints it.")]) -> None:
    """Do a study again that failed or was half sent; results that could not be sent are only sent again."""
    from lacunet.node.queue import Queue
    from lacunet.node.settings import read_settings
    from lacunet.node.status import status_of

    queue = Queue(read_settings(config).folder)
    status_of(queue)
    if not queue.retry(name, time.time()):
        raise UsageError(f"{name}: no study of that name failed or is half sent, with its scans still there")
    say(f"{name}: is done again")


@node.command()
def example() -> None:
    """Print a configuration to start with."""
    from lacunet.node.settings import EXAMPLE

    for line in EXAMPLE.splitlines():
        say(line)


@node.command(hidden=True)
def work(config: Config, source: Path, folder: Path, name: str) -> None:
    """Segment one study; the node starts this, and ends it by closing its input."""
    from lacunet.node.segment import work_on
    from lacunet.node.settings import read_settings

    threading.Thread(target=_end_with_the_node, daemon=True).start()
    work_on(read_settings(config), source, folder, name)


def _end_with_the_node() -> None:
    """When the node has ended, in whatever way, the pipe from it is closed."""
    while os.read(sys.stdin.fileno(), 1):  # buffered reading would hold a lock when this program ends
        pass
    os._exit(1)


def _log(line: str) -> None:
    say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}")
    sys.stdout.flush()
