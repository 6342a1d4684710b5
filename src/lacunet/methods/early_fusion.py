"""Early fusion with modality dropout: the baseline that every other method must beat."""

from collections.abc import Mapping

from torch import Tensor, nn

from lacunet.nn.backbone import Backbone, make_encoder
from lacunet.nn.batch import Batch, Images, LevelLogits, Logits, Presence, hide, shown_subsets
from lacunet.nn.conv import PointConv
from lacunet.nn.limits import require_between
from lacunet.nn.losses import cross_entropy_loss, deeply, dice_loss, mean_terms
from lacunet.nn.method import Clock, Method, Stage
from lacunet.nn.papers import Paper
from lacunet.nn.unet import Decoder
from lacunet.task import Task


class EarlyFusion(Method[Images]):
    """A 3-D U-Net over all modalities as input channels; absent ones are zero, a random subset is shown at each step.

    The network is the 3D U-Net of Cicek et al. (MICCAI 2016); dropping whole modalities in training is ModDrop
    (Neverova et al., TPAMI 2016). All mixing happens at the input, so nothing can be encoded once for all subsets:
    `encode` hands the images through, and evaluating fifteen subsets costs fifteen passes.

    Args:
        task: Modalities in, regions out.
        width: Channels of the finest level; doubled at each level below, up to 320.
        levels: Resolutions; a box is padded to a multiple of 2 ** (levels - 1) voxels.
        deep: Whether coarser levels of the decoder meet the reference too, each with half the weight of the finer one.
        backbone: Whose encoder it is: `unet`, or SwinUNETR's (`swin`: six levels, a width that 24 divides) or UNETR's
            (`unetr`: five levels), behind the same decoder.
        subsets: How many subsets of a crop meet the reference, a pass each. The recipe shows the first; the others are
            drawn, each subset of what was acquired equally likely.

    Departures from the paper:
        Group norm in place of batch norm, strided convolutions in place of max pooling, trilinear enlargement in place
        of transposed convolution: the common form of the network today, and indifferent to the size of the batch.

    Not stated in the paper:
        How subsets are drawn: a recipe's `train.subsets` says, uniformly over the 15 by default.
    """

    paper = Paper(
        title="3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation",
        authors="Cicek et al.",
        year=2016,
        venue="MICCAI (with ModDrop, Neverova et al., TPAMI 2016)",
        url="https://arxiv.org/abs/1606.06650",
        idea="One U-Net over all modalities as channels; absent ones are zero, random subsets are shown in training.",
    )

    def __init__(
        self,
        task: Task,
        *,
        width: int = 16,
        levels: int = 4,
        deep: bool = False,
        backbone: Backbone = "unet",
        subsets: int = 1,
    ) -> None:
        super().__init__(task)
        require_between("subsets", subsets, 1, 15)
        self.subsets = subsets
        self.encoder, widths = make_encoder(backbone, width, levels, len(task.modalities))
        self.divisor = 2 ** (levels - 1)
        self.decoder = Decoder(widths)
        self.head = PointConv(width, len(task.regions))
        coarser = widths[1:-1] if deep else []
        self.coarser = nn.ModuleList(PointConv(channels, len(task.regions)) for channels in coarser)

    def encode(self, images: Images, presence: Presence) -> Images:
        """The images, absent modalities zero."""
        return hide(images, presence)

    def decode(self, encoded: Images, presence: Presence) -> Logits:
        """The whole U-Net over the present modalities."""
        return self._levels(encoded, presence)[0]

    def _levels(self, images: Images, presence: Presence) -> list[LevelLogits]:
        """Logits at the images' resolution, then those of coarser levels if they are compared with the reference."""
        finest, *others = reversed(self.decoder(self.encoder(hide(images, presence))))
        return [self.head(finest), *(head(level) for head, level in zip(self.coarser, others, strict=False))]

    def stages(self) -> list[Stage]:
        """One stage: segment from what is shown."""
        return [Stage(name="segment", loss=self._loss, trains=[self])]

    def _loss(self, batch: Batch, clock: Clock) -> Mapping[str, Tensor]:
        return mean_terms([self._terms(batch, presence) for presence in shown_subsets(batch, self.subsets)])

    def _terms(self, batch: Batch, presence: Presence) -> dict[str, Tensor]:
        """The terms of one subset."""
        levels = self._levels(batch.images, presence)
        return {
            "dice": deeply(dice_loss, levels, batch.regions),
            "cross_entropy": deeply(cross_entropy_loss, levels, batch.regions),
        }
