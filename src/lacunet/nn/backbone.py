"""Encoders by name."""

from typing import Literal

from torch import nn

from lacunet.nn.swin import SwinEncoder
from lacunet.nn.unet import Encoder, level_widths
from lacunet.nn.unetr import UnetrEncoder

Backbone = Literal["unet", "swin", "unetr"]
"""Whose encoder it is: a plain U-Net's, SwinUNETR's or UNETR's."""


def make_encoder(backbone: Backbone, width: int, levels: int, channels: int = 1) -> tuple[nn.Module, list[int]]:
    """An encoder of one modality, or of several as channels, and the channels of its levels, finest first.

    Raises:
        ValueError: it has no such size.
    """
    if backbone == "swin":
        swin = SwinEncoder(width, levels, channels)
        return swin, swin.widths
    if backbone == "unetr":
        unetr = UnetrEncoder(width, levels, channels)
        return unetr, unetr.widths
    widths = level_widths(width, levels)
    return Encoder(channels, widths), widths
