"""Linear layers of tokens."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_FEW = range(5, 12)
"""Rows of a product that PyTorch 2.13 on a CPU shares among threads in another way for each number of them."""


class Linear(nn.Linear):
    """`torch.nn.Linear` that in use gives the same numbers with any number of threads.

    Weights and names are the same. On a CPU a product of 5 to 11 rows is cut into one part per thread, and a part may
    be added up in another order than the whole. Rows of zeros are put beneath, until there are enough.
    """

    def forward(self, tokens: Float[Tensor, "*row width"]) -> Float[Tensor, "*row wide"]:
        """Each row by itself."""
        rows = tokens.numel() // self.in_features
        if tokens.requires_grad or tokens.device.type != "cpu" or rows not in _FEW:
            return super().forward(tokens)
        padded = F.pad(tokens.reshape(rows, self.in_features), (0, 0, 0, _FEW.stop - rows))
        return super().forward(padded)[:rows].reshape(*tokens.shape[:-1], self.out_features)
