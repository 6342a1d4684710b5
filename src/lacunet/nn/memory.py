"""The memory order of a network's weights."""

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def in_channels_last(network: Network) -> Network:
    """The network itself, its 3-D convolutions' weights in the memory order that processors multiply fastest."""
    for parameter in network.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return network
