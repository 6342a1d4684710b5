"""From scans, each on its own grid, to one case that lacunet can segment.

    record = import_case({"t1c": Path("gd.nii.gz"), "t2f": Path("flair.nii.gz")}, Path("cases"), "anna")

The steps: read, register to one scan, find the brain, register again inside it, turn the brain into the pose of the
average brain, interpolate every scan once, judge, write. Steps that a scan does not need are left out.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float
from scipy import ndimage

from lacunet.case import Grid
from lacunet.data.nifti import nifti_image, ras_grid, to_ras
from lacunet.data.pseudonyms import IMPORT_RECORD
from lacunet.errors import DataError, OutputError
from lacunet.files import path_in, whole_folder
from lacunet.intake.align import quality
from lacunet.intake.align.atlas import case_grid, to_atlas, upright
from lacunet.intake.align.choices import Stripper
from lacunet.intake.align.quality import Judgement
from lacunet.intake.align.register import Volume, refine, register, volume_of
from lacunet.intake.align.rigid import Rigid, carry, from_itk, grown, to_itk
from lacunet.intake.align.source import Source, on_one_grid, read_source
from lacunet.intake.align.strip import choose_stripper, consensus, sequences_for, strip, stripper_version, upright_grid
from lacunet.intake.record import HowFound, ImportRecord, Placed, Step, write_record
from lacunet.progress import Progress, Silent
from lacunet.task import Task

PREFERRED = ("t1c", "t1n", "t2f", "t2w")
"""The scan to which the others are registered: the first of these that is fine enough."""

FINE_ENOUGH = 1.5
"""A scan is fine enough when its slices are at most this many times as thick as the finest scan's."""

WORKERS = 2
"""Registrations that run side by side, one thread each."""

AROUND_BRAIN_MM = 4.0
"""Registration inside the brain includes this margin around it."""

Motions = Mapping[str, Rigid]


@dataclass(frozen=True)
class ImportSettings:
    """How scans become a case.

    Attributes:
        stripper: `auto`, `deepbet` or `hd-bet`.
        device: Where hd-bet computes: `cpu` or `cuda`.
        bias_correction: Correct the coil's uneven gain in every scan (N4).
        allow: Continue although a step was judged to have failed; a warning says so.
        overwrite: Replace a case that exists already.
        seed: Of the points at which registration compares the scans.
    """

    stripper: Stripper = "auto"
    device: str = "cpu"
    bias_correction: bool = False
    allow: bool = False
    overwrite: bool = False
    seed: int = 0


@dataclass
class _Log:
    """Collects steps, judgements and warnings, and reports progress."""

    progress: Progress
    steps: list[Step] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    clock: float = field(default_factory=time.monotonic)

    def begin(self, words: str) -> None:
        self.progress.doing(words)
        self.clock = time.monotonic()

    def done(self, name: str, sentence: str) -> None:
        self.steps.append(Step(name, time.monotonic() - self.clock, sentence))
        self.clock = time.monotonic()


