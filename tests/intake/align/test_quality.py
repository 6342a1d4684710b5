"""Right results are called good, wrong ones are not; and every sentence says what it means."""

import numpy as np
import pytest

from lacunet.case import Case, Grid
from lacunet.data.phantom.phantom import make_phantom
from lacunet.intake.align.quality import (
    judge_agreement,
    judge_brain,
    judge_containment,
    judge_coverage,
    judge_pose,
    judge_registration,
    peak,
)
from lacunet.intake.align.rigid import Rigid, carry


@pytest.fixture(scope="module")
def patient() -> Case:
    return make_phantom(seed=21, spacing=2.0)


def moved(case: Case, modality: str, motion: Rigid) -> np.ndarray:
    return carry(case.images[modality], case.grid, case.grid, motion)


@pytest.mark.parametrize("modality", ["t1n", "t2w", "t2f"])
def test_registered_scans_are_good_and_shifted_or_turned_ones_are_not(patient, modality) -> None:
    brain = patient.images["t1c"] > 0

    def verdict(motion: Rigid) -> str:
        image = moved(patient, modality, motion)
        return judge_registration(modality, "t1c", patient.images["t1c"], image, patient.grid, brain).verdict

    centre = np.array([0.0, -16, 6])
    assert verdict(Rigid.identity()) == "good"
    for shift in ((10, 0, 0), (0, -10, 0), (0, 0, 10)):
        assert verdict(Rigid.about(centre, (0, 0, 0), shift)) != "good"
    assert verdict(Rigid.about(centre, (0, 0, 12), (0, 0, 0))) != "good"


def test_another_patient_fits_worse_than_the_same_one(patient) -> None:
    other = make_phantom(seed=22, spacing=2.0)
    brain = (patient.images["t1c"] > 0) & (other.images["t2w"] > 0)
    same = peak(patient.images["t1c"], patient.images["t2w"], patient.grid, brain)
    assert peak(patient.images["t1c"], other.images["t2w"], patient.grid, brain) < 0.9 * same


@pytest.mark.parametrize("modality", ["t1n", "t2f"])
def test_another_patient_s_scan_fails_although_no_other_place_fits_it_much_better(patient, modality) -> None:
    other = make_phantom(seed=22, spacing=2.0).images[modality]
    brain = (patient.images["t1c"] > 0) & (other > 0)
    judged = judge_registration(modality, "t1c", patient.images["t1c"], other, patient.grid, brain)
    assert judged.value > 0.8  # the peak alone would call it doubtful
    assert judged.verdict == "failed"
    assert judged.sentence.startswith(f"{modality} does not fit t1c: another patient")


def test_noise_and_emptiness_fit_nothing(patient) -> None:
    brain = patient.images["t1c"] > 0
    noise = np.random.default_rng(0).random(brain.shape, np.float32)
    judged = judge_registration("t2w", "t1c", patient.images["t1c"], noise, patient.grid, brain)
    assert judged.verdict != "good"
    nothing = judge_registration("t2w", "t1c", patient.images["t1c"], noise, patient.grid, np.zeros_like(brain))
    assert (nothing.verdict, nothing.value) == ("failed", 0.0)
    assert "t2w does not fit t1c: another patient" in nothing.sentence


@pytest.mark.parametrize(
    ("side", "verdict"), [(7, "failed"), (9, "doubtful"), (11, "good"), (12.8, "doubtful"), (14, "failed")]
)
def test_a_brain_has_the_volume_of_one(side: float, verdict: str) -> None:
    grid = Grid((20, 20, 20), np.diag([side * 10 / 20] * 3 + [1.0]))
    judged = judge_brain(np.ones(grid.shape, bool), grid)
    assert judged.value == pytest.approx(side**3)
    assert judged.verdict == verdict
    assert f"{side**3:.0f} ml" in judged.sentence


def test_the_least_agreement_of_two_masks_counts() -> None:
    masks = [np.zeros(100, bool) for _ in range(3)]
    for mask, count in zip(masks, (100, 96, 80), strict=True):
        mask[:count] = True
    cubes = [mask.reshape(4, 5, 5) for mask in masks]
    assert judge_agreement(cubes[:2]).value == pytest.approx(2 * 96 / 196)
    assert judge_agreement(cubes[:2]).verdict == "good"
    assert judge_agreement(cubes).value == pytest.approx(2 * 80 / 180)
    assert judge_agreement(cubes).verdict == "doubtful"


def test_a_stripped_scan_that_shows_less_of_the_brain_agrees_with_one_that_shows_it_all() -> None:
    brain, part, other = (np.zeros((10, 10, 10), bool) for _ in range(3))
    brain[1:9, 1:9, 1:9] = True
    part[1:9, 1:9, 1:5] = True
    other[1:9, 1:9, 3:7] = True
    judged = judge_containment([brain, part])
    assert (judged.value, judged.verdict) == (1.0, "good")
    assert judged.sentence == "the scans agree on where the brain is (100% of the smaller lies in the larger)"
    assert judge_agreement([brain, part]).verdict == "failed"
    apart = judge_containment([brain, part, other])
    assert apart.value == pytest.approx(0.5)
    assert apart.verdict == "failed"


@pytest.mark.parametrize(("share", "verdict"), [(1.0, "good"), (0.94, "doubtful"), (0.29, "failed")])
def test_a_scan_of_half_a_brain_is_said_to_be_one(share: float, verdict: str) -> None:
    judged = judge_coverage("t1n", share)
    assert judged.verdict == verdict
    assert f"{share:.0%} of the brain" in judged.sentence
    assert judged.to_json()["step"] == "coverage of t1n"


def test_a_missed_pose_is_a_doubt_and_no_failure() -> None:
    assert judge_pose(0.9).verdict == "good"
    assert judge_pose(0.2).verdict == "doubtful"
    assert "keeps the scan's own pose" in judge_pose(0.2).sentence
