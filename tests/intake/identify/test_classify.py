"""What the image itself tells: phantoms, orientations, abstention, contradictions."""

import json
import time
from importlib import resources

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.data.find import find_cases
from lacunet.data.nifti import load_case
from lacunet.intake.identify.classify import (
    NOTHING_TO_SEE,
    Classifier,
    Opinion,
    classifier,
    compared,
    contradiction,
    contradictions,
    settled,
)
from lacunet.intake.identify.features import features, inside_of_head, measure, standard, to_cubes
from lacunet.task import GLIOMA
from phantoms_made import make_phantom
from small import SHARED

REAL = SHARED / "data/glioma"


@pytest.fixture(scope="module")
def case():
    return make_phantom(2, spacing=3.0)


def look_at(voxels: np.ndarray, grid: Grid) -> Opinion:
    """The opinion on one image alone."""
    (opinion,) = compared([features(voxels, grid)])
    return opinion


def test_phantoms_are_recognised(case) -> None:
    for modality in ("t2w", "t2f"):
        assert look_at(case.images[modality], case.grid).modality == modality
    for modality in ("t1n", "t1c"):
        assert look_at(case.images[modality], case.grid).family == "t1"


def test_neither_orientation_nor_gain_matters(case) -> None:
    image = case.images["t1c"]
    plain = features(image, case.grid)
    x, y, z = case.grid.shape
    turned = features(np.ascontiguousarray(image[::-1].transpose(2, 0, 1)), Grid((z, x, y), np.eye(4) * 3))
    np.testing.assert_allclose(turned, plain, atol=1e-2)
    np.testing.assert_allclose(features(image * 17.0, case.grid), plain, atol=2e-3)


def test_an_empty_or_constant_image_is_unknown() -> None:
    grid = Grid((40, 40, 40), np.diag([3.0, 3.0, 3.0, 1.0]))
    assert look_at(np.zeros(grid.shape), grid) == NOTHING_TO_SEE
    assert look_at(np.full(grid.shape, 7.0), grid) == NOTHING_TO_SEE
    few = np.zeros(grid.shape)
    few[18:22, 18:22, 18:22] = 5.0
    assert look_at(few, grid) == NOTHING_TO_SEE
    assert contradictions({"t1c": np.zeros(grid.shape)}, grid, GLIOMA) == []


def test_noise_and_broken_numbers_do_not_break_it(case) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    noise[3, 3, 3] = np.nan
    assert isinstance(look_at(noise, Grid((40, 40, 40), np.diag([3.0, 3.0, 3.0, 1.0]))), Opinion)
    holed = case.images["t2w"].copy()
    holed[20:23, 20:23, 20:23] = np.inf
    assert look_at(holed, case.grid).modality == "t2w"


def test_the_head_is_found_and_its_rind_left_out() -> None:
    """A ball of 75 mm in noise: what is nearer than 18 mm to the air is not inside."""
    x, y, z = np.mgrid[-30:31, -30:31, -30:31] * 3.0
    radius = np.sqrt(x**2 + y**2 + z**2)
    volume = np.where(radius < 75, 100.0, 3.0) + np.random.default_rng(0).normal(0, 1, radius.shape)
    inside = inside_of_head(volume)
    assert inside[radius < 52].all()
    assert not inside[radius > 64].any()


def test_cubes_are_means_of_blocks() -> None:
    voxels = np.arange(6.0 * 3 * 3).reshape(6, 3, 3).astype(np.float32)
    cubes = to_cubes(voxels, (1.0, 1.0, 3.0))
    np.testing.assert_allclose(cubes, voxels.reshape(2, 3, 1, 3, 3).mean(axis=(1, 3)), rtol=1e-6)
    ramp = np.arange(10.0)[:, None, None] * np.ones((1, 4, 4))
    fine = to_cubes(ramp.astype(np.float32), (6.0, 3.0, 3.0))
    assert fine.shape[0] == 20
    assert np.all(np.diff(fine[:, 0, 0]) > 0)


def test_a_stripped_scan_is_measured_where_it_is_not_background(case) -> None:
    image = case.images["t2w"]
    volume, inside = standard(image, case.grid)
    assert inside.sum() == pytest.approx((image != 0).sum(), rel=0.15)
    assert measure(volume, inside) is not None


def test_probabilities_add_up_and_comparison_is_antisymmetric(case) -> None:
    one, other = (features(case.images[modality], case.grid) for modality in ("t1n", "t1c"))
    judge = classifier()
    assert sum(judge.probabilities(one).values()) == pytest.approx(1.0, abs=1e-5)
    assert judge.later(one, other) == pytest.approx(1.0 - judge.later(other, one), abs=1e-6)
    assert judge.later(one, one) == pytest.approx(0.5)


def test_t1_scans_are_dealt_out_by_comparison_and_equal_ones_are_not_claimed(case) -> None:
    numbers = [features(case.images[modality], case.grid) for modality in ("t1n", "t1c", "t2w")]
    before, after, other = compared(numbers, known_t1=(0, 1))
    judge = classifier()
    chance = judge.later(numbers[1], numbers[0])
    assert after.probabilities["t1c"] == pytest.approx(max(chance, 1 - chance) if chance >= 0.5 else chance, abs=1e-5)
    assert before.probabilities["t1n"] == pytest.approx(after.probabilities["t1c"], abs=1e-5)
    assert other.modality == "t2w"
    same = compared([numbers[0], numbers[0]], known_t1=(0, 1))
    assert [one.modality for one in same] == ["unknown", "unknown"]
    assert [one.family for one in same] == ["t1", "t1"]