def import_case(
    scans: Mapping[str, Path],
    folder: Path,
    name: str,
    task: Task,
    settings: ImportSettings | None = None,
    progress: Progress = Silent(),
    found: HowFound | None = None,
) -> ImportRecord:
    """Make `folder/NAME/NAME-t1c.nii.gz` ... and `import.json` from scans in any state; whole or not at all.

    Args:
        scans: A file (NIfTI, .mha, .nrrd, .mgz) for each acquired modality.
        folder: The folder of cases.
        name: The case's name.
        task: Knows the modalities.
        settings: How scans become a case; None: the defaults.
        progress: Called with a few words at each step.
        found: How the scans were found; None: the user named them.

    Returns:
        What was done; `import.json` has the same content.

    Raises:
        DataError: a scan is unsuitable, a step failed, or there is no skull stripper for these scans.
        GeometryError: a scan's grid is impossible.
        OutputError: the case exists already, or cannot be written.
    """
    settings = settings or ImportSettings()
    path = path_in(folder, name)
    if path.exists() and not settings.overwrite:
        raise OutputError(f"{path}: exists already; replace it with --overwrite, or choose another name")
    if not scans:
        raise DataError(f"{name}: has no scan; at least one of {', '.join(task.modalities)} is needed")
    found = found or HowFound()
    log = _Log(progress, warnings=[*(caution.sentence for caution in found.cautions), *found.warnings])
    log.begin("reading")
    sources = {
        modality: read_source(modality, scans[modality], found.labels.get(modality)) for modality in task.subset(scans)
    }
    log.warnings = list(dict.fromkeys([*log.warnings, *(note for one in sources.values() for note in one.notes)]))
    log.done("read", f"{len(sources)} scans")
    if (ready := _as_it_is(sources, log)) is not None:
        images, grid, placed, reference = ready
    else:
        images, grid, placed, reference = _prepared(sources, settings, log)
    if settings.bias_correction:
        log.begin("correcting the coil's uneven gain")
        images = {modality: even_out(image) for modality, image in images.items()}
        log.done("bias correction", "N4 in every scan")
    _settle(name, settings, log)
    log.begin("writing")
    record = ImportRecord(name, grid, reference, placed, log.steps, log.judgements, log.warnings, _versions(), found)
    with whole_folder(path) as temporary:
        for modality, image in images.items():
            written = nifti_image(image.astype(np.float32, copy=False), grid.affine)
            nib.save(written, path_in(temporary, name, f"-{modality}.nii.gz"))
        write_record(temporary / IMPORT_RECORD, record)
    return record


# ---------------------------------------------------------------- scans that are prepared already


def _as_it_is(
    sources: Mapping[str, Source], log: _Log
) -> tuple[dict[str, np.ndarray], Grid, dict[str, Placed], str] | None:
    """The scans as they are, where they are stripped, lie on one grid and fit each other there; None otherwise."""
    reference = choose_reference(sources)
    first = sources[reference]
    if not all(source.stripped and on_one_grid(source, first) for source in sources.values()):
        return None
    log.begin("comparing the scans")
    brain = np.any([source.voxels != 0 for source in sources.values()], axis=0)
    voxels = {modality: source.voxels for modality, source in sources.items()}
    judged = quality.judge_registrations(voxels, reference, first.grid, brain)
    if any(judgement.verdict == "failed" for judgement in judged):
        return None
    log.judgements += judged
    grid = ras_grid(first.grid)
    images = {modality: to_ras(source.voxels, source.grid) for modality, source in sources.items()}
    placed = {
        modality: Placed(source.grid, Rigid.identity(), True, _share(source.voxels != 0, brain))
        for modality, source in sources.items()
    }
    _judge_result(to_ras(brain, first.grid), grid, placed, log)
    log.done("recognise", "stripped and on one grid already; nothing was moved or interpolated")
    return images, grid, placed, reference


# ---------------------------------------------------------------- scans that are not


def choose_reference(sources: Mapping[str, Source]) -> str:
    """The scan to which the others are registered: T1ce if it is fine enough, else T1, FLAIR, T2.

    Fine enough: slices at most 1.5 times as thick as those of the finest scan.
    """
    finest = min(source.thickness for source in sources.values())
    fine = [name for name in sources if sources[name].thickness <= FINE_ENOUGH * finest]
    return next((name for name in PREFERRED if name in fine), fine[0])


