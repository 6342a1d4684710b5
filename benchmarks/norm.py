"""The norm of the convolution blocks, forward and backward, against torch's own, on a CPU in channels-last order.

python benchmarks/norm.py [--repeats 5]
"""

import argparse
from functools import partial

from measure import conditions, in_turns, print_table, use_cores


def main() -> None:
    """One row per number of channels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    cores = use_cores()

    import torch
    from torch import nn

    from lacunet.nn.conv import GroupNorm

    torch.set_num_threads(cores)

    def step(norm: nn.GroupNorm, features: torch.Tensor, gradient: torch.Tensor) -> None:
        norm(features).backward(gradient)

    rows = []
    for channels, side in ((8, 64), (16, 64), (32, 32), (64, 16)):  # of the small recipes
        shape = (2, channels, side, side, side)
        order = torch.channels_last_3d
        features = torch.randn(shape, dtype=torch.bfloat16).contiguous(memory_format=order).requires_grad_()
        gradient = torch.randn(shape, dtype=torch.bfloat16).contiguous(memory_format=order)
        norms = [GroupNorm(8, channels), nn.GroupNorm(8, channels)]
        ours, theirs = in_turns([partial(step, norm, features, gradient) for norm in norms], repeats)
        rows.append([f"{channels} of {side}^3", f"{1000 * ours:.1f}", f"{1000 * theirs:.1f}", f"{theirs / ours:.1f}"])
    machine = conditions(cores, "lacunet", "torch")
    print(f"Two cases, 8 groups, bfloat16, forward and backward, medians of {repeats}; {machine}\n")
    print_table(["channels", "lacunet, ms", "torch, ms", "times faster"], rows)


if __name__ == "__main__":
    main()
