"""The tissues in the voxels of an invented patient, and the scans that a scanner makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from lacunet.data.phantom import anatomy, signal, tumour

Values = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Tissues:
    """The tissues of voxels: fractions (they add up to 1), where contrast agent leaks (0..1), and labels."""

    fractions: Mapping[str, Values]
    leak: Values
    labels: UInt8[np.ndarray, " n"]


def mix(
    tissue: Float[np.ndarray, "3 n"],
    spread: Values,
    patch: Values,
    vessel: Values,
    limits: tumour.Limits,
    growth: tumour.Growth,
) -> Tissues:
    """Fractions, leak and labels from the roughened log-odds of the cell density (`spread`) at each point."""
    white, grey, fluid = tissue
    solid_tissue = 1.0 - fluid
    core = solid_tissue * _soft(spread - limits.core, 0.2)
    necrosis = core * _soft(spread - limits.necrosis, 0.2)
    wet = _soft(spread - limits.oedema, 0.35) * (0.75 + 0.25 * _soft(spread - limits.core, 1.5))
    oedema = (solid_tissue - core) * wet
    healthy = (solid_tissue - core - oedema) / np.maximum(white + grey, 1e-6)
    vessel = vessel * fluid
    leaking = patch < np.quantile(patch, growth.leak) if growth.enhancing else np.zeros(patch.shape, bool)
    fractions = {
        "white": white * healthy,
        "grey": grey * healthy,
        "fluid": fluid - vessel,
        "vessel": vessel,
        "oedema": oedema,
        "solid": core - necrosis,
        "necrosis": necrosis,
    }
    tissue_voxel = fluid < 0.5
    labels = np.where(tissue_voxel & (spread > limits.oedema), 2, 0)
    labels[tissue_voxel & (spread > limits.core)] = 1
    labels[tissue_voxel & (spread > limits.core) & (spread <= limits.necrosis) & leaking] = 3
    strength = leaking * (0.8 + 0.2 * np.tanh(patch)).astype(np.float32)
    return Tissues(fractions, strength.astype(np.float32), labels.astype(np.uint8))


def scan(
    tissues: Tissues,
    points: np.ndarray,
    brain: np.ndarray,
    scanner: signal.Scanner,
    spacing: float,
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Scan the patient: signal, blur, coil, noise, gain."""
    grain = 0.03 * anatomy.smooth_noise(generator, 2.5) + 0.03 * anatomy.smooth_noise(generator, 9.0)
    texture = 1.0 + anatomy.sample_field(grain, points)
    images = {}
    for modality, sequence in scanner.sequences.items():
        pure = _voxel_signal(tissues, sequence, scanner, contrast=modality == "t1c") * texture
        volume = np.zeros(brain.shape, np.float32)
        volume[brain] = np.abs(pure)
        blurred = ndimage.gaussian_filter(volume, scanner.blur[modality] / spacing)[brain]
        coil = np.exp(scanner.bias[modality] * anatomy.sample_field(anatomy.smooth_noise(generator, 60.0), points))
        level = float(np.median(blurred))
        noisy = signal.rician(blurred * coil, scanner.noise[modality] * level, generator)
        volume[brain] = np.rint(noisy * (scanner.gain[modality] / level)).clip(1, 32767)
        images[modality] = volume
    return images


def _voxel_signal(tissues: Tissues, sequence: signal.Sequence, scanner: signal.Scanner, contrast: bool) -> Values:
    """The sum over the tissues of each voxel. Contrast agent shortens T1 where it leaks, and in vessels."""
    relaxation = signal.tissues_at(scanner.field, scanner.lesion)
    r1 = signal.relaxivity(scanner.field)
    total = np.zeros_like(tissues.leak)
    for name, fraction in tissues.fractions.items():
        t1: float | np.ndarray = relaxation[name].t1
        if contrast and name == "solid":
            t1 = signal.shorten_t1(relaxation[name].t1, scanner.dose * tissues.leak, r1)
        if contrast and name == "vessel":
            t1 = signal.shorten_t1(relaxation[name].t1, np.asarray(1.0), r1)
        total += fraction * signal.magnetisation(sequence, relaxation[name], t1).astype(np.float32)
    return total


def _soft(distance: Values, width: float) -> Values:
    """A smooth step from 0 to 1."""
    return np.asarray(0.5 * (1.0 + np.tanh(distance / (2.0 * width))), dtype=np.float32)
