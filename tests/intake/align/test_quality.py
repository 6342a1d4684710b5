"""Right results are called good, wrong ones are not; and every sentence says what it means."""

import numpy as np
import pytest

from lacunet.case import Case, Grid
from lacunet.intake.align.likeness import fit_of
from lacunet.intake.align.quality import (
    judge_agreement,
    judge_brain,
    judge_containment,
    judge_coverage,
    judge_pose,
    judge_registration,
    judge_registrations,
)
from lacunet.intake.align.rigid import Rigid, carry
from phantoms_made import make_phantom


@pytest.fixture(scope="module")
def patient() -> Case:
    return make_phantom(seed=21, spacing=3.0)


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


@pytest.mark.parametrize(("shift", "verdict"), [(1.0, "good"), (3.0, "doubtful"), (7.0, "failed")])
def test_a_scan_of_the_same_brain_in_another_place_is_told_by_its_distance(patient, shift: float, verdict: str) -> None:
    image = moved(patient, "t1n", Rigid.about((0.0, -16, 6), (0, 0, 0), (0, shift, 0)))
    brain = patient.images["t1c"] > 0
    judged = judge_registration("t1n", "t1c", patient.images["t1c"], image, patient.grid, brain & (image > 0))
    assert judged.verdict == verdict
    if verdict != "good":
        assert f"t1n does not lie on t1c: it would fit best about {shift:.0f} mm away" in judged.sentence
    fit = fit_of(patient.images["t1c"], image, patient.grid, brain & (image > 0), 10.0)
    assert fit.away_mm == pytest.approx(shift, abs=0.7)


def test_thick_slices_of_the_same_brain_are_good(patient) -> None:
    """Each slice is the mean of three, repeated: as a case of coarse scans that were laid on a fine grid."""
    image = patient.images["t2w"]
    whole = image.shape[2] // 3 * 3
    means = image[:, :, :whole].reshape(*image.shape[:2], -1, 3).mean(-1)
    thick = np.zeros_like(image)
    thick[:, :, :whole] = np.repeat(means, 3, axis=2)
    brain = (patient.images["t1c"] > 0) & (thick > 0)
    judged = judge_registration("t2w", "t1c", patient.images["t1c"], thick, patient.grid, brain)
    assert judged.verdict == "good"


def test_another_patient_is_less_alike_than_the_same_one(patient) -> None:
    other = make_phantom(seed=22, spacing=3.0)
    brain = (patient.images["t1c"] > 0) & (other.images["t2w"] > 0)
    same, another = (
        fit_of(patient.images["t1c"], one.images["t2w"], patient.grid, brain, 0.0).likeness for one in (patient, other)
    )
    assert another < 0.7 * same


@pytest.mark.parametrize("modality", ["t1n", "t2w", "t2f"])
def test_another_patient_s_scan_fails(patient, modality) -> None:
    other = make_phantom(seed=22, spacing=3.0).images[modality]
    brain = (patient.images["t1c"] > 0) & (other > 0)
    judged = judge_registration(modality, "t1c", patient.images["t1c"], other, patient.grid, brain)
    assert judged.verdict == "failed"
    assert judged.sentence.startswith(f"{modality} does not fit t1c: another patient")


def test_edges_are_alike_whatever_is_bright_and_in_any_orientation(patient) -> None:
    image, brain = patient.images["t1c"], patient.images["t1c"] > 0
    inverted = np.where(brain, image.max() + 100 - image, 0)
    alike = fit_of(image, inverted, patient.grid, brain, 0.0)
    assert alike.likeness == pytest.approx(2.0, abs=0.05)
    turned = Grid((image.shape[2], image.shape[0], image.shape[1]), patient.grid.affine[:, [2, 0, 1, 3]])
    one, two, where = (a.transpose(2, 0, 1) for a in (image, patient.images["t2f"], brain))
    expected = fit_of(image, patient.images["t2f"], patient.grid, brain, 0.0)
    found = fit_of(one, two, turned, where, 0.0)
    assert found.likeness == pytest.approx(expected.likeness, abs=0.02)


def test_a_scan_unlike_the_reference_is_good_where_it_is_like_a_scan_that_is(patient) -> None:
    """T1 and T1ce in different noise have few edges in common; both are like T2."""
    noise = np.random.default_rng(3)
    brain = patient.images["t2w"] > 0

    def noisy(modality: str) -> np.ndarray:
        image = patient.images[modality]
        level = 1.5 * image[brain].std()
        return np.where(brain, (image + noise.normal(0, level, image.shape)).clip(1), 0).astype(np.float32)

    images = {"t1n": noisy("t1n"), "t1c": noisy("t1c"), "t2w": patient.images["t2w"]}
    alone = judge_registration("t1n", "t1c", images["t1c"], images["t1n"], patient.grid, brain)
    assert alone.verdict == "failed"
    t1n, t2w = judge_registrations(images, "t1c", patient.grid, brain)
    assert (t1n.step, t1n.verdict, t1n.sentence) == (
        "registration of t1n",
        "good",
        "t1n lies on t2w, and shows the same brain",
    )
    assert (t2w.step, t2w.verdict) == ("registration of t2w", "good")
    other = make_phantom(seed=22, spacing=3.0).images["t1n"]
    strange, _ = judge_registrations({**images, "t1n": other}, "t1c", patient.grid, brain)
    assert strange.verdict == "failed"


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
