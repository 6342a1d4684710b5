"""A node beside an archive: `lacunet node run`, `status`, `retry` and `example`."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from lacunet.cli.terminal import say

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
