"""What mmFormer and its relatives share: an encoder for each modality, skips of what is there, one decoder."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from lacunet.nn.batch import Images, LevelLogits, Presence
from lacunet.nn.conv import PointConv
from lacunet.nn.fusion import SkipJoin, SkipParts, spread, sum_of_present
from lacunet.nn.losses import level_terms
from lacunet.nn.residual import Decoder, ResidualEncoder, SingleDecoder, levels_of_present, single_losses

Feature = Float[Tensor, "_ _ _ _ _"]


class Branches(nn.Module):
    """All but the fusion at the coarsest level, which is each method's own.

    Args:
        modalities: How many there are; each has an encoder.
        regions: How many there are; each level of the decoder predicts them.
        widths: Channels of each level, finest first; at least two levels.

    Raises:
        ValueError: fewer than two levels.
    """

    def __init__(self, modalities: int, regions: int, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"levels = {len(widths)}: at least 2 are needed, one with a skip and one for the fusion")
        self.encoders = nn.ModuleList(ResidualEncoder(1, widths) for _ in range(modalities))
        self.parts = nn.ModuleList(SkipParts(modalities, channels) for channels in widths[:-1])
        self.joins = nn.ModuleList(SkipJoin(channels) for channels in widths[:-1])
        self.decoder = Decoder(widths)
        self.outputs = nn.ModuleList(PointConv(channels, regions) for channels in widths)
        self.single = SingleDecoder(widths, regions)

    def encode(self, images: Images, presence: Presence) -> list[list[Feature]]:
        """Of each modality the features of every level, finest first, with a row for each case that shows it."""
        return levels_of_present(self.encoders, images, presence)

    def skips(self, levels: Sequence[Sequence[Feature]], presence: Presence) -> list[list[Feature]]:
        """At each level but the coarsest, what each modality adds to the skip; zero where it is not there.

        Args:
            levels: As `encode` gives them.
            presence: With which they were encoded.
        """
        there = presence.unbind(dim=1)
        finer = list(zip(*levels, strict=True))[:-1]
        return [spread(parts(level), there) for parts, level in zip(self.parts, finer, strict=True)]

    def join(self, skips: Sequence[Sequence[Feature]], presence: Presence) -> list[Feature]:
        """Each level's skip from the present modalities."""
        return [join(sum_of_present(level, presence)) for join, level in zip(self.joins, skips, strict=True)]

    def logits(self, coarsest: Feature, joined: Sequence[Feature]) -> list[LevelLogits]:
        """Region logits of every level, finest first.

        Args:
            coarsest: One subset, fused.
            joined: Its skips, finest first.
        """
        decoded = self.decoder(coarsest, joined)
        return [output(features) for output, features in zip(self.outputs, decoded, strict=True)]

    def terms(
        self,
        logits: Sequence[LevelLogits],
        levels: Sequence[Sequence[Feature]],
        presence: Presence,
        regions: Float[Tensor, "batch region x y z"],
    ) -> dict[str, Tensor]:
        """What a subset's predictions cost at the finest level, at the coarser ones, and from each modality alone.

        Args:
            logits: As `logits` gives them.
            levels: As `encode` gives them.
            presence: With which they were encoded.
            regions: The reference.
        """
        alone = single_losses(self.single(levels), presence, regions).mean()
        return {**level_terms(logits, regions), "auxiliary": alone}
