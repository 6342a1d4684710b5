"""Workers that are actors of Ray, which places them, starts them again where they died, and repeats the task."""

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic

from lacunet.crew.crew import MOST_DEATHS, Done, Lost, MakeWorker, Place, Raised, Result, Task, compute_on, outcome_of
from lacunet.crew.memory import share_of
from lacunet.crew.shared_out import shared_out
from lacunet.errors import UsageError

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class OnRay:
    """An actor for each GPU of a cluster, or for as many of its cores as this process has threads.

    The package is installed, and data and results are under the same paths, on each node.

    Attributes:
        address: Of the cluster (`auto`, `HOST:6379`, `ray://HOST:10001`); empty: what RAY_ADDRESS names or runs on this
            machine, else a new one on this machine.
        device: `cpu`: no actor asks for a GPU; `cuda`: each asks for one; `auto`: each does where the cluster has any.
    """

    address: str = ""
    device: str = "auto"

    def run(self, tasks: Sequence[Task], make_worker: MakeWorker[Task, Result]) -> Iterator[Result | Lost]:
        """See `Crew.run`.

        Raises:
            UsageError: there is no cluster at the address, or it has no GPU and one is asked for.
        """
        if not tasks:
            return
        import torch  # the commands that need no crew answer at once

        with _connected(self.address):
            threads = torch.get_num_threads()
            room, options = _room(threads, self.device)
            number = max(1, min(sum(room.values()), len(tasks)))
            most = {node: min(count, number) for node, count in room.items()}
            hands = [_Hand((make_worker, self.device, threads, most), options) for _ in range(number)]
            yield from shared_out(hands, tasks)


class _Actor:
    """What runs in an actor's process."""

    def __init__(self, make_worker: MakeWorker[Any, Any], device: str, threads: int, most: Mapping[str, int]) -> None:
        import ray

        compute_on(threads)
        beside = most.get(ray.get_runtime_context().get_node_id(), 1)
        self._made = outcome_of(make_worker, Place(device, share_of(beside)))

    def do(self, task: Any) -> Any:
        return self._made if isinstance(self._made, Raised) else outcome_of(self._made.result, task)


class _Hand(Generic[Task, Result]):
    """An actor that does one task at a time."""

    def __init__(
        self, start: tuple[MakeWorker[Task, Result], str, int, Mapping[str, int]], options: dict[str, int]
    ) -> None:
        import ray

        again = {"max_restarts": -1, "max_task_retries": MOST_DEATHS - 1}
        self._actor = ray.remote(_Actor).options(**options, **again).remote(*start)

    def do(self, task: Task) -> Done[Result] | Raised | Lost:
        import ray

        try:
            answer: Done[Result] | Raised = ray.get(self._actor.do.remote(task))
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError):
            return Lost()
        return answer

    def end(self) -> None:
        import ray

        with suppress(Exception):  # the cluster may be gone
            ray.kill(self._actor)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Within the block this process belongs to a cluster; one that it had joined before stays joined."""
    try:
        import ray
    except ImportError as error:
        raise UsageError("--on ray: Ray is not installed; pip install 'lacunet[ray]'") from error
    if ray.is_initialized():
        yield
        return
    _require_answer(address)
    try:
        ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise UsageError(
            f"--on ray:{address}: no cluster answers there ({first}); start one with: ray start --head"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuse `HOST:PORT` or `ray://HOST:PORT` where nothing listens, for which Ray would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"--on ray:{address}: no cluster answers there ({reason}); start one with: ray start --head"
        ) from error


def _room(threads: int, device: str) -> tuple[dict[str, int], dict[str, int]]:
    """How many actors each node of a cluster has room for, and what each actor asks for."""
    import ray

    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    gpus = {} if device == "cpu" else {name: int(has.get("GPU", 0)) for name, has in nodes.items()}
    if any(gpus.values()):
        return gpus, {"num_gpus": 1}
    if device.startswith("cuda"):
        raise UsageError(f"--device {device}: the Ray cluster has no GPU; use --device auto or cpu")
    cores = {name: int(has.get("CPU", 0)) for name, has in nodes.items()}
    each = max(1, min(threads, max(cores.values(), default=1)))
    return {name: count // each for name, count in cores.items()}, {"num_cpus": each}
