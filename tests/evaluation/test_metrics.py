"""Dice, HD95, volumes, policies, AURC: by hand, against brute force, against MONAI."""

import json
import warnings
from itertools import product
from math import isnan

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from lacunet.errors import UsageError
from lacunet.evaluation.metrics import (
    BRATS,
    aurc,
    dice,
    get_policy,
    hd95,
    policy_names,
    region_masks,
    score,
    score_regions,
    volume_ml,
)
from lacunet.evaluation.surfaces import between_surfaces, distance_quantile, surface, surface_distances
from lacunet.task import GLIOMA
from small import SHARED

ISOTROPIC = (1.0, 1.0, 1.0)


def mask_of(*voxels, shape=(6, 7, 8)):
    mask = np.zeros(shape, dtype=bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


def blob(seed, shape=(24, 20, 16), threshold=0.0):
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return noise > threshold * noise.std()


def brute_surface(mask):
    """Every voxel looked at on its own: is one of its six neighbours outside the mask or the array?"""
    steps = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    edge = np.zeros_like(mask)
    for voxel in map(tuple, np.argwhere(mask)):
        for step in steps:
            there = tuple(np.add(voxel, step))
            outside = any(not 0 <= index < size for index, size in zip(there, mask.shape, strict=True))
            edge[voxel] |= outside or not mask[there]
    return edge


def brute_distances(first, second, spacing):
    table = cdist(np.argwhere(brute_surface(first)) * spacing, np.argwhere(brute_surface(second)) * spacing)
    return table.min(axis=1), table.min(axis=0)


def monai_scores(prediction, reference, spacing):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from monai.metrics import compute_dice, compute_hausdorff_distance

        pair = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
        distance = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=list(spacing))
        return compute_dice(*pair, include_background=True).item(), distance.item()


def test_dice_counts_common_voxels_twice():
    prediction = mask_of((1, 1, 1), (1, 1, 2), (1, 1, 3))
    reference = mask_of((1, 1, 3), (1, 1, 4))
    assert dice(prediction, reference) == pytest.approx(2 * 1 / (3 + 2))
    assert dice(prediction, prediction) == 1.0


def test_distance_of_two_voxels_is_in_millimetres():
    assert hd95(mask_of((1, 1, 1)), mask_of((1, 1, 4)), (1.0, 1.0, 2.5)) == pytest.approx(7.5)
    assert hd95(mask_of((0, 0, 0)), mask_of((3, 4, 0)), (2.0, 2.0, 9.0)) == pytest.approx(10.0)


def test_hd95_is_the_larger_direction_and_the_pooled_variant_takes_the_percentile_of_both():
    prediction = mask_of((0, 0, 0))
    reference = mask_of((0, 0, 0), (0, 0, 4))
    # From the prediction: {0}. From the reference: {0, 4}, whose 95th percentile is 3.8. Pooled {0, 0, 4}: 3.6.
    assert hd95(prediction, reference, ISOTROPIC) == pytest.approx(3.8)
    assert hd95(reference, prediction, ISOTROPIC) == pytest.approx(3.8)
    assert hd95(prediction, reference, ISOTROPIC, get_policy("brats-pooled")) == pytest.approx(3.6)


def test_a_far_island_below_five_per_cent_of_the_surface_does_not_count():
    reference = mask_of(*((0, y, z) for y in range(5) for z in range(5)), shape=(30, 5, 5))
    prediction = reference.copy()
    prediction[29, 0, 0] = True
    assert hd95(prediction, reference, ISOTROPIC) == 0.0
    assert max(surface_distances(prediction, reference, ISOTROPIC)[0]) == 29.0


def test_the_surface_of_a_cube_is_all_but_its_core():
    cube = mask_of(*product(range(1, 4), repeat=3), shape=(5, 5, 5))
    assert surface(cube).sum() == 26
    assert not surface(cube)[2, 2, 2]


def test_the_border_of_the_array_is_surface():
    full = np.ones((3, 3, 3), dtype=bool)
    assert surface(full).sum() == 26


def test_coinciding_surfaces_have_distance_zero_in_both_directions():
    mask = blob(3)
    towards, back = surface_distances(mask, mask, ISOTROPIC)
    assert len(towards) == len(back) == brute_surface(mask).sum()
    assert not towards.any()
    assert not back.any()


