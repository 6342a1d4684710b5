"""Rules that change a mask: each by hand, on isotropic and thick voxels."""

from dataclasses import replace

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.errors import UsageError
from lacunet.evaluation.metrics import region_masks
from lacunet.prediction.postprocess import get_rule, rule_names
from lacunet.task import GLIOMA

SHAPE = (20, 20, 20)


def grid(*spacing):
    return Grid(SHAPE, np.diag([*spacing, 1.0]))


MILLIMETRE = grid(1.0, 1.0, 1.0)


def tumour(enhancing):
    """A slab of oedema and necrotic core, with so many enhancing voxels beside it."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[:2] = 2
    labels[2] = 1
    labels[3:].reshape(-1)[:enhancing] = 3
    return labels


@pytest.mark.parametrize(
    ("name", "limit", "becomes"), [("et500", 500, 0), ("et500-ncr", 500, 1), ("et100-ncr", 100, 1)]
)
def test_less_enhancing_tumour_than_the_limit_is_relabelled(name, limit, becomes):
    few, enough = tumour(limit - 1), tumour(limit)
    changed = get_rule(name)(few, MILLIMETRE, GLIOMA)
    assert (changed[few == 3] == becomes).all()
    assert (changed[few != 3] == few[few != 3]).all()
    assert (get_rule(name)(enough, MILLIMETRE, GLIOMA) == enough).all()


def test_the_limit_is_a_volume_on_other_grids():
    rule = get_rule("et500-ncr")
    assert (rule(tumour(99), grid(1.0, 1.0, 5.0), GLIOMA) == 3).sum() == 0
    assert (rule(tumour(100), grid(1.0, 1.0, 5.0), GLIOMA) == 3).sum() == 100


def test_the_limit_bears_the_rounding_of_an_oblique_affine():
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    turn[:3, :3] *= 1 - 1e-9
    assert (get_rule("et500")(tumour(500), Grid(SHAPE, turn), GLIOMA) == 3).sum() == 500


def test_as_necrotic_core_the_other_regions_stay_and_as_background_they_shrink():
    before = region_masks(tumour(50), GLIOMA)
    core = region_masks(get_rule("et500-ncr")(tumour(50), MILLIMETRE, GLIOMA), GLIOMA)
    gone = region_masks(get_rule("et500")(tumour(50), MILLIMETRE, GLIOMA), GLIOMA)
    assert all((core[region] == before[region]).all() for region in ("wt", "tc"))
    assert not core["et"].any()
    assert [before[region].sum() - gone[region].sum() for region in ("wt", "tc", "et")] == [50, 50, 50]


def test_only_the_largest_piece_stays_and_corners_connect():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[2:4, 2:4, 2:4] = 2
    labels[4, 4, 4] = 3
    labels[10:12, 10:12, 10:12] = 1
    kept = get_rule("largest")(labels, MILLIMETRE, GLIOMA)
    assert (kept != 0).sum() == 9
    assert kept[4, 4, 4] == 3
    assert not kept[10:12].any()


def test_small_pieces_go_whatever_their_label():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[:5, :5, :4] = 2
    labels[10:15, :5, :3] = 1
    labels[10, 2, 3] = 3
    kept = get_rule("pieces100")(labels, MILLIMETRE, GLIOMA)
    assert (kept[:5] == labels[:5]).all()
    assert not kept[10:].any()
    assert (get_rule("pieces100")(labels, grid(1.0, 1.0, 2.0), GLIOMA) == labels).all()


@pytest.mark.parametrize("name", rule_names())
def test_a_rule_keeps_its_input_its_type_and_an_empty_mask(name):
    labels = tumour(30)
    labels[15, 15, 15] = 2
    before = labels.copy()
    changed = get_rule(name)(labels, MILLIMETRE, GLIOMA)
    assert (labels == before).all()
    assert changed is not labels
    assert changed.dtype == np.uint8
    assert not get_rule(name)(np.zeros(SHAPE, dtype=np.uint8), MILLIMETRE, GLIOMA).any()


def test_a_rule_goes_by_the_labels_of_the_task():
    other = replace(GLIOMA, name="other", labels={"enhancing": 1, "oedema": 2, "necrotic_core": 7})
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[0, 0, :3], labels[0, 1, :3] = 1, 3
    changed = get_rule("et500-ncr")(labels, MILLIMETRE, other)
    assert changed[0, 0].tolist()[:4] == [7, 7, 7, 0]
    assert changed[0, 1].tolist()[:4] == [3, 3, 3, 0]


@pytest.mark.parametrize(
    ("rule", "labels", "lacks"),
    [("et500", {"oedema": 2}, "enhancing"), ("et500-ncr", {"enhancing": 3}, "necrotic_core")],
)
def test_a_task_without_the_label_that_a_rule_changes_is_refused(rule, labels, lacks):
    task = replace(GLIOMA, name="other", labels=labels)
    with pytest.raises(UsageError, match=f"the task 'other' has no label '{lacks}' .*; leave the rule out"):
        get_rule(rule)(tumour(600), MILLIMETRE, task)


def test_rules_without_labels_of_their_own_serve_any_task():
    task = replace(GLIOMA, name="other", labels={"lesion": 1})
    assert (get_rule("largest")(tumour(30), MILLIMETRE, task) == tumour(30)).all()


def test_every_rule_says_what_it_does():
    rules = [get_rule(name) for name in rule_names()]
    assert len(set(rule_names())) == len(rules)
    assert all(rule.summary and rule.source for rule in rules)


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown post-processing rule 'et50'; did you mean 'et500'\?; known: et500,"):
        get_rule("et50")
