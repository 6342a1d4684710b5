"""VASARI's features of hand-made tumours: balls whose shares, foci and sides are known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from brains_made import Patient, moved
from lacunet.case import Grid
from lacunet.data.midplane import Plane
from lacunet.description.pose import Pose
from lacunet.description.shape import shape_of
from lacunet.description.vasari import CAVEAT, Feature, category, vasari_of
from lacunet.evaluation.metrics import region_masks
from lacunet.segmentation.page import CaseView, case_page
from lacunet.task import GLIOMA, METS, Task

SPACING = 2.0
SHAPE = (60, 44, 30)
AFFINE = np.diag([SPACING, SPACING, SPACING, 1.0])
AFFINE[:3, 3] = -(np.array(SHAPE) - 1) / 2 * SPACING
GRID = Grid(SHAPE, AFFINE)
"""The middle of the array lies at the origin."""
POSE = Pose(Plane(np.array([1.0, 0.0, 0.0]), 0.0), None)

CORE, OEDEMA, ENHANCING = 1, 2, 3
Ball = tuple[int, tuple[float, float, float], float]
"""Label, centre and radius, mm."""
ALONE: Sequence[Ball] = [(OEDEMA, (25, 0, 0), 20), (ENHANCING, (25, 0, 0), 12), (CORE, (25, 0, 0), 8)]
"""One tumour on the right."""
NUMBERS = ["F1", "F2", "F5", "F6+F7", "F9", "F14", "F22", "F23", "F24", "F29", "F30"]


def drawn(balls: Sequence[Ball]) -> np.ndarray:
    """Labels; a later ball covers an earlier one."""
    places = GRID.places(np.indices(SHAPE).reshape(3, -1))
    labels = np.zeros(SHAPE, np.uint8)
    for label, centre, radius in balls:
        labels[(((places - np.array(centre)[:, None]) ** 2).sum(axis=0) <= radius**2).reshape(SHAPE)] = label
    return labels


def features(
    labels: np.ndarray, pose: Pose | None = POSE, subset: Sequence[str] | None = None, grid: Grid = GRID
) -> dict[str, Feature]:
    masks = region_masks(labels, GLIOMA)
    shapes = {region: shape_of(mask, pose, grid) for region, mask in masks.items()}
    evidence = GLIOMA.evidence(subset) if subset else {}
    return {one.number: one for one in vasari_of(masks, shapes, pose, grid, GLIOMA, evidence)}


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "none"),
        (0.0001, "up to 5 %"),
        (0.05, "up to 5 %"),
        (0.06, "6 to 33 %"),
        (0.334, "6 to 33 %"),
        (0.34, "34 to 67 %"),
        (0.67, "34 to 67 %"),
        (0.68, "68 to 95 %"),
        (0.95, "68 to 95 %"),
        (0.96, "more than 95 %"),
        (1.0, "more than 95 %"),
    ],
)
def test_a_share_has_vasari_s_category(share, words):
    assert category(share) == words


def test_each_feature_of_one_tumour_on_the_right():
    labels = drawn(ALONE)
    found = features(labels)
    assert list(found) == NUMBERS
    whole = np.count_nonzero(labels)
    for number, label, words in (
        ("F5", ENHANCING, "6 to 33 %"),
        ("F6+F7", CORE, "6 to 33 %"),
        ("F14", OEDEMA, "68 to 95 %"),
    ):
        assert found[number].amount == pytest.approx(np.count_nonzero(labels == label) / whole, abs=6e-4)
        assert (found[number].value, found[number].unit) == (words, "share")
    assert sum(found[number].amount for number in ("F5", "F6+F7", "F14")) == pytest.approx(1, abs=2e-3)
    assert (found["F2"].value, found["F2"].amount) == ("right", pytest.approx(25, abs=1))
    assert [found[number].value for number in ("F9", "F22", "F23", "F24")] == ["focal", "no", "no", "no"]
    assert found["F29"].amount == pytest.approx(40, abs=2.5)
    assert found["F30"].amount == pytest.approx(40, abs=2.5)
    assert found["F29"].value == f"{found['F29'].amount / 10:.1f} cm"


@pytest.mark.parametrize(
    ("more", "multifocal", "satellites"),
    [
        ([], ("focal", 0), ("no", 0)),
        ([(ENHANCING, (-35, 0, 0), 8)], ("multifocal", 1), ("no", 0)),
        ([(OEDEMA, (-35, 0, 0), 12), (CORE, (-35, 0, 0), 8)], ("multifocal", 1), ("no", 0)),
        ([(OEDEMA, (-35, 0, 0), 12)], ("focal", 0), ("no", 0)),  # no core in it
        ([(ENHANCING, (-35, 0, 0), 2)], ("focal", 0), ("no", 0)),  # a speck
        ([(ENHANCING, (25, 17, 0), 4)], ("focal", 0), ("yes", 1)),
        ([(ENHANCING, (25, 13, 0), 4)], ("focal", 0), ("no", 0)),  # touches the largest
        ([(ENHANCING, (25, 17, 0), 4), (CORE, (25, -17, 0), 4)], ("focal", 0), ("yes", 2)),
        ([(ENHANCING, (25, 17, 0), 4), (ENHANCING, (-35, 0, 0), 8)], ("multifocal", 1), ("yes", 1)),
    ],
)
def test_foci_elsewhere_are_multifocal_and_foci_beside_the_largest_are_satellites(more, multifocal, satellites):
    found = features(drawn([*ALONE, *more]))
    assert (found["F9"].value, found["F9"].amount) == multifocal
    assert (found["F24"].value, found["F24"].amount) == satellites


def test_the_largest_focus_decides_which_piece_is_the_tumour():
    edge, core = (OEDEMA, (-30, 0, 0), 24), (ENHANCING, (-30, 0, 0), 5)
    found = features(drawn([edge, core, (ENHANCING, (-30, 16, 0), 5), *ALONE[1:]]))
    assert (found["F9"].amount, found["F24"].amount) == (2, 0)  # the larger oedema is not what counts


@pytest.mark.parametrize(
    ("balls", "side", "other", "enhancing"),
    [
        ([(OEDEMA, (0, 0, 0), 20), (ENHANCING, (0, 0, 0), 12), (CORE, (0, 0, 0), 8)], "centre", "yes", "yes"),
        ([(OEDEMA, (9, 0, 0), 20), (ENHANCING, (9, 0, 0), 14), (CORE, (9, 0, 0), 8)], "right", "no", "yes"),
        ([(OEDEMA, (-9, 0, 0), 20), (CORE, (-9, 0, 0), 14), (ENHANCING, (-9, 0, 0), 8)], "left", "yes", "no"),
        ([(OEDEMA, (6, 0, 0), 20), (ENHANCING, (13, 0, 0), 12)], "right", None, "no"),  # oedema alone crosses
        ([(OEDEMA, (0, 0, 0), 20), (CORE, (-6, 0, 0), 5)], "left", "no", None),
        ([*ALONE, (ENHANCING, (-35, 0, 0), 8)], "right", "no", "no"),  # a piece on each side
        ([(OEDEMA, (-4, 0, 0), 20)], "centre", None, None),
        ([(OEDEMA, (-6, 0, 0), 20)], "left", None, None),
    ],
)
def test_the_side_of_the_centre_and_what_crosses_the_midline(balls, side, other, enhancing):
    found = features(drawn(balls))
    assert (found["F2"].value, found["F22"].value, found["F23"].value) == (side, other, enhancing)
    assert all(found[number].note == "there is none" for number in ("F22", "F23") if found[number].value is None)


def test_a_tenth_of_a_millilitre_on_the_other_side_is_not_much():
    labels = drawn([(OEDEMA, (12, 0, 0), 24), (ENHANCING, (12, 0, 0), 10)])
    labels[30, 22, 8:21] = ENHANCING  # from the ball to the midline
    assert features(labels)["F23"].amount == 0
    for voxels, value in ((12, "no"), (13, "yes")):  # of 0.008 ml
        labels[29, 22, 8 : 8 + voxels] = ENHANCING
        assert features(labels)["F23"].value == value


@pytest.mark.parametrize(
    ("amount", "unit", "words"),
    [
        (0.414, "share", "41.4 %"),
        (46.3, "mm", "46 mm"),
        (0.14, "ml", "0.1 ml"),
        (1, "foci", "1 more"),
        (0, "foci", "0 more"),
        (None, None, ""),
    ],
)
def test_an_amount_in_words(amount, unit, words):
    assert Feature(number="F0", name="", value="", amount=amount, unit=unit).amount_words == words


def test_the_midline_is_the_pose_s():
    pose = Pose(Plane(np.array([0.0, 1.0, 0.0]), 8.0), None)
    found = features(drawn(ALONE), pose)
    assert (found["F2"].value, found["F2"].amount, found["F23"].value) == ("left", pytest.approx(8, abs=1), "yes")


@pytest.mark.parametrize(
    ("pose", "subset", "unsaid"),
    [
        (
            POSE,
            ("t1n", "t2f"),
            {"F1": "fit", "F5": "inferred", "F6+F7": "inferred", "F22": "inferred", "F23": "inferred"},
        ),
        (POSE, ("t1c", "t2f"), {"F1": "the brain does not fit the average one"}),
        (None, ("t1c",), dict.fromkeys(("F1", "F2", "F22", "F23"), "nobody knows how the brain lies")),
    ],
)
def test_what_cannot_be_said_is_none_with_the_reason(pose, subset, unsaid):
    found = features(drawn(ALONE), pose, subset)
    assert {number for number, one in found.items() if one.value is None} == set(unsaid)
    for number, why in unsaid.items():
        assert why in found[number].note
        assert (found[number].amount, found[number].unit) == (None, None)
    notes = [found[number].note for number in ("F9", "F14", "F24")]
    assert all(("the core is partly inferred" in note) == ("t1c" not in subset) for note in notes)


def test_without_a_core_the_whole_tumour_has_the_centre():
    found = features(drawn([(OEDEMA, (25, 0, 0), 20), (CORE, (10, 0, 0), 2)]))
    assert found["F2"].amount == pytest.approx(25, abs=1)
    assert found["F2"].note == "of the whole tumour: there is no core of 0.1 ml"
    assert (found["F9"].value, found["F24"].value) == (None, None)
    assert found["F5"].value == "none"


def test_a_speck_has_no_size():
    labels = np.zeros(SHAPE, np.uint8)
    labels[40, 20, 10] = ENHANCING
    found = features(labels)
    assert (found["F29"].value, found["F30"].value, found["F9"].value) == (None, None, None)
    assert found["F5"].value == "more than 95 %"


@pytest.mark.parametrize(
    ("task", "balls"),
    [
        (GLIOMA, []),
        (METS, ALONE),
        (replace(GLIOMA, regions={"wt": (1, 2, 3), "tc": (1, 3)}), ALONE),
        (replace(GLIOMA, regions={"wt": (1, 2, 3), "tc": (1,), "et": (3,)}), ALONE),
    ],
)
def test_an_empty_mask_and_other_regions_have_no_features(task: Task, balls):
    masks = region_masks(drawn(balls), task)
    shapes = {region: shape_of(mask, POSE, GRID) for region, mask in masks.items()}
    assert vasari_of(masks, shapes, POSE, GRID, task, {}) == ()


def test_the_location_is_the_core_s_lobe_or_its_two_lobes():
    patient = Patient(moved((0, 0, 0), (1, 1, 1), (0, 0, 0)))
    frontal, parietal = patient.ball((30, 40, 25)), patient.ball((40, -50, 45))
    for core, words in ((frontal, "frontal"), (parietal, "parietal"), (frontal | parietal, "frontal, parietal")):
        labels = np.where(patient.ball((55, -40, 0), 12), OEDEMA, 0).astype(np.uint8)
        labels[core] = ENHANCING
        found = features(labels, patient.pose, grid=patient.grid)
        assert set(found["F1"].value.split(", ")) == set(words.split(", "))
    oedema = features(np.where(frontal, OEDEMA, 0).astype(np.uint8), patient.pose, grid=patient.grid)
    assert (oedema["F1"].value, oedema["F1"].note) == ("frontal", "of the whole tumour: there is no core of 0.1 ml")


def test_the_page_has_them_folded():
    labels = drawn(ALONE)
    masks = region_masks(labels, GLIOMA)
    shapes = {region: shape_of(mask, POSE, GRID) for region, mask in masks.items()}
    view = CaseView(
        name="p01",
        task=GLIOMA,
        images={"t1c": np.where(labels >= 0, 50.0, 0).astype(np.float32)},
        grid=GRID,
        prediction=labels,
        subset=("t1c",),
        volumes=dict.fromkeys(GLIOMA.regions, 1.0),
        shapes=shapes,
        vasari=vasari_of(masks, shapes, POSE, GRID, GLIOMA, {}),
    )
    page = case_page(view)
    folded = page[page.index("<details>") : page.index("</details>")]
    assert "11 features of VASARI" in folded
    assert "Not stated: the brain does not fit the average one" in folded
    assert "<td>6 to 33 %</td>" in folded
    assert CAVEAT[1:] in folded
    assert "VASARI" not in case_page(replace(view, vasari=()))