@pytest.mark.parametrize("spacing", [ISOTROPIC, (0.7, 1.3, 4.0)])
@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_brute_force(seed, spacing):
    prediction, reference = blob(seed, (12, 11, 10), 0.3), blob(seed + 100, (12, 11, 10), 0.5)
    towards, back = brute_distances(prediction, reference, spacing)
    ours = surface_distances(prediction, reference, spacing)
    np.testing.assert_allclose(np.sort(ours[0]), np.sort(towards), atol=1e-12)
    np.testing.assert_allclose(np.sort(ours[1]), np.sort(back), atol=1e-12)
    larger = max(np.percentile(towards, 95), np.percentile(back, 95))
    pooled = np.percentile(np.hstack([towards, back]), 95)
    assert hd95(prediction, reference, spacing) == pytest.approx(larger, abs=1e-12)
    assert hd95(prediction, reference, spacing, get_policy("brats-pooled")) == pytest.approx(pooled, abs=1e-12)


@pytest.mark.parametrize("spacing", [ISOTROPIC, (0.9, 1.1, 5.5), (6.0, 0.5, 1.0)])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 0.999, 1.0])
@pytest.mark.parametrize(("found", "expected"), [(-1.0, 1.5), (1.0, 2.0), (1.5, -1.0)])
def test_the_quantile_of_bounded_distances_is_that_of_all_of_them(found, expected, share, spacing):
    prediction, reference = blob(5, (60, 40, 30), found), blob(6, (60, 40, 30), expected)
    prediction[:20] = False
    towards, back = between_surfaces(prediction, reference, spacing)
    whole = [one.distances() for one in (towards, back)]
    assert [distance_quantile([one], share) for one in (towards, back)] == [np.quantile(one, share) for one in whole]
    assert distance_quantile([towards, back], share) == np.quantile(np.concatenate(whole), share)


def test_bounds_hold_every_distance():
    towards, _ = between_surfaces(blob(7, (40, 30, 20), 0.5), blob(8, (40, 30, 20), 1.5), (1.0, 1.5, 3.0))
    lower, upper = towards.bounds()
    assert (lower <= towards.distances()).all()
    assert (towards.distances() <= upper).all()
    assert (upper - lower).max() < 8


@pytest.mark.parametrize("spacing", [ISOTROPIC, (0.9, 1.1, 5.5)])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1.0, 2.5])
def test_dice_and_hd95_equal_those_of_monai(threshold, spacing):
    prediction, reference = blob(1, threshold=threshold), blob(2, threshold=threshold)
    expected_dice, expected_distance = monai_scores(prediction, reference, spacing)
    ours = score(prediction, reference, spacing)
    assert ours.dice == pytest.approx(expected_dice, abs=1e-6)
    assert ours.hd95 == pytest.approx(expected_distance, abs=1e-6, rel=1e-6)


def test_masks_at_opposite_corners_equal_monai():
    prediction, reference = mask_of((0, 0, 0), (0, 0, 1)), mask_of((5, 6, 7))
    _, expected = monai_scores(prediction, reference, (1.0, 2.0, 3.0))
    assert hd95(prediction, reference, (1.0, 2.0, 3.0)) == pytest.approx(expected, rel=1e-6)


def test_a_real_mask_scores_as_with_monai():
    nibabel = pytest.importorskip("nibabel")
    files = sorted((SHARED / "data" / "glioma").glob("*/*seg.nii.gz"))
    if not files:
        pytest.skip("no real cases here")
    image = nibabel.load(files[0])
    reference = np.asarray(image.dataobj) > 0
    prediction = np.roll(reference, (2, -1), (0, 1)) | mask_of((3, 3, 3), shape=reference.shape)
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    expected_dice, expected_distance = monai_scores(prediction, reference, spacing)
    ours = score(prediction, reference, spacing)
    assert ours.dice == pytest.approx(expected_dice, abs=1e-6)
    assert ours.hd95 == pytest.approx(expected_distance, abs=1e-6, rel=1e-6)


def test_volume_is_in_millilitres():
    assert volume_ml(mask_of((0, 0, 0), (1, 1, 1)), (1.0, 2.0, 5.0)) == pytest.approx(0.02)
    assert volume_ml(mask_of(), ISOTROPIC) == 0.0


