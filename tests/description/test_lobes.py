"""Lobes and poses: balls at known places of the average brain, in brains that lie and measure otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from brains_made import RADIUS, SPACING, Patient, moved
from lacunet.case import Grid
from lacunet.description.lobes import LOBES, TITLES, Lobe, lobes_of
from lacunet.description.pose import Pose, pose_of
from lacunet.description.shape import shape_of

PLACES: Mapping[Lobe, list[tuple[float, float, float]]] = {
    "frontal": [(30, 40, 25), (45, 20, 15), (25, -5, 55), (8, 50, -10)],
    "temporal": [(52, -15, -20), (55, -40, 0), (30, 5, -35), (25, -18, -18)],
    "parietal": [(40, -50, 45), (25, -65, 50), (9, -60, 40), (52, -32, 38)],
    "occipital": [(12, -88, 5), (33, -85, 0), (14, -78, -2)],
    "insula": [(38, 3, 1)],
    "deep": [(10, -18, 8), (25, 4, 2), (13, 13, 9)],
    "cerebellum": [(25, -60, -30), (40, -65, -37), (16, -52, -42)],
    "brainstem": [(0, -27, -30)],
}
"""Millimetres of the ICBM 152 average brain, on the right: middles of gyri and nuclei, from common knowledge."""
ON_BOTH_SIDES = [(lobe, (side * x, y, z)) for lobe, places in PLACES.items() for x, y, z in places for side in (1, -1)]


BRAINS = {
    "average": moved((0, 0, 0), (1, 1, 1), (0, 0, 0)),
    "small, nodding and elsewhere": moved((10, -4, 6), (0.93, 0.9, 0.95), (60, -110, 70)),
    "large and turned": moved((-6, 5, -8), (1.07, 1.04, 1.1), (-15, 20, 5)),
}


@pytest.fixture(scope="module", params=BRAINS.values(), ids=BRAINS)
def patient(request: Any) -> Patient:
    return Patient(request.param)


@pytest.fixture(scope="module")
def average() -> Patient:
    return Patient(BRAINS["average"])


def test_a_ball_lies_in_the_lobe_of_its_middle(patient):
    for lobe, centre in ON_BOTH_SIDES:
        place = shape_of(patient.ball(centre), patient.pose, patient.grid).place
        assert sum(place.lobes.values()) == pytest.approx(1)
        assert next(iter(place.lobes)) == lobe, (centre, place.lobes)
        assert place.lobes[lobe] > (0.55 if lobe in ("insula", "brainstem") else 0.75), (centre, place.lobes)
        if abs(centre[0]) > RADIUS + SPACING:
            width = np.linalg.norm(patient.motion[:3, 0])
            assert place.side == ("right" if centre[0] > 0 else "left"), centre
            assert place.midline_mm == pytest.approx(width * (abs(centre[0]) - RADIUS), abs=SPACING + 1), centre


def test_a_brain_is_laid_on_the_average_one_to_a_few_millimetres(patient):
    corners = np.array([(x, y, z) for x in (-50, 50) for y in (-80, 50) for z in (-35, 60)], float).T
    there = patient.motion[:3, :3] @ corners + patient.motion[:3, 3:]
    away = np.linalg.norm(patient.pose.laid.moved(there) - corners, axis=0)
    assert away.max() < 3.5
    assert patient.pose.laid.dice > 0.96


def test_the_pose_before_a_motion_says_the_same_of_the_same_tissue(patient):
    motion = np.linalg.inv(moved((15, -20, 30), (1, 1, 1), (30, -10, 7)))
    earlier = Grid(patient.grid.shape, np.linalg.inv(motion) @ patient.grid.affine)
    ball = patient.ball((30, 40, 25))
    now, before = shape_of(ball, patient.pose, patient.grid), shape_of(ball, patient.pose.before(motion), earlier)
    assert before.place.midline_mm == pytest.approx(now.place.midline_mm)
    assert before.place.lobes == pytest.approx(now.place.lobes)
    assert before.centre != pytest.approx(now.centre)


def test_a_mask_in_two_lobes_has_a_share_in_each_the_larger_first(average):
    both = average.ball((30, 40, 25)) | average.ball((40, -50, 45)) | average.ball((25, 45, 12))
    lobes = shape_of(both, average.pose, average.grid).place.lobes
    assert list(lobes) == ["frontal", "parietal"]
    assert lobes["frontal"] == pytest.approx(0.64, abs=0.06)


@pytest.mark.parametrize("tissue", ["a cube", "a slab", "half a brain", "a few voxels", "a rod"])
def test_what_is_no_whole_brain_has_no_lobes(average, tissue):
    mask = np.zeros(average.grid.shape, bool)
    match tissue:
        case "a cube":
            mask[10:60, 10:60, 10:60] = True
        case "a slab":
            mask = average.brain.copy()
            mask[:, :, :40] = mask[:, :, 48:] = False
        case "half a brain":
            mask = average.brain.copy()
            mask[:37] = False
        case "a few voxels":
            mask[30:33, 30:33, 30:33] = True
        case "a rod":
            mask[30:33, 5:70, 30:33] = True
    pose = pose_of(mask, average.grid)
    assert isinstance(pose, Pose)
    assert pose.laid is None


def test_beyond_the_brain_the_map_says_that_it_does_not_know():
    inside, outside = np.array([[30.0, 40.0, 25.0]]).T, np.array([[400.0, 0, 0], [-70.0, -100.0, 80.0]]).T
    assert lobes_of(inside) == {"frontal": 1.0}
    assert lobes_of(outside) == {"outside": 1.0}
    assert lobes_of(np.concatenate([inside, outside], axis=1)) == pytest.approx({"outside": 2 / 3, "frontal": 1 / 3})


def test_every_part_has_a_name_and_the_map_is_nearly_symmetric():
    assert set(TITLES) == set(LOBES)
    at = np.stack(np.meshgrid(*(np.arange(-60, 61, 10.0),) * 3, indexing="ij")).reshape(3, -1)
    mirrored = at * np.array([[-1.0], [1.0], [1.0]])
    same = [lobes_of(at[:, [k]]) == lobes_of(mirrored[:, [k]]) for k in range(at.shape[1])]
    assert np.mean(same) > 0.93


def test_a_pose_without_a_map_keeps_its_side(average):
    place = shape_of(average.ball((30, 40, 25)), replace(average.pose, laid=None), average.grid).place
    assert (place.side, place.lobes) == ("right", None)
