"""Work on many items in several processes, with the results in the order of the items."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from lacunet.errors import LacunetError

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Work(Dataset["Result | LacunetError"], Generic[Item, Result]):
    """The result of each item. An error for the user is a result too: a worker process would change its message."""

    def __init__(self, work: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self.work, self.items = work, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> "Result | LacunetError":
        try:
            return self.work(self.items[index])
        except LacunetError as error:
            return error


def done_in_order(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """`work` of each item, in their order; the processes are ahead of what has been taken by a few items.

    Args:
        work: Can be pickled, as must be its results. In a worker process torch computes with one thread.
        items: Can be pickled.
        workers: Processes; with 0 or 1, or a single item, the work is done in this one.

    Raises:
        LacunetError: the first that `work` raised, in the order of the items.
    """
    if workers < 2 or len(items) < 2:
        yield from map(work, items)
        return
    loader: DataLoader[Result | LacunetError] = DataLoader(
        _Work(work, items),
        batch_size=None,
        num_workers=min(workers, len(items)),
        collate_fn=_as_it_is,
        prefetch_factor=2,
        generator=torch.Generator(),  # else the loader draws from torch's own, and a training would depend on it
    )
    for result in loader:
        if isinstance(result, LacunetError):
            raise result
        yield result


def _as_it_is(result: Result) -> Result:
    return result
