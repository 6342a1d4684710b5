"""The features of present modalities in one."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Presence
from lacunet.nn.tokens import Rows


class Join(nn.Module):
    """The modalities of a level in one: a 1x1x1 convolution of their channels side by side.

    Computed as a sum over the present modalities, which is scaled up for the absent ones, as in dropout.
    """

    def __init__(self, channels: int, modalities: int) -> None:
        super().__init__()
        bound = (modalities * channels) ** -0.5
        self.weight = nn.Parameter(torch.empty(modalities, channels, channels).uniform_(-bound, bound))

    def forward(self, rows: Rows, presence: Presence) -> Float[Tensor, "batch channel x y z"]:
        """Features of each case."""
        case, modality = presence.nonzero(as_tuple=True)
        weighed = torch.bmm(rows.movedim(1, -1).flatten(1, 3), self.weight[modality])
        joined = weighed.new_zeros((len(presence), *weighed.shape[1:])).index_add(0, case, weighed)
        raised = presence.shape[1] / presence.sum(1).clamp_min(1)
        joined = joined * raised[:, None, None].to(joined.dtype)
        return torch.unflatten(joined, 1, rows.shape[2:]).movedim(-1, 1)