def _prepared(
    sources: Mapping[str, Source], settings: ImportSettings, log: _Log
) -> tuple[dict[str, np.ndarray], Grid, dict[str, Placed], str]:
    stripper = None
    if not any(source.stripped for source in sources.values()):
        stripper = choose_stripper(list(sources), settings.stripper)  # fails before the long steps
    reference = choose_reference(sources)
    log.begin("registering the scans")
    motions = _register(sources, reference, settings.seed)
    log.done("register", f"{len(sources) - 1} scans to {reference}, rigidly")
    log.begin("finding the brain")
    working = upright_grid(sources[reference].grid, 1.0)
    brain = _brain(sources, motions, working, stripper, settings, log)
    log.begin("registering inside the brain")
    motions = _refined(sources, reference, motions, brain, working, settings.seed)
    log.done("register inside the brain", "the brain alone counts")
    log.begin("turning the brain into the pose of the average brain")
    first = carry(sources[reference].voxels, sources[reference].grid, working, Rigid.identity())
    to_case, overlap = to_atlas(first, working, brain, settings.seed)
    log.judgements.append(quality.judge_pose(overlap))
    if overlap < quality.ATLAS:
        to_case = upright(working, brain)
    log.done("pose", f"turned by {to_case.degrees:.1f} degrees; nothing was scaled or bent")
    log.begin("interpolating")
    grid = case_grid()
    mask = carry(brain.astype(np.float32), working, grid, to_case.inverse) >= 0.5
    if mask[[0, -1]].any() or mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any():
        log.warnings.append("the brain reaches the border of the case's grid; some of it may be cut off")
    whole, placed = _interpolated(sources, motions, to_case, grid, mask)
    log.judgements += quality.judge_registrations(whole, reference, grid, mask)
    _judge_result(mask, grid, placed, log)
    log.done("interpolate", "each scan once, linearly")
    return {modality: np.where(mask, image, 0.0) for modality, image in whole.items()}, grid, placed, reference


def _register(sources: Mapping[str, Source], reference: str, seed: int) -> dict[str, Rigid]:
    """Motions from each scan to the reference."""
    volumes = {modality: _volume(source) for modality, source in sources.items()}
    others = [modality for modality in sources if modality != reference]
    found = _side_by_side(lambda name: register(volumes[reference], volumes[name], seed).to_fixed, others)
    return {reference: Rigid.identity(), **dict(zip(others, found, strict=True))}


def _side_by_side(work: Callable[[str], Rigid], names: Sequence[str]) -> list[Rigid]:
    """The work for each name, on some threads. A command that is stopped does not wait for them."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        return list(pool.map(work, names))
    finally:
        stopped = isinstance(sys.exception(), KeyboardInterrupt | SystemExit)
        pool.shutdown(wait=not stopped, cancel_futures=True)


def _volume(source: Source) -> Volume:
    where = grown(source.voxels != 0, source.grid, AROUND_BRAIN_MM) if source.stripped else None
    return volume_of(source.voxels, source.grid, where)


def _brain(
    sources: Mapping[str, Source],
    motions: Motions,
    working: Grid,
    stripper: str | None,
    settings: ImportSettings,
    log: _Log,
) -> Bool[np.ndarray, "x y z"]:
    """One brain mask for the case, on the working grid in the reference's space."""
    votes = {}
    if stripper is None:
        for modality, source in sources.items():
            if source.stripped:
                signal = ndimage.binary_fill_holes(source.voxels != 0).astype(np.float32)
                votes[modality] = carry(signal, source.grid, working, motions[modality].inverse)
        told = f"from the scans that came without skull: {', '.join(votes)}"
    else:
        for modality in sequences_for(stripper, list(sources)):
            source = sources[modality]
            found, upright_scan = strip(source.voxels, source.grid, stripper, settings.device)
            votes[modality] = carry(found, upright_scan, working, motions[modality].inverse)
        told = f"{stripper_version(stripper)} in {', '.join(votes)}"
    brain = consensus(list(votes.values()))
    if not brain.any():
        raise DataError("no brain was found in the scans; are they of a head?")
    if len(votes) > 1:
        judge = quality.judge_containment if stripper is None else quality.judge_agreement
        log.judgements.append(judge([vote >= 0.5 for vote in votes.values()]))
    log.done("brain", told)
    return brain