def hand_made(pair: float) -> Classifier:
    """One feature; networks that know nothing: every class is equally likely."""
    one = np.ones(1, np.float32)
    layers = ((np.zeros((1, 5, 1), np.float32), np.zeros((1, 5), np.float32)),)
    return Classifier(("t1n", "t1c", "t2w", "t2f", "other"), one * 0, one, layers, one * pair, 1.0, 0.6, 0.98)


def test_scans_known_to_be_t1_are_compared_although_the_image_alone_says_nothing() -> None:
    low, middle, high = (np.full(1, value, np.float32) for value in (0.0, 1.0, 2.0))
    assert [one.modality for one in compared([high, low], hand_made(2.0))] == ["unknown", "unknown"]
    found = compared([high, low, middle], hand_made(2.0), known_t1=(0, 1))
    assert [one.modality for one in found] == ["t1c", "t1n", "unknown"]
    assert found[0].probabilities["t1c"] == pytest.approx(1 / (1 + np.exp(-4.0)))
    three = compared([high, low, middle], hand_made(2.0), known_t1=(0, 1, 2))
    assert three[2].probabilities["t1c"] == pytest.approx(0.5)


def test_a_wrong_name_is_told_and_a_right_one_is_not(case) -> None:
    assert contradictions(case.images, case.grid, GLIOMA) == []
    assert contradictions({"t2w": case.images["t2f"]}, case.grid, GLIOMA) == ["labelled T2, looks like FLAIR"]
    assert contradictions({"t1c": case.images["t2f"]}, case.grid, GLIOMA) == ["labelled T1ce, looks like FLAIR"]


def test_only_what_is_sure_is_a_contradiction() -> None:
    sure = classifier().sure
    assert contradiction("t2w", Opinion("t2f", sure, {"t2w": 1 - sure, "t2f": sure}, "t2f")) == "t2f"
    assert (
        contradiction("t2w", Opinion("t2f", sure - 0.01, {"t2w": 0.01, "t2f": sure - 0.01, "t1n": 0.0, "t1c": 0.0}))
        is None
    )
    assert contradiction("t2w", Opinion("unknown", 0.5, {"t2w": 0.0, "t1n": 0.5, "t1c": 0.5}, "t1")) == "t1"
    assert contradiction("t1n", Opinion("unknown", 0.5, {"t2w": 0.0, "t1n": 0.5, "t1c": 0.5}, "t1")) is None
    assert contradiction("t2w", NOTHING_TO_SEE) is None


def test_the_weights_are_small_and_named_after_their_data() -> None:
    folder = resources.files("lacunet.intake.identify")
    assert len(folder.joinpath("identity.safetensors").read_bytes()) < 1_000_000
    said = json.loads(folder.joinpath("identity.json").read_text(encoding="utf-8"))
    assert "BraTS" in said["data"]
    right, total = said["right_under_cross_validation"]
    assert total == 112
    assert right / total >= 0.98


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real cases")
def test_real_scans_of_the_test_persons_are_recognised_quickly() -> None:
    """The shipped weights never saw them. One case of each of two namings."""
    names = json.loads((REAL / "split.json").read_text(encoding="utf-8"))["test"][:2]
    for files in find_cases(REAL):
        if files.name not in names:
            continue
        case = load_case(files, want_reference=False)
        started = time.process_time()
        assert contradictions(case.images, case.grid, GLIOMA) == []
        assert time.process_time() - started < 3.0
        opinions = compared([features(image, case.grid) for image in case.images.values()])
        right = sum(opinion.modality == modality for modality, opinion in zip(case.images, opinions, strict=True))
        assert right >= 3


def test_what_import_judged_is_not_judged_again(case) -> None:
    wrong = {"t2w": case.images["t2f"], "t1c": case.images["t2f"]}
    assert contradictions(wrong, case.grid, GLIOMA, known=("t2w", "t1c")) == []
    assert contradictions(wrong, case.grid, GLIOMA, known=("t2w",)) == ["labelled T1ce, looks like FLAIR"]


def test_a_t1_beside_a_true_flair_is_not_taken_for_a_second_one() -> None:
    looks = Opinion("t2f", 0.99, {"t1n": 0.0, "t1c": 0.0, "t2w": 0.01, "t2f": 0.99, "other": 0.0}, "t2f")
    t1 = Opinion("t1c", 0.99, {"t1n": 0.01, "t1c": 0.99, "t2w": 0.0, "t2f": 0.0, "other": 0.0}, "t1")
    for name in ("t1n", "t1c", "t1"):
        assert settled([name, "t2f"], [looks, looks]) == [NOTHING_TO_SEE, looks]
    assert settled(["t1c", "t2f"], [looks, t1]) == [looks, t1]  # exchanged labels are still told
    assert settled(["t1c", "t2w"], [looks, looks]) == [looks, looks]
    assert settled(["t1c"], [looks]) == [looks]


def test_exchanged_labels_of_t1ce_and_flair_are_told(case) -> None:
    wrong = {"t1c": case.images["t2f"], "t2f": case.images["t1c"]}
    assert "labelled T1ce, looks like FLAIR" in contradictions(wrong, case.grid, GLIOMA)
