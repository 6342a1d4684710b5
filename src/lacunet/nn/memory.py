"""The memory order of a network's weights."""

import torch

from lacunet.nn.method import Method


def in_channels_last(module: Method) -> Method:
    """Weights of 3-D convolutions in the memory order that processors multiply fastest."""
    for parameter in module.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return module