@pytest.mark.parametrize(
    ("name", "both_hd95", "one_hd95"),
    [
        ("brats", 0.0, 373.13),
        ("brats-pooled", 0.0, 373.13),
        ("rfnet", None, None),
        ("m3ae", 0.0, 0.0),
        ("m2ftrans", 0.0, 1.0),
        ("demoseg", None, None),
    ],
)
def test_a_policy_says_what_empty_masks_score(name, both_hd95, one_hd95):
    policy, nothing, something = get_policy(name), mask_of(), mask_of((2, 2, 2))
    same = score(nothing, nothing, ISOTROPIC, policy)
    missed = score(nothing, something, ISOTROPIC, policy)
    invented = score(something, nothing, ISOTROPIC, policy)
    assert (same.dice, missed.dice, invented.dice) == (1.0, 0.0, 0.0)
    for found, expected in [(same, both_hd95), (missed, one_hd95), (invented, one_hd95)]:
        assert isnan(found.hd95) if expected is None else found.hd95 == expected
    assert (same.reference_empty, same.prediction_empty) == (True, True)
    assert (missed.reference_empty, missed.prediction_empty) == (False, True)
    assert (invented.reference_empty, invented.prediction_empty) == (True, False)


def test_dice_of_empty_masks_follows_the_policy_too():
    assert dice(mask_of(), mask_of()) == 1.0
    assert dice(mask_of((0, 0, 0)), mask_of()) == 0.0


def test_the_worst_distance_is_the_diagonal_of_the_brats_grid():
    assert pytest.approx(np.linalg.norm([240, 240, 155]), abs=0.005) == BRATS.hd95_one_empty


def test_every_policy_has_its_own_name_a_sentence_and_a_source():
    policies = [get_policy(name) for name in policy_names()]
    assert policy_names()[0] == "brats"
    assert len(set(policy_names())) == len(policies)
    assert all(policy.summary.endswith(".") and policy.source for policy in policies)


def test_an_unknown_policy_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown metric policy 'rfnett'; did you mean 'rfnet'\?; known: brats, "):
        get_policy("rfnett")


def test_regions_are_scored_by_name_in_the_order_of_the_reference():
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    labels[0, 0] = [2, 2, 1, 3]
    reference = region_masks(labels, GLIOMA)
    labels[0, 0, 3] = 1
    scores = score_regions(region_masks(labels, GLIOMA), reference, (1.0, 1.0, 2.0))
    assert list(scores) == ["wt", "tc", "et"]
    assert [reference[region].sum() for region in scores] == [4, 2, 1]
    assert (scores["wt"].dice, scores["tc"].dice, scores["et"].dice) == (1.0, 1.0, 0.0)
    assert scores["et"].hd95 == 373.13
    assert scores["tc"].reference_ml == pytest.approx(0.004)
    assert scores["et"].prediction_ml == 0.0


def test_a_score_does_not_depend_on_what_lies_around_the_masks():
    prediction, reference = blob(5), blob(6)
    padded = [np.pad(mask, ((3, 9), (0, 4), (7, 1))) for mask in (prediction, reference)]
    assert score(*padded, (1.0, 2.0, 3.0)) == score(prediction, reference, (1.0, 2.0, 3.0))


def test_masks_that_do_not_match_are_refused():
    cube = mask_of((0, 0, 0))
    with pytest.raises(ValueError, match=r"shapes differ: prediction \(6, 7, 8\), reference \(6, 7, 1\)"):
        score(cube, cube[:, :, :1], ISOTROPIC)
    with pytest.raises(ValueError, match="masks are boolean, not uint8 and bool"):
        score(cube.astype(np.uint8), cube, ISOTROPIC)
    with pytest.raises(ValueError, match=r"regions differ: \['wt'\] predicted, \['et', 'wt'\] in the reference"):
        score_regions({"wt": cube}, {"wt": cube, "et": cube}, ISOTROPIC)


def test_aurc_is_a_trapezoid_over_the_size_of_subsets():
    assert aurc([0.2, 0.4, 0.8, 1.0]) == pytest.approx(0.3 + 0.6 + 0.9)
    assert aurc([0.2, 0.4, 0.8, 1.0], normalise=True) == pytest.approx(0.6)
    assert aurc([0.7] * 4, normalise=True) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="two sizes of subset or more, not 1"):
        aurc([0.5])


def test_aurc_of_the_published_tables():
    file = SHARED / "published.json"
    if not file.exists():
        pytest.skip("no published numbers here")
    methods = json.loads(file.read_text())["tables_15"]["brats2018_ccsd_table1"]["methods"]
    for region, expected in {"WT": 262.998, "TC": 240.020, "ET": 197.920}.items():
        table = methods["CCSD"][region]["values"]
        sizes = [[value for name, value in table.items() if name.count("+") == size] for size in range(4)]
        assert [len(values) for values in sizes] == [4, 6, 4, 1]
        assert aurc([float(np.mean(values)) for values in sizes]) == pytest.approx(expected, abs=6e-4)
