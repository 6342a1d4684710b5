"""The plane between the halves of a brain, and brains without a tumour made of a healthy half."""

from dataclasses import replace

import numpy as np
import pytest

from lacunet.case import Case, Grid
from lacunet.data.midplane import Plane, midplane
from lacunet.data.mirrored import BLEND, mirrored_case
from lacunet.data.phantom.anatomy import _from_patient_to_atlas
from lacunet.data.phantom.phantom import draw_patient
from lacunet.task import GLIOMA
from phantoms_made import make_phantom


def true_plane(seed: int) -> Plane:
    """The average brain's plane x = 0, where the patient's shape moves it; bends apart."""
    back = _from_patient_to_atlas(draw_patient(seed).shape)
    return Plane(back[0] / np.linalg.norm(back[0]), 0.0)


def places(case: Case) -> np.ndarray:
    voxels = np.indices(case.grid.shape).reshape(3, -1)
    return case.grid.affine[:3, :3] @ voxels + case.grid.affine[:3, 3:]


def with_ball(case: Case, centre: tuple[float, float, float], radius: float = 14.0) -> Case:
    """The same brain with a ball, three times as bright, that is called tumour."""
    inside = (((places(case).T - centre) ** 2).sum(axis=1) < radius**2).reshape(case.grid.shape)
    inside &= case.images["t1n"] != 0
    reference = np.zeros(case.grid.shape, np.uint8) if case.reference is None else case.reference.copy()
    reference[inside] = 2
    images = {name: np.where(inside, image * 3, image) for name, image in case.images.items()}
    return replace(case, images=images, reference=reference)


@pytest.fixture(scope="module")
def healthy() -> Case:
    """Two sequences: to look for a plane takes as long as there are sequences."""
    case = make_phantom(3, spacing=4.0, tumour=False)
    return replace(case, images={name: case.images[name] for name in ("t1n", "t2f")})


@pytest.mark.parametrize("seed", [3, 11])
def test_finds_the_plane_of_a_brain_with_and_without_a_tumour(seed: int) -> None:
    case = make_phantom(seed, spacing=4.0, tumour=False)
    for one in (case, with_ball(case, (-35, -10, 10))):
        plane, difference = midplane(one, GLIOMA)
        true = true_plane(seed)
        middle = places(one)[:, (one.images["t1n"] != 0).ravel()].mean(axis=1)[:, None]
        assert np.degrees(np.arccos(plane.normal @ true.normal)) < 2.5
        assert abs(plane.distance(middle) - true.distance(middle)) < 2.5
        assert 0 < difference < 0.7


def test_a_plane_mirrors_points_and_back() -> None:
    plane = Plane(np.array([0.8, 0.6, 0.0]), 5.0)
    points = np.random.default_rng(0).normal(size=(3, 10)) * 50
    assert np.allclose(plane.distance(plane.mirrored(points)), -plane.distance(points))
    assert np.allclose(plane.mirrored(plane.mirrored(points)), points)


@pytest.mark.parametrize(("x", "half"), [(-35.0, "right"), (35.0, "left")])
def test_the_healthy_half_stays_and_the_other_is_its_image(healthy: Case, x: float, half: str) -> None:
    case = healthy
    ill = with_ball(case, (x, -10, 10))
    made = mirrored_case(ill, GLIOMA)
    assert made is not None
    assert made.name == f"{case.name} ({half} half mirrored)"
    assert (made.person, made.grid) == (case.person, case.grid)
    assert made.reference is not None
    assert not made.reference.any()
    assert made.notes == (f"without a tumour: the {half} half of {case.name} and its mirror image",)
    plane, _ = midplane(ill, GLIOMA)
    side = 1.0 if half == "right" else -1.0
    depth = (side * plane.distance(places(case))).reshape(case.grid.shape)
    kept, new = depth > BLEND, depth < -BLEND
    assert ill.reference is not None
    for name, image in made.images.items():
        assert np.array_equal(image[kept], case.images[name][kept])
        inside = new & (image != 0)
        brightest = np.quantile(case.images[name][kept & (image != 0)], 0.999)
        assert image[ill.reference > 0].max() < 1.3 * brightest
        assert inside.sum() == pytest.approx((kept & (image != 0)).sum(), rel=0.05)
        assert image[inside].mean() == pytest.approx(image[kept & (image != 0)].mean(), rel=0.05)


def test_the_new_half_is_bent_and_the_same_each_time(healthy: Case) -> None:
    ill = with_ball(healthy, (-35, -10, 10))
    made, again = mirrored_case(ill, GLIOMA), mirrored_case(ill, GLIOMA)
    renamed = mirrored_case(replace(ill, name="another"), GLIOMA)
    assert made is not None
    assert again is not None
    assert renamed is not None
    assert np.array_equal(made.images["t1n"], again.images["t1n"])
    assert not np.array_equal(made.images["t1n"], renamed.images["t1n"])


def test_there_is_no_step_at_the_seam(healthy: Case) -> None:
    """Neighbours along x differ no more across the plane than they do in the healthy brain there."""
    case = healthy
    ill = with_ball(case, (-35, -10, 10))
    made, (plane, _) = mirrored_case(ill, GLIOMA), midplane(ill, GLIOMA)
    assert made is not None
    depth = plane.distance(places(case)).reshape(case.grid.shape)
    seam = (np.abs(depth) < BLEND)[1:]

    def steps(image: np.ndarray) -> float:
        both = seam & (image[1:] != 0) & (image[:-1] != 0)
        return float(np.abs(np.diff(image, axis=0))[both].mean())

    for name in case.images:
        assert steps(made.images[name]) < 1.1 * steps(case.images[name])


def test_an_oblique_grid_gives_the_same_brain(healthy: Case) -> None:
    """The grid is turned about z; the plane is found in mm all the same."""
    case = with_ball(healthy, (-35, -10, 10))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    grid = Grid(case.grid.shape, turn @ case.grid.affine)
    straight, oblique = mirrored_case(case, GLIOMA), mirrored_case(replace(case, grid=grid), GLIOMA)
    assert straight is not None
    assert oblique is not None
    assert oblique.name == straight.name
    one, other = straight.images["t2f"], oblique.images["t2f"]
    both = (one != 0) & (other != 0)
    assert both.sum() > 0.97 * (one != 0).sum()
    assert np.corrcoef(one[both], other[both])[0, 1] > 0.9  # each is bent in its own way


def test_gives_nothing_where_there_is_no_healthy_half_or_no_tumour(healthy: Case) -> None:
    case = healthy
    both = with_ball(with_ball(case, (-35, -10, 10)), (35, -10, 10))
    across = with_ball(case, (-6, -10, 10))
    noise = np.random.default_rng(0).uniform(50, 150, case.grid.shape).astype(np.float32)
    alike = with_ball(replace(case, images={"t1n": np.where(places(case)[0].reshape(noise.shape) > 0, noise, 0)}),
                      (35, -10, 10))  # fmt: skip
    for one in (both, across, alike, case, replace(case, reference=None)):
        assert mirrored_case(one, GLIOMA) is None


def test_a_speck_in_the_healthy_half_does_not_matter(healthy: Case) -> None:
    case = with_ball(healthy, (-35, -10, 10))
    x, y, z = np.argwhere((case.images["t1n"] != 0) & (places(case)[0].reshape(case.grid.shape) > 30))[0]
    assert case.reference is not None
    case.reference[x, y, z] = 3
    assert (mirrored_case(case, GLIOMA) is None) == (case.grid.voxel_ml > 0.05)
