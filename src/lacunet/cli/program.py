"""How every program of lacunet runs and ends: one line for an error, and an exit status."""

import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from lacunet.cli.signals import Stopped, leave, stopped_by_signals
from lacunet.cli.streams import lasting_streams, what_was_lost
from lacunet.cli.terminal import complain, complain_at_length, debugging
from lacunet.errors import LacunetError, unforeseen
from lacunet.scratch import sweep_scratch


def run_program(name: str, work: Callable[[], object], how_to_go_on: Callable[[], str]) -> None:
    """Run a program and leave with its exit status: 0, or 1 or 2 after one line about an error, or 128 and the number
    of the signal that stopped it.

    Args:
        name: What was typed.
        work: Reads the command line, and does what it says.
        how_to_go_on: What to type after the program was stopped.
    """
    with lasting_streams() as output:
        sweep_scratch()
        status = _status(name, work, how_to_go_on)
        with suppress(OSError):  # the terminal may be closed
            sys.stdout.flush()
        if lost := what_was_lost(output):
            complain(f"{name}: not all that was to be printed could be ({lost}); files of results are not affected")
            status = status or 1
    sys.exit(status)


def _status(name: str, work: Callable[[], object], how_to_go_on: Callable[[], str]) -> int:
    """The program's exit status."""
    try:
        with stopped_by_signals():
            work()
    except Stopped as stopped:
        with suppress(OSError):  # the terminal may be closed
            complain(f"{name}: stopped; {how_to_go_on()}")
        leave(stopped.status)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except LacunetError as error:
        complain(f"{name}: {error}")
        return error.exit_status
    except MemoryError:
        complain(f"{name}: not enough memory; use smaller windows (--window 96) or another machine")
        return 1
    except Exception as error:  # a bug
        if debugging():
            complain_at_length("".join(traceback.format_exception(error)))
        complain(f"{name}: {unforeseen(error)}")
        return 1
    return 0
