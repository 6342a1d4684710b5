"""The encoder of SwinUNETR."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.conv import ConvBlock
from lacunet.nn.limits import require_between


class SwinEncoder(nn.Module):
    """The encoder of SwinUNETR (Hatamizadeh et al., 2022) behind a convolution at full resolution.

    Args:
        width: Channels of the two finest levels; twice as many at each below.
        levels: Must be six.
        channels: Of the images.

    Raises:
        ValueError: another number of levels, a width that 24 does not divide or outside 24 to 96, or MONAI is missing.
    """

    def __init__(self, width: int, levels: int, channels: int = 1) -> None:
        super().__init__()
        if levels != 6 or width % 24:
            raise ValueError(f"backbone = swin: 6 levels and a width divisible by 24 are needed, not {levels}, {width}")
        require_between("width", width, 24, 96)
        try:
            import einops  # noqa: F401  (MONAI's module is imported without it, and then does not run)
            from monai.networks.nets.swin_unetr import SwinTransformer
        except ImportError as error:
            raise ValueError("backbone = swin needs MONAI and einops: pip install 'lacunet[swin]'") from error
        self.widths = [width, *(width * 2**level for level in range(levels - 1))]
        self.stem = ConvBlock(channels, width)
        with torch.device("cpu"):  # it reads numbers from tensors while it is made, which those without memory refuse
            self.swin = SwinTransformer(
                in_chans=channels,
                embed_dim=width,
                window_size=(7, 7, 7),
                patch_size=(2, 2, 2),
                depths=(2, 2, 2, 2),
                num_heads=(3, 6, 12, 24),
            )

    def forward(self, images: Float[Tensor, "row _ x y z"]) -> list[Tensor]:
        """The features of every level, finest first."""
        return [self.stem(images), *self.swin(images)]
