"""Scans of an invented brain without a tumour, made anew for each crop: each tissue has a random signal and grain.

Half of them look as a scanner would show them (`lacunet.data.phantom.signal`). In the other half every tissue may be as
bright or dark as any other in every sequence, as in SynthSeg (Billot et al. 2023, Medical Image Analysis 86:102789): a
network that has seen these does not take unusual contrast for a tumour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lacunet.data.phantom import signal

TISSUES = ("white", "grey", "fluid", "vessel")
"""Their order in the arrays."""

_AS_SCANNED = 0.5
"""Chance that the contrast is a scanner's."""
_LARGEST_GRAIN = 0.4
"""Of a tissue with a random signal, as a part of the deviation of the tissues' signals."""
_SCANNED_GRAIN = (0.02, 0.08)
"""Of a tissue with a scanner's signal, as a part of that signal."""


@dataclass(frozen=True)
class TissueStatistics:
    """What is needed to normalise the scans of a whole brain when only a crop of it is painted.

    Attributes:
        mean: Share of each tissue in the brain.
        products: Mean over the brain of the products of two shares.
        clip: Normalised intensities are cut off at plus and minus this, in standard deviations.
    """

    mean: tuple[float, ...]
    products: tuple[tuple[float, ...], ...]
    clip: float


@dataclass(frozen=True)
class Contrast:
    """One draw of all random parameters.

    Attributes:
        signal: Of each tissue in each modality.
        grain: Standard deviation of a voxel's signal within a tissue.
        seed: Of the grain itself.
    """

    signal: Float[np.ndarray, "modality tissue"]
    grain: Float[np.ndarray, "modality tissue"]
    seed: int


def draw_contrast(modalities: Sequence[str], generator: np.random.Generator) -> Contrast:
    """Random signals; a scanner's only where it has all the modalities."""
    scanner = signal.draw_scanner(generator)
    size = (len(modalities), len(TISSUES))
    random = generator.random(size)
    grain = generator.uniform(0.0, _LARGEST_GRAIN, size) * random.std(axis=1, keepdims=True)
    if generator.random() < _AS_SCANNED and set(modalities) <= set(scanner.sequences):
        random = np.array([_signals(scanner, modality) for modality in modalities])
        grain = random * generator.uniform(*_SCANNED_GRAIN, (len(modalities), 1))
    return Contrast(random, grain, int(generator.integers(2**31)))


def paint(
    shares: Float[Tensor, "tissue x y z"], contrast: Contrast, statistics: TissueStatistics
) -> Float[Tensor, "modality x y z"]:
    """Normalised scans of a crop, as if the whole brain had been scanned and normalised; outside the brain exactly 0.

    Args:
        shares: Of each tissue in a voxel; they add up to 1, to less at the edge of the brain, and to 0 outside.
        contrast: Signals and grain.
        statistics: Of the whole brain.
    """
    mean, products = np.asarray(statistics.mean), np.asarray(statistics.products)
    average = contrast.signal @ mean
    squares = np.einsum("mt,tu,mu->m", contrast.signal, products, contrast.signal)
    deviation = np.sqrt(np.maximum(squares - average**2 + contrast.grain**2 @ np.diag(products), 1e-6))
    weights = (contrast.signal - average[:, None]) / deviation[:, None]
    generator = torch.Generator().manual_seed(contrast.seed)
    grain = torch.as_tensor(contrast.grain / deviation[:, None], dtype=torch.float32)
    images = torch.einsum("mt,txyz->mxyz", torch.as_tensor(weights, dtype=torch.float32), shares)
    noise = torch.randn(images.shape, generator=generator)
    images = images + noise * torch.einsum("mt,txyz->mxyz", grain, shares)
    return images.clamp(-statistics.clip, statistics.clip) * (shares.sum(dim=0) > 0)


def statistics_of(shares: Float[np.ndarray, "tissue n"], clip: float) -> TissueStatistics:
    """Of the shares of tissues in the voxels of a brain."""
    products = shares.astype(np.float64) @ shares.T.astype(np.float64) / shares.shape[1]
    return TissueStatistics(tuple(shares.mean(axis=1).tolist()), tuple(map(tuple, products.tolist())), clip)


def _signals(scanner: signal.Scanner, modality: str) -> list[float]:
    """Of each tissue. Contrast agent shortens the T1 of blood."""
    found = signal.tissues_at(scanner.field, scanner.lesion)
    agent = signal.shorten_t1(found["vessel"].t1, np.asarray(1.0), signal.relaxivity(scanner.field))
    return [
        abs(
            float(
                signal.magnetisation(
                    scanner.sequences[modality], found[name], agent if modality == "t1c" and name == "vessel" else None
                )
            )
        )
        for name in TISSUES
    ]
