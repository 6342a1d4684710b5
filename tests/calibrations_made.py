"""Calibrations made by hand, and out-of-fold cases with known errors: for tests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from scipy.special import expit

from lacunet.calibration.out_of_fold import Beside, HeldOutCase
from lacunet.data.prepare import Preparation
from lacunet.data.scan_facts import ScanFacts
from lacunet.evaluation.scores import Row
from lacunet.models.calibration import Calibration, Coverage, FoldModel, Gain, Range, RegionExpectation, Reliability
from lacunet.models.model import save_model
from lacunet.nn.method import get_method, make_method
from lacunet.stats.intervals import ball_ml
from lacunet.task import GLIOMA

SUBSETS = [GLIOMA.subset_name(subset) for subset in GLIOMA.subsets]


def tiny_model(folder: Path, seed: int = 0, spacing: float = 6.0, steps: int | None = None) -> Path:
    """A folder with an untrained network, whose card claims so many steps."""
    torch.manual_seed(seed)
    method = make_method(get_method("early_fusion"), GLIOMA, {"width": 4, "levels": 2})
    card = {"data": "nothing", "licence": "none"} | ({"recipe": {"train": {"steps": steps}}} if steps else {})
    save_model(folder, method, Preparation(spacing), card)
    return folder


def calibration_made() -> Calibration:
    """Of `tiny_model`: two sequences are twice too sure; T1ce helps FLAIR, nothing helps T1ce + FLAIR."""
    expected = {
        "wt": RegionExpectation(
            cases=22, absent=0, dice=0.81, dice_range=_range(0.6, 0.9), radius_mm=_range(-2.0, 1.0)
        ),
        "tc": RegionExpectation(
            cases=22, absent=0, dice=0.7, dice_range=_range(0.4, 0.85), radius_mm=_range(-1.0, 1.5)
        ),
        "et": RegionExpectation(cases=22, absent=2, dice=0.45, dice_range=None, radius_mm=None),
    }
    helps = {"wt": _gain(0.01, -0.02, 0.04), "tc": _gain(0.1, 0.03, 0.2), "et": _gain(0.21, 0.08, 0.35)}
    hardly = {region: _gain(0.03, -0.01, 0.07) for region in GLIOMA.regions}
    return Calibration(
        lacunet="0.1.0",
        task="glioma",
        method="early_fusion",
        arguments={"width": 4, "levels": 2},
        preparation={"spacing": 6.0, "clip": 5.0},
        data="invented",
        cases=22,
        persons=22,
        folds=[FoldModel(weights="a" * 64, cases=12), FoldModel(weights="b" * 64, cases=10)],
        policy="brats",
        postprocessing=[],
        coverage=0.8,
        seed=1,
        voxels=1000,
        temperatures={1: 1.5, 2: 2.0, 3: 0.5, 4: 1.0},
        reliability={
            2: {region: Reliability(error=0.02, error_calibrated=0.01, likelihood=0.2, likelihood_calibrated=None)
                for region in GLIOMA.regions}
        },
        subsets={"t1c+t2f": expected, "t2f": expected},
        gains={"t2f": {"t1n": hardly, "t1c": helps}, "t1c+t2f": {"t1n": hardly, "t2w": hardly}},
        volume_coverage={"wt": Coverage(held=270, cases=330)},
        notes=[],
    )  # fmt: skip


def parts_made(
    folder: Path,
    *,
    persons: int = 12,
    folds: int = 3,
    sure: Callable[[int], float] = lambda size: 1.0,
    voxels: int = 20,
    seed: int = 0,
) -> list[HeldOutCase]:
    """A case per person. Radii of references are off by a normal error of 2 mm, Dice grow with the subset.

    Args:
        folder: Where their voxels go.
        persons: How many.
        folds: Models they are dealt to.
        sure: How many times too sure logits are, by number of modalities.
        voxels: Of each case.
        seed: Of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    parts = []
    for place in range(persons):
        name, kept = f"case-{place:02}", {}
        logits = generator.normal(-1, 3, (3, voxels))
        kept["truth"] = (generator.random((3, voxels)) < expit(logits)).astype(np.uint8)
        rows = []
        for subset in SUBSETS:
            size = subset.count("+") + 1
            kept[subset] = (logits * sure(size)).astype(np.float32)
            for region in GLIOMA.regions:
                radius = generator.uniform(10, 30)
                volumes = (ball_ml(radius + float(generator.normal(0, 2))), ball_ml(radius))
                rows.append(Row(name, subset, region, 0.5 + 0.1 * size + 0.001 * place, float("nan"), *volumes))
        save_file(kept, folder / f"{name}.safetensors")
        agreement = {
            subset: dict(zip(GLIOMA.regions, (0.5 + 0.01 * place, 0.4, 0.2), strict=True))
            for subset in SUBSETS
            if "+" in subset
        }
        facts = ScanFacts(brain_ml=1300.0 + place, voxel_mm=1.0, shading={"t1n": 1.1, "t1c": 1.2 + 0.05 * place})
        beside = Beside(agreement=agreement, facts=facts)
        parts.append(HeldOutCase(name, name, place % folds, rows, folder / f"{name}.safetensors", beside))
    return parts


def _range(low: float, high: float) -> Range:
    return Range(low=low, high=high)


def _gain(dice: float, low: float, high: float) -> Gain:
    return Gain(cases=22, dice=dice, range=_range(low, high))
