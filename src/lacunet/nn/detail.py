"""A small correction at the resolution of the images, for networks whose features are coarser."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.conv import PointConv
from lacunet.nn.patch import FoldedConv

Folded = Float[Tensor, "_ _ _ _ _"]


class Detail(nn.Module):
    """What is added to the logits of cubes: what the images show of a voxel that is less than a cube wide.

    Each voxel has hidden channels: the sum of a 3x3x3 convolution of every present image, and of what the coarse
    features of its cube say of it. Leaky ReLU, a 1x1x1 convolution to half as many channels, leaky ReLU, and a 3x3x3
    convolution to the regions. All convolutions of voxels are the same at every position in the cube. The last one
    begins at zero: a network gives the same logits with a new one of these as without.

    There are no norms: all inputs have been normalised, and statistics over the image would make a voxel's correction
    depend on how far the image extends.

    Args:
        modalities: Images.
        regions: Logits of each voxel.
        features: Channels of the coarse features.
        channels: Hidden channels of each voxel.
        patch: Voxels along each side of a cube, which is the size of a coarse position.
    """

    def __init__(self, modalities: int, regions: int, features: int, channels: int, patch: int) -> None:
        super().__init__()
        narrow = max(1, channels // 2)
        self.images = nn.ModuleList([FoldedConv(1, channels, 3, patch) for _ in range(modalities)])
        self.coarse = PointConv(features, channels * patch**3, bias=False)
        self.narrow = FoldedConv(channels, narrow, 1, patch)
        self.last = FoldedConv(narrow, regions, 3, patch)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def parts(self, images: Sequence[Folded]) -> list[Folded]:
        """What each modality adds to the hidden channels where it is present, of its folded image."""
        return [convolve(image) for convolve, image in zip(self.images, images, strict=True)]

    def forward(self, parts: Folded, features: Folded) -> Folded:
        """The correction of folded logits.

        Args:
            parts: The sum of the parts of those modalities that may be seen.
            features: Of the coarse positions.
        """
        hidden = F.leaky_relu(parts + self.coarse(features), 0.01)
        correction: Tensor = self.last(F.leaky_relu(self.narrow(hidden), 0.01))
        return correction
