"""Which processes train together, on which nodes, as `torchrun` or SLURM's `srun` has started them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from lacunet.errors import UsageError
from lacunet.prediction.choices import Precision
from lacunet.prediction.device import choose_device

Launcher = Literal["", "torchrun", "srun"]
"""What has started the processes of a training; nothing if there is one."""


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Attributes:
        launcher: What has started them.
        here: How many are on each node.
        nodes: How many nodes there are.
        place: The number of this one among those of its node, from 0: the number of its GPU.
    """

    launcher: Launcher = ""
    here: int = 1
    nodes: int = 1
    place: int = 0

    @property
    def several(self) -> bool:
        """Whether this process is not alone."""
        return self.here * self.nodes > 1


def processes_of(environment: Mapping[str, str]) -> Processes:
    """What the variables of `torchrun` or `srun` say.

    A process that `srun` has not started is alone, whatever its job has asked for: `sbatch` sets most of SLURM's
    variables for the first command of a job, too. `torchrun` may be started by `srun`, so it is asked first.

    Args:
        environment: The variables of this process.

    Raises:
        UsageError: the nodes have different numbers of processes, or a variable is missing or is no number.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        every, here = _number(environment, "WORLD_SIZE"), _number(environment, "LOCAL_WORLD_SIZE")
        if every % here:
            raise UsageError(
                f"torchrun has started {every} processes, {here} of them on this node; start the same number on each"
            )
        found = Processes("torchrun", here, every // here, _number(environment, "LOCAL_RANK"))
    elif _several_by_srun(environment):
        if "SLURM_NTASKS_PER_NODE" not in environment:
            raise UsageError(
                "srun has started several processes without --ntasks-per-node; give it, with the GPUs of a node"
            )
        every, here = _number(environment, "SLURM_NTASKS"), _number(environment, "SLURM_NTASKS_PER_NODE")
        nodes = _number(environment, "SLURM_NNODES")
        if here * nodes != every:
            raise UsageError(
                f"srun has started {every} processes on {nodes} nodes; start {here} on each (--ntasks-per-node={here} "
                f"--nodes={nodes}, and no --ntasks)"
            )
        found = Processes("srun", here, nodes, _number(environment, "SLURM_LOCALID"))
    else:
        return Processes()
    return found if found.several else Processes()


def _several_by_srun(environment: Mapping[str, str]) -> bool:
    """Whether this is one of several processes of `srun`, and not the first command of a batch job."""
    if (tasks := environment.get("SLURM_STEP_NUM_TASKS")) is not None:
        return tasks != "1"
    in_a_step = "SLURM_PROCID" in environment and environment.get("ENVIRONMENT") != "BATCH"
    return in_a_step and environment.get("SLURM_NTASKS", "1") != "1"


def fabric_for(processes: Processes, device: str, precision: Precision) -> Fabric:
    """Fabric, not launched yet: the device of this process, precision, and the gradients of all processes.

    Args:
        processes: That train together.
        device: `auto`, `cpu`, `cuda`, ...; of several processes each takes the GPU of its own number.
        precision: Of forward passes.

    Raises:
        UsageError: the device does not work here, or a node has fewer GPUs than processes.
    """
    if processes.several and torch.cuda.is_available() and processes.place < torch.cuda.device_count():
        torch.cuda.set_device(processes.place)  # else each process would try the first GPU, and take memory there
    chosen = choose_device(device)
    if processes.several:
        _require_own_device(processes, chosen)
    one = [chosen.index] if chosen.index is not None else 1
    return Fabric(
        accelerator=chosen.type,
        devices=processes.here if processes.several else one,
        num_nodes=processes.nodes,
        strategy=DDPStrategy(find_unused_parameters=True) if processes.several else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        plugins=[_environment_of(processes)],  # else Fabric's own guess, which takes every SLURM job for one of srun
    )


def _require_own_device(processes: Processes, chosen: torch.device) -> None:
    if ":" in str(chosen):
        raise UsageError(f"--device {chosen}: several processes train, each on its own GPU; use --device {chosen.type}")
    if chosen.type == "cuda" and (seen := torch.cuda.device_count()) < processes.here:
        advice = "ask SLURM for --gpus-per-node, not --gpus-per-task" if processes.launcher == "srun" else "start fewer"
        raise UsageError(f"{processes.here} processes on this node see {seen} of its GPUs; {advice}")


def _environment_of(processes: Processes) -> ClusterEnvironment:
    if not processes.several:
        return LightningEnvironment()
    return TorchElasticEnvironment() if processes.launcher == "torchrun" else SLURMEnvironment(auto_requeue=False)


def _number(environment: Mapping[str, str], name: str) -> int:
    try:
        return int(environment[name])
    except (KeyError, ValueError):
        raise UsageError(
            f"{name} is '{environment.get(name, '')}', expected a number; torchrun and srun set it"
        ) from None
