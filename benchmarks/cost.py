"""What one case costs: parameters, FLOPs, peak memory and seconds of a forward pass of every method at its full size.

    python benchmarks/cost.py [--method NAME] [--size 128] [--repeats 3]

Networks as in `recipes/NAME.toml`, untrained, one box with all modalities, bf16 as in use. FLOPs are two for each
multiplication with its addition, of convolutions, matrix products and attention, nothing else; pruned tokens are not
counted. They are counted from shapes (`counting.py`), so that with `--repeats 0`, which times nothing, all rows take a
minute. A row that is timed is a process of its own; its peak is what the process held at most beyond what it held
before the passes.

How many tokens `masm` keeps is a matter of its training and of the case. So that its cost can be seen at several
shares, scores are drawn here, that share of them above zero. The second table says in which of its parts the FLOPs are.

The last table is of other networks, in MONAI's version: early fusion of four sequences, three regions, the sizes of
their papers for BraTS.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from measure import conditions, print_table, seconds, use_cores

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lacunet.nn.method import Method

RECIPES = Path(__file__).parents[1] / "recipes"
SHARES = (1.0, 0.7, 0.3)
MASM: dict[str, dict[str, Any]] = {
    "neither block": {"arguments": {"aware": False, "shift": False}},
    "nothing pruned": {"arguments": {"prune": False}},
    **{f"{share:.0%} of the tokens kept": {"share": share} for share in SHARES},
    "Modality-Aware on all layers": {"arguments": {"layers": "all", "shift": False}, "share": 0.7},
    "Modality-Shift on all layers": {"arguments": {"layers": "all", "aware": False}},
    "both on all layers": {"arguments": {"layers": "all"}, "share": 0.7},
    "half the width": {"arguments": {"width": 16}, "share": 0.7},
    "SwinUNETR's encoder": {"arguments": {"backbone": "swin", "width": 48}, "share": 0.7},
    "UNETR's encoder": {"arguments": {"backbone": "unetr", "width": 16, "levels": 5}, "share": 0.7},
}
"""Variants of masm, by what is said of them. On all layers, narrower and with other encoders, 70% of the
tokens are kept."""

PARTS = ("encoder", "aware", "shift", "joins", "decoder")
"""Of masm. The shift's blocks in skips count as `shift`, and what is left are the last convolutions."""


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

    whole, parts, names = [], [], options.method or method_names()
    for name in names:
        for variant, changes in (MASM if name == "masm" else {"": {}}).items():
            row = in_a_process if options.repeats else measure
            found = row(name=name, size=options.size, repeats=options.repeats, **changes)
            whole.append([f"{name}, {variant}" if variant else name, *cells(found)])
            if name == "masm":
                parts.append([variant, *(f"{found['parts'].get(part, 0) / 1e9:,.1f}" for part in PARTS)])
    timed = f", medians of {options.repeats}" if options.repeats else ""
    print(f"A box of {options.size} voxels a side{timed}; {conditions(cores, 'lacunet', 'torch')}\n")
    print_table(["method", "parameters, millions", "GFLOPs", *(["peak, MiB", "seconds"] if timed else [])], whole)
    if parts:
        print()
        print_table(["GFLOPs of masm", *PARTS], parts)
    if not options.method:
        print()
        others = [[name, *cells(count(network, options.size))] for name, network in other_networks()]
        print_table(["other networks, MONAI's", "parameters, millions", "GFLOPs"], others)


def cells(found: dict[str, Any]) -> list[str]:
    """A row's numbers as they are printed, those that were measured."""
    numbers = [f"{found['parameters'] / 1e6:.1f}", f"{found['flops'] / 1e9:,.1f}"]
    return [*numbers, f"{found['peak']:,.0f}", f"{found['seconds']:.2f}"] if "peak" in found else numbers


def in_a_process(**row: Any) -> dict[str, Any]:
    """`measure` in a process of its own, so that the peak is its alone."""
    command = [sys.executable, __file__, "--row", json.dumps(row)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(
    name: str, size: int, repeats: int, arguments: dict[str, Any] | None = None, share: float | None = None
) -> dict[str, Any]:
    """Parameters, FLOPs and those of each part of one method; with repeats, also its peak and seconds."""
    import torch

    from counting import count_flops
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

    def forward() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            method(images, presence)

    flops, parts = count_flops(method, forward)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = [seconds(forward) for _ in range(repeats)]
    found = {
        "parameters": sum(parameter.numel() for parameter in method.parameters()),
        "flops": flops,
        "parts": parts,
    }
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {**found, "peak": peak, "seconds": median(times)} if times else found


def other_networks() -> list[tuple[str, "nn.Module"]]:
    """What a BraTS method is usually compared with, in MONAI's version and the size of its paper."""
    from monai.networks.nets import UNETR, DynUNet, SegResNet, SwinUNETR

    levels = [[3, 3, 3]] * 6
    strides = [[1, 1, 1], *[[2, 2, 2]] * 5]
    return [
        (
            "nnU-Net's plan for BraTS (Isensee et al. 2021)",
            DynUNet(3, 4, 3, levels, strides, strides[1:], filters=[32, 64, 128, 256, 320, 320]),
        ),
        (
            "SegResNet (Myronenko 2018)",
            SegResNet(3, init_filters=32, in_channels=4, out_channels=3, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1)),
        ),
        ("UNETR (Hatamizadeh et al. 2022)", UNETR(4, 3, (128, 128, 128), feature_size=16)),
        ("SwinUNETR (Hatamizadeh et al. 2022)", SwinUNETR(in_channels=4, out_channels=3, feature_size=48)),
    ]


def count(network: "nn.Module", size: int) -> dict[str, Any]:
    """Parameters and FLOPs of a network of four sequences."""
    import torch

    from counting import count_flops

    flops, _ = count_flops(network.eval(), lambda: network(torch.empty((1, 4, size, size, size))))
    return {"parameters": sum(parameter.numel() for parameter in network.parameters()), "flops": flops}


def draw_scores(method: "Method", share: float) -> None:
    """Let `masm` keep that share of its tokens, whichever they are."""
    import torch

    from lacunet.methods.masm import KeepScore

    def draw(module: object, inputs: object, scores: "torch.Tensor") -> "torch.Tensor":
        return share - torch.rand_like(scores)

    for module in method.modules():
        if isinstance(module, KeepScore):
            module.register_forward_hook(draw)


if __name__ == "__main__":
    main()