def _refined(
    sources: Mapping[str, Source],
    reference: str,
    motions: Motions,
    brain: Bool[np.ndarray, "x y z"],
    working: Grid,
    seed: int,
) -> dict[str, Rigid]:
    """The motions improved where only the brain and a few mm around it count."""
    around = grown(brain, working, AROUND_BRAIN_MM).astype(np.uint8)

    def inside(modality: str) -> Volume:
        source = sources[modality]
        where = carry(around, working, source.grid, motions[modality], nearest=True) > 0
        return volume_of(source.voxels, source.grid, where)

    fixed = inside(reference)
    others = [modality for modality in sources if modality != reference]
    found = _side_by_side(lambda name: refine(fixed, inside(name), motions[name], seed).to_fixed, others)
    return {reference: Rigid.identity(), **dict(zip(others, found, strict=True))}


def _interpolated(
    sources: Mapping[str, Source], motions: Motions, to_case: Rigid, grid: Grid, brain: Bool[np.ndarray, "x y z"]
) -> tuple[dict[str, np.ndarray], dict[str, Placed]]:
    """Every scan on the case's grid, and its position there."""
    whole: dict[str, np.ndarray] = {}
    placed: dict[str, Placed] = {}
    for modality, source in sources.items():
        motion = to_case.after(motions[modality])
        whole[modality] = carry(source.voxels, source.grid, grid, motion.inverse)
        shown = carry(np.ones(source.grid.shape, np.uint8), source.grid, grid, motion.inverse, nearest=True) > 0
        if source.stripped:
            shown &= whole[modality] != 0
        placed[modality] = Placed(source.grid, motion, source.stripped, _share(shown, brain))
    return whole, placed


def _share(shown: Bool[np.ndarray, "x y z"], brain: Bool[np.ndarray, "x y z"]) -> float:
    return float((shown & brain).sum()) / max(1.0, float(brain.sum()))


# ---------------------------------------------------------------- judged


def _judge_result(brain: Bool[np.ndarray, "x y z"], grid: Grid, placed: Mapping[str, Placed], log: _Log) -> None:
    log.judgements.append(quality.judge_brain(brain, grid))
    log.judgements += [quality.judge_coverage(modality, scan.coverage) for modality, scan in placed.items()]


def _settle(name: str, settings: ImportSettings, log: _Log) -> None:
    """Doubtful judgements become warnings; a failed one ends the import: a wrong mask that looks right does harm."""
    failed = [judgement.sentence for judgement in log.judgements if judgement.verdict == "failed"]
    log.warnings += [judgement.sentence for judgement in log.judgements if judgement.verdict != "good"]
    if failed and not settings.allow:
        raise DataError(
            f"{name}: {'; '.join(failed)}. Leave that scan out, or keep it with --allow and check the result"
        )


# ---------------------------------------------------------------- written


def even_out(image: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    """N4 bias correction (Tustison et al. 2010, IEEE TMI 29:1310) of voxels above 0, found at a quarter of the size."""
    inside = image > 0
    if not inside.any():
        return image
    x, y, z = image.shape
    grid = Grid((x, y, z), np.eye(4))
    full, mask = to_itk(image.astype(np.float32), grid), to_itk(inside.astype(np.uint8), grid)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([40, 40, 40])
    with _one_thread():
        corrector.Execute(sitk.Shrink(full, [4, 4, 4]), sitk.Shrink(mask, [4, 4, 4]))
    gain = np.exp(from_itk(corrector.GetLogBiasFieldAsImage(full)))
    return np.where(inside, image / np.maximum(gain, 1e-3), image).astype(np.float32)


@contextmanager
def _one_thread() -> Iterator[None]:
    """N4 on several threads depends on how many: each sums up a part, in filters that take the default alone."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _versions() -> dict[str, str]:
    return {"lacunet": version("lacunet"), "SimpleITK": sitk.Version_VersionString()}
