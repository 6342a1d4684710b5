"""From tissue to signal: the spin-echo and inversion-recovery equations, contrast agent, bias and noise.

Relaxation times are in seconds, proton density is relative to water.

Healthy tissues: at 3 T, T1 and T2 of Konar et al. 2022 (Cancers 14:2651, synthetic MRI); at 1.5 T, and the proton
densities, the values that BrainWeb uses (Kwan, Evans, Pike 1999, IEEE TMI 18:1085).

Parts of a tumour: there is no single value; Bojorquez et al. 2017 (Magn Reson Imaging 35:69) shows how much studies
differ even for the healthy brain. They are drawn as multiples of white matter at the same field, around the ratios of
de Blank et al. 2019 (J Magn Reson Imaging, MR fingerprinting; solid high-grade tumour: T1 2.0, T2 2.4; its
surroundings: T1 1.4, T2 1.7); the necrotic core lies between tumour and fluid. These ranges, and the values of blood,
are our choice.

Relaxivity r1 of gadobutrol in plasma: Szomolanyi et al. 2019 (Invest Radiol 54:559).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Signal = Float[np.ndarray, "..."]


@dataclass(frozen=True)
class Tissue:
    """The properties of a tissue that determine its signal.

    Attributes:
        t1: Longitudinal relaxation time, s.
        t2: Transverse relaxation time, s.
        density: Proton density, water = 1.
    """

    t1: float
    t2: float
    density: float

    def times(self, t1: float, t2: float, density: float) -> "Tissue":
        """A tissue with longer relaxation times by these factors, and another density."""
        return Tissue(self.t1 * t1, self.t2 * t2, density)


@dataclass(frozen=True)
class Sequence:
    """How one modality was acquired.

    Attributes:
        kind: Spin echo, or inversion recovery (FLAIR, and MPRAGE approximately).
        repetition: TR, s.
        echo: TE, s.
        inversion: TI, s; 0 for a spin echo.
    """

    kind: Literal["spin_echo", "inversion_recovery"]
    repetition: float
    echo: float
    inversion: float = 0.0


@dataclass(frozen=True)
class Scanner:
    """One examination.

    Attributes:
        field: 1.5 or 3.0 tesla.
        sequences: By modality.
        bias: Standard deviation of the log of the coil's uneven gain, by modality.
        noise: Standard deviation of the noise in either channel, over the median brain signal, by modality.
        gain: The median brain signal on disk, by modality.
        blur: Standard deviation of the blur, mm, by modality: how sharp the images are.
        dose: Gadolinium in the leaking rim, mmol/L.
        lesion: T1 and T2 of the tumour's parts as multiples of white matter's.
    """

    field: float
    sequences: Mapping[str, Sequence]
    bias: Mapping[str, float]
    noise: Mapping[str, float]
    gain: Mapping[str, float]
    blur: Mapping[str, float]
    dose: float
    lesion: Mapping[str, tuple[float, float]]


def tissues_at(field: float, lesion: Mapping[str, tuple[float, float]]) -> dict[str, Tissue]:
    """Every tissue at 1.5 T or 3 T (sources: this module's docstring); `lesion` as in `Scanner`."""
    if field == 3.0:
        white, grey, fluid = Tissue(0.701, 0.064, 0.77), Tissue(1.143, 0.078, 0.86), Tissue(4.206, 0.390, 1.0)
        blood = Tissue(1.65, 0.030, 0.75)
    else:
        white, grey, fluid = Tissue(0.500, 0.070, 0.77), Tissue(0.833, 0.083, 0.86), Tissue(2.569, 0.329, 1.0)
        blood = Tissue(1.44, 0.035, 0.75)
    return {
        "white": white,
        "grey": grey,
        "fluid": fluid,
        "oedema": white.times(*lesion["oedema"], 0.86),
        "solid": white.times(*lesion["solid"], 0.88),
        "necrosis": white.times(*lesion["necrosis"], 0.95),
        "vessel": blood,  # the short T2 stands for the flow void
    }


def relaxivity(field: float) -> float:
    """r1 of gadobutrol in plasma, L/(mmol s)."""
    return 4.97 if field == 3.0 else 4.78


def shorten_t1(t1: float, concentration: Signal, r1: float) -> Signal:
    """1 / T1' = 1 / T1 + r1 C, with C in mmol/L."""
    return np.asarray(1.0 / (1.0 / t1 + r1 * concentration))


def null_time(t1: float, repetition: float) -> float:
    """The inversion time at which a tissue gives no signal: T1 (ln 2 - ln(1 + exp(-TR / T1)))."""
    return float(t1 * (np.log(2.0) - np.log1p(np.exp(-repetition / t1))))


def magnetisation(sequence: Sequence, tissue: Tissue, t1: float | Signal | None = None) -> Signal:
    """Signed signal of one tissue; a voxel's signal is the magnitude of the sum over its tissues.

    Spin echo: PD (1 - exp(-TR/T1)) exp(-TE/T2).
    Inversion recovery: PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2).

    Args:
        sequence: How it is acquired.
        tissue: Its relaxation times and proton density.
        t1: Replaces the tissue's own T1, s; with contrast agent it may differ between voxels.
    """
    t1 = tissue.t1 if t1 is None else t1
    recovered = np.exp(-sequence.repetition / np.asarray(t1))
    if sequence.kind == "spin_echo":
        longitudinal = 1.0 - recovered
    else:
        longitudinal = 1.0 - 2.0 * np.exp(-sequence.inversion / np.asarray(t1)) + recovered
    return np.asarray(tissue.density * longitudinal * np.exp(-sequence.echo / tissue.t2))


def rician(signal: Signal, noise: float, generator: np.random.Generator) -> Signal:
    """Magnitude of a signal with Gaussian noise of this standard deviation in both channels."""
    real = signal + noise * generator.standard_normal(signal.shape, dtype=np.float32)
    imaginary = noise * generator.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary))


