"""The device that computes, its precision and its free memory; `auto` tries each device before it is taken."""

import torch

from lacunet.crew.memory import ALONE, Share, free_memory
from lacunet.errors import UsageError
from lacunet.prediction.choices import Precision


def choose_device(name: str = "auto") -> torch.device:
    """A device that works: the one named, or with `auto` the first of CUDA, MPS and CPU that can add two numbers.

    Raises:
        UsageError: the named device does not exist or does not work.
    """
    if name == "auto":
        return next(device for device in map(torch.device, ("cuda", "mps", "cpu")) if _fault(device) is None)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: no such device; use auto, cpu, cuda, cuda:1 or mps") from error
    fault = _fault(device)
    if fault is not None:
        raise UsageError(f"--device {name}: does not work here ({fault}); use --device auto or cpu")
    return device


def choose_precision(device: torch.device, precision: Precision = "auto") -> torch.dtype:
    """The type of the network's forward pass: with `auto`, bf16 where the hardware multiplies it, else float32."""
    if precision == "bf16":
        return torch.bfloat16
    if precision == "float32":
        return torch.float32
    if device.type == "cpu":
        capable = torch.cpu.get_capabilities()
        fast = capable.get("avx512_bf16", False) or capable.get("amx_bf16", False) or capable.get("amx_tile", False)
        return torch.bfloat16 if fast else torch.float32
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


def precision_of(dtype: torch.dtype) -> Precision:
    """What `choose_precision` gives this type for."""
    return "bf16" if dtype == torch.bfloat16 else "float32"


def free_memory_on(device: torch.device, share: Share = ALONE) -> int | None:
    """Bytes that this process may still take on a device; None where the system does not tell.

    Of a GPU, what is free on it, and no more than is left of this worker's part of the whole; else `free_memory`.
    """
    if device.type != "cuda":
        return free_memory(share)
    free, whole = torch.cuda.mem_get_info(device)
    return min(free, max(0, whole // share.on_device - torch.cuda.memory_reserved(device)))


def _fault(device: torch.device) -> str | None:
    """Why a device does not work, or None where it does."""
    try:
        float((torch.ones(2, device=device) * 2).sum())
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).splitlines()[0]
    return None
