"""The empty space around a skull-stripped brain: found within a tolerance, and set to exactly 0.

Everything after reading takes the voxels that are not 0 for the brain. So a scan is either on a background of exactly 0
when it leaves `on_empty_background`, or refused.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from lacunet.case import Grid
from lacunet.errors import DataError, UnpreparedError

LARGEST_BRAIN_ML = 2600.0
"""More signal than this is a head, not a brain: intracranial volumes reach about 2000 ml."""

LEAST_BORDER_BACKGROUND = 0.5
"""Share of the outermost voxels that are background in a skull-stripped scan (0.99 in BraTS, below 0.2 with skull)."""

BACKGROUND_TOLERANCE = 1e-5
"""Voxels belong to the background when they differ from it by at most this share of the range of the brain. The
smallest step of a scan of 16 bits is larger (1 / 65535), the noise around a head a hundred times as large."""

MOST_ZEROS_IN_BRAIN = 0.01
"""Where the background is not 0, at most this share of the other voxels may be 0: they would become background."""

MOST_STRAY_VOXELS = 1e-4
"""Share of voxels that may be close to 0 without being background: interpolation leaves some inside the brain."""

SAMPLE = 2**19
"""The range of the brain is taken from about this many voxels."""

Voxels = Float[np.ndarray, "x y z"]


@dataclass(frozen=True)
class Background:
    """What surrounds a brain.

    Attributes:
        value: The commonest value on the six faces of the volume, or the middle one where more are near that.
        tolerance: Voxels that differ from it by at most this belong to the background.
        share: The share of the outermost voxels that belong to it.
    """

    value: float
    tolerance: float
    share: float


def background_of(voxels: Voxels) -> Background:
    """The background, if there is one: look at its share."""
    faces = [voxels[0], voxels[-1], voxels[:, 0], voxels[:, -1], voxels[:, :, 0], voxels[:, :, -1]]
    outermost = np.concatenate([face.ravel() for face in faces])
    values, counts = np.unique(outermost, return_counts=True)
    found = _around(float(values[counts.argmax()]), voxels, values, counts)
    if counts.max() >= LEAST_BORDER_BACKGROUND * outermost.size:
        return found
    middle = _around(float(np.median(outermost)), voxels, values, counts)
    return middle if middle.share > found.share else found


def _around(value: float, voxels: Voxels, values: np.ndarray, counts: np.ndarray) -> Background:
    """The background of this value, which has these values and counts on the faces of the volume."""
    tolerance = BACKGROUND_TOLERANCE * _range(voxels, value)
    share = float(counts[_near(values, value, tolerance)].sum() / counts.sum())
    return Background(0.0 if abs(value) <= tolerance else value, tolerance, share)


def signal_of(voxels: Voxels, background: Background) -> Bool[np.ndarray, "x y z"]:
    """The voxels that do not belong to the background."""
    return ~_near(voxels, background.value, background.tolerance)


def looks_stripped(voxels: Voxels, voxel_ml: float) -> bool:
    """False for a scan that clearly shows more than a brain.

    Around a skull-stripped brain the background is one value; around a head it is noise. Where a scanner has set the
    air to one value, a head still has more signal than any brain. On their faces the scans of BraTS have 0.99
    background, and they have up to 1800 ml of brain.
    """
    background = background_of(voxels)
    return _is_stripped(background, signal_of(voxels, background), voxel_ml)


def on_empty_background(name: str, voxels: Voxels, grid: Grid) -> tuple[Voxels, list[str]]:
    """A skull-stripped scan with a background of exactly 0, and notes. Its other voxels are as before.

    A background within the tolerance of 0 becomes 0. So does another one that is plainly no grey value: one below all
    other voxels, which are 0 or more. A lower background among negative values is refused, since such a scan was
    normalised already; so is a bright one, since a voxel of the brain may have its value.

    Raises:
        DataError: NaN or infinite voxels, a constant volume, or a doubtful background.
        UnpreparedError: it shows a skull.
    """
    check_signal(name, voxels)
    background = background_of(voxels)
    signal = signal_of(voxels, background)
    if not _is_stripped(background, signal, grid.voxel_ml):
        raise UnpreparedError(
            f"{name}: does not look skull-stripped ({background.share:.0%} of its outermost voxels are background, at "
            f"least {LEAST_BORDER_BACKGROUND:.0%} is expected, and at most {LARGEST_BRAIN_ML:.0f} ml of signal); "
            "remove the skull first (lacunet import)"
        )
    if background.value != 0 and not _is_below(voxels, signal, background.value):
        raise DataError(
            f"{name}: its background is {background.value:g}, not 0; was it normalised already? "
            "Give the skull-stripped scan as it was before"
        )
    nearly = np.count_nonzero(voxels) - np.count_nonzero(signal)
    if background.value == 0 and nearly <= MOST_STRAY_VOXELS * voxels.size:
        return voxels, []
    found = f"{background.value:g}, not 0" if background.value else "not exactly 0"
    return np.where(signal, voxels, voxels.dtype.type(0)), [f"{name}: its background is {found}; it was set to 0"]


def check_signal(name: str, voxels: Voxels) -> None:
    """Refuse a volume with NaN or infinite voxels, or with one value everywhere.

    Raises:
        DataError: NaN or infinite voxels, or one value everywhere.
    """
    finite = np.isfinite(voxels)
    if not finite.all():
        raise DataError(f"{name}: {int((~finite).sum())} voxels are NaN or infinite; write it again from its source")
    if (low := float(voxels.min())) == float(voxels.max()):
        what = "all voxels are 0" if low == 0 else f"all voxels have the value {low:g}"
        raise DataError(f"{name}: {what}; leave the file out if the sequence was not acquired")


def _range(voxels: Voxels, value: float) -> float:
    """How far the brightest voxels (but for one in a hundred) are from the background."""
    step = max(1, round((voxels.size / SAMPLE) ** (1 / 3)))
    distance = np.abs(voxels[::step, ::step, ::step].astype(np.float64) - value).ravel()
    place, last = round(0.99 * (distance.size - 1)), distance.size - 1
    return float(np.partition(distance, (place, last))[place])  # numpy is slow at a place near the end alone


def _near(voxels: np.ndarray, value: float, tolerance: float) -> np.ndarray:
    return np.asarray((voxels >= value - tolerance) & (voxels <= value + tolerance))


def _is_stripped(background: Background, signal: np.ndarray, voxel_ml: float) -> bool:
    signal_ml = float(np.count_nonzero(signal)) * voxel_ml
    return background.share >= LEAST_BORDER_BACKGROUND and signal_ml <= LARGEST_BRAIN_ML


def _is_below(voxels: Voxels, signal: np.ndarray, value: float) -> bool:
    """Whether a background lies below all other voxels, none of which is negative and few of which are 0."""
    darkest = float(voxels.min(initial=np.inf, where=signal))
    zeros = np.count_nonzero(signal) - np.count_nonzero(voxels[signal])
    few = bool(zeros <= MOST_ZEROS_IN_BRAIN * np.count_nonzero(signal))
    return value < darkest and darkest >= 0 and few
