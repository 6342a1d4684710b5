"""What one case costs: parameters, FLOPs, seconds and peak memory of a forward pass of every method at its full size.

    python benchmarks/cost.py [--method NAME] [--size 128] [--repeats 3]

Networks as in `recipes/NAME.toml`, untrained, one box with all modalities, bf16 as in use. FLOPs are counted while the
pass really runs (so pruned tokens are not counted): two for each multiplication with its addition, of
convolutions, matrix products and attention, nothing else. Each row is a process of its own; its peak is what the
process held at most beyond what it held before the pass.

How many tokens `masm` keeps is a matter of its training and of the case. So that its cost can be seen at several
shares, scores are drawn here, that share of them above zero. The second table is of its Modality-Aware blocks alone.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from measure import conditions, print_table, seconds, use_cores

if TYPE_CHECKING:
    import torch

    from lacunet.nn.method import Method

RECIPES = Path(__file__).parents[1] / "recipes"
SHARES = (1.0, 0.7, 0.3)
MASM: dict[str, dict[str, Any]] = {
    "neither block": {"arguments": {"aware": False, "shift": False}},
    "nothing pruned": {"arguments": {"prune": False}},
    **{f"{share:.0%} of the tokens kept": {"share": share} for share in SHARES},
}
"""Variants of masm, by what is said of them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", help="a method; may be repeated; all when not given")
    parser.add_argument("--size", type=int, default=128, help="voxels of the box along each axis")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cores = use_cores()
    if options.row:
        print(json.dumps(measure(**json.loads(options.row))))
        return
    from lacunet.nn.papers import method_names

    whole, blocks = [], []
    for name in options.method or method_names():
        for variant, changes in (MASM if name == "masm" else {"": {}}).items():
            found = in_a_process(name=name, size=options.size, repeats=options.repeats, **changes)
            label = f"{name}, {variant}" if variant else name
            numbers = (found["parameters"] / 1e6, found["flops"] / 1e9, found["seconds"], found["peak"])
            whole.append([label, *(text.format(number) for text, number in zip(FORMATS, numbers, strict=True))])
            if found["block_flops"]:
                share = found["block_flops"] / found["flops"]
                row = [variant, f"{found['block_flops'] / 1e9:.2f}", f"{share:.1%}", f"{found['block_seconds']:.2f}"]
                blocks.append(row)
    where = f"A box of {options.size} voxels a side, medians of {options.repeats}"
    print(f"{where}; {conditions(cores, 'lacunet', 'torch')}\n")
    print_table(["method", "parameters, millions", "GFLOPs", "seconds", "peak, MiB"], whole)
    if blocks:
        print()
        print_table(["masm's Modality-Aware blocks", "GFLOPs", "of all", "seconds"], blocks)


FORMATS = ("{:.1f}", "{:.1f}", "{:.2f}", "{:.0f}")


def in_a_process(**row: Any) -> dict[str, float]:
    """`measure` in a process of its own, so that the peak is its alone."""
    command = [sys.executable, __file__, "--row", json.dumps(row)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(
    name: str, size: int, repeats: int, arguments: dict[str, Any] | None = None, share: float | None = None
) -> dict[str, float]:
    """Parameters, FLOPs, seconds and peak of one method."""
    import torch

    from lacunet.nn.memory import in_channels_last
    from lacunet.nn.method import get_method, make_method
    from lacunet.task import GLIOMA
    from lacunet.training.recipe import read_recipe

    settings = {**read_recipe(RECIPES / f"{name}.toml").arguments, **(arguments or {})}
    method = in_channels_last(make_method(get_method(name), GLIOMA, settings).deployed().eval())
    if share is not None:
        draw_scores(method, share)
    images = torch.randn((1, len(GLIOMA.modalities), size, size, size)).contiguous(memory_format=torch.channels_last_3d)
    presence = torch.ones((1, len(GLIOMA.modalities)), dtype=torch.bool)
    watch = time_blocks(method)

    def forward() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            method(images, presence)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flops, block_flops = count_flops(method, forward)
    watch.clear()
    times = [seconds(forward) for _ in range(repeats)]
    return {
        "parameters": sum(parameter.numel() for parameter in method.parameters()),
        "flops": flops,
        "block_flops": block_flops,
        "seconds": median(times),
        "block_seconds": sum(watch) / repeats,
        "peak": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def count_flops(method: "Method", run: Callable[[], object]) -> tuple[int, int]:
    """FLOPs of what runs, and those in blocks called `aware`. PyTorch's counter lacks the CPU's attention."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def attention(query: Any, key: Any, value: Any, *rest: Any, **more: Any) -> int:
        return sdpa_flop_count(query, key, value)

    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={operator: attention}) as counter:
        run()
    top = type(method).__name__
    blocks = [f"{top}.aware.{index}" for index in range(len(getattr(method, "aware", [])))]
    by_module = counter.get_flop_counts()
    return counter.get_total_flops(), sum(sum(by_module.get(block, {}).values()) for block in blocks)


def draw_scores(method: "Method", share: float) -> None:
    """Let `masm` keep that share of its tokens, whichever they are."""
    import torch

    from lacunet.methods.masm import KeepScore

    def draw(module: object, inputs: object, scores: "torch.Tensor") -> "torch.Tensor":
        return share - torch.rand_like(scores)

    for module in method.modules():
        if isinstance(module, KeepScore):
            module.register_forward_hook(draw)


def time_blocks(method: "Method") -> list[float]:
    """Seconds of every call of a block called `aware` from now on."""
    taken: list[float] = []

    def start(module: object, inputs: object) -> None:
        taken.append(-time.perf_counter())

    def stop(module: object, inputs: object, output: object) -> None:
        taken[-1] += time.perf_counter()

    for block in getattr(method, "aware", []):
        block.register_forward_pre_hook(start)
        block.register_forward_hook(stop)
    return taken


if __name__ == "__main__":
    main()
