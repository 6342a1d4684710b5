"""Work that the processes of a training share: each does its part, and what fails in one ends all of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from lightning_fabric import Fabric
from torch import distributed

from lacunet.errors import LacunetError, OutputError, unforeseen

Result = TypeVar("Result")
Outcome = LacunetError | None
"""What stopped a process's part; None where it is done."""

_GONE = "another process of this training has ended; its own message says why. The same command with --resume goes on"


def _alone(outcome: Outcome) -> Sequence[Outcome]:
    return [outcome]


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, as those who share work see them.

    Attributes:
        rank: Of this process, from 0.
        count: How many there are.
        gather: Waits for all of them and returns the outcome of each, given that of this one.
    """

    rank: int = 0
    count: int = 1
    gather: Callable[[Outcome], Sequence[Outcome]] = _alone

    def together(self, work: Callable[[], Result]) -> Result:
        """Do this process's part, and wait until all have done theirs. All processes must come here.

        Raises:
            LacunetError: what stopped another process.
            Exception: what stopped this one.
        """
        try:
            result = work()
        except Exception as error:
            with suppress(LacunetError):  # that another has ended too says less
                self.gather(_told(self.rank, error))
            raise
        for outcome in self.gather(None):
            if outcome is not None:
                raise outcome
        return result


ALONE = Ranks()
"""A process that shares its work with nobody."""


def ranks_of(fabric: Fabric) -> Ranks:
    """The processes of a launched Fabric. They tell each other by gloo, which notices at once that a process has died.

    What is said by NCCL waits for the GPU, and a part that takes long would be taken for a failure.
    """
    if fabric.world_size == 1:
        return ALONE
    group = distributed.new_group(backend="gloo") if distributed.get_backend() != "gloo" else None

    def gather(outcome: Outcome) -> Sequence[Outcome]:
        told: list[Outcome] = [None] * fabric.world_size
        with speaking_of_the_others():
            distributed.all_gather_object(told, outcome, group)
        return told

    return Ranks(fabric.global_rank, fabric.world_size, gather)


@contextmanager
def speaking_of_the_others() -> Iterator[None]:
    """Errors of a connection to a process that has ended become one line.

    Raises:
        LacunetError: another process has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise LacunetError(_GONE) from error


def require_seen(path: Path, patience: float = 60.0) -> None:
    """Wait for a file of another process, which a network disk may show late.

    Args:
        path: The file.
        patience: Seconds.

    Raises:
        OutputError: it does not come, so the processes do not share the disk.
    """
    end = time.monotonic() + patience
    while not path.is_file():
        if time.monotonic() > end:
            raise OutputError(
                f"{path}: another process has written it, but it is not seen here; choose a folder that all nodes share"
            )
        time.sleep(min(0.2, patience))
        _look_again(path.parent)


def _look_again(folder: Path) -> None:
    """List a folder, so that a network disk does not answer from what it remembers."""
    if folder.is_dir():
        next(folder.iterdir(), None)


def _told(rank: int, error: Exception) -> LacunetError:
    return error if isinstance(error, LacunetError) else LacunetError(f"process {rank}: {unforeseen(error)}")