def draw_scanner(generator: np.random.Generator) -> Scanner:
    """A scanner and its settings: 3 T or 1.5 T, spin-echo T1 or MPRAGE (often MPRAGE after contrast only).

    Ranges: spin-echo T1 TR 0.45-0.7 s, TE 8-15 ms; MPRAGE TR 1.9-2.3 s, TI 0.9-1.1 s, TE 3 ms; T2 TR 3.5-6 s,
    TE 80-110 ms; FLAIR TR 8-10 s, TE 90-140 ms, TI within 2 % of the null of fluid.
    """
    field = float(generator.choice([1.5, 3.0]))
    lesion = {
        "oedema": (generator.uniform(1.4, 1.8), generator.uniform(1.7, 2.3)),
        "solid": (generator.uniform(1.7, 2.2), generator.uniform(1.6, 2.3)),
        "necrosis": (generator.uniform(2.6, 4.5), generator.uniform(2.2, 4.0)),
    }
    fluid = tissues_at(field, lesion)["fluid"].t1
    repetition = generator.uniform(8.0, 10.0)
    inversion = null_time(fluid, repetition) * generator.uniform(0.98, 1.02)
    sequences = {
        "t1n": _draw_t1(generator, field, mprage=generator.random() < 0.3),
        "t1c": _draw_t1(generator, field, mprage=generator.random() < 0.5),
        "t2w": Sequence("spin_echo", generator.uniform(3.5, 6.0), generator.uniform(0.08, 0.11)),
        "t2f": Sequence("inversion_recovery", repetition, generator.uniform(0.09, 0.14), inversion),
    }
    return Scanner(
        field=field,
        sequences=sequences,
        bias={name: generator.uniform(0.02, 0.10) for name in sequences},
        noise={name: generator.uniform(0.01, 0.06) for name in sequences},
        gain={name: generator.uniform(150.0, 900.0) for name in sequences},
        blur={name: generator.uniform(0.4, 1.0) for name in sequences},
        dose=generator.uniform(0.28, 0.55),
        lesion=lesion,
    )


def _draw_t1(generator: np.random.Generator, field: float, mprage: bool) -> Sequence:
    """Settings of a T1-weighted sequence. At 1.5 T, where T1 is shorter, so is the inversion time."""
    if not mprage:
        return Sequence("spin_echo", generator.uniform(0.45, 0.7), generator.uniform(0.008, 0.015))
    shorter = 1.0 if field == 3.0 else 0.8
    return Sequence(
        "inversion_recovery", generator.uniform(1.9, 2.3) * shorter, 0.003, generator.uniform(0.9, 1.1) * shorter
    )
