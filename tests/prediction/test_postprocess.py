"""Rules that change a mask: each by hand, on isotropic and thick voxels."""

from dataclasses import replace

import numpy as np
import pytest

from lacunet.case import Grid
from lacunet.errors import ModelError, UsageError
from lacunet.evaluation.metrics import region_masks
from lacunet.prediction.postprocess import (
    Found,
    apply_rules,
    get_rule,
    rule_names,
    rules_named,
    rules_of,
    taken_out,
    taken_out_words,
)
from lacunet.task import GLIOMA

SHAPE = (20, 20, 20)


def grid(*spacing):
    return Grid(SHAPE, np.diag([*spacing, 1.0]))


MILLIMETRE = grid(1.0, 1.0, 1.0)


def found(labels, on=MILLIMETRE, task=GLIOMA, logits=None):
    """A mask whose voxels the network is certain of."""
    return Found(labels, np.full(SHAPE, 9.0, dtype=np.float32) if logits is None else logits, on, task)


def changed_by(name, *mask, **more):
    return get_rule(name)(found(*mask, **more))


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
    changed = changed_by(name, few)
    assert (changed[few == 3] == becomes).all()
    assert (changed[few != 3] == few[few != 3]).all()
    assert (changed_by(name, enough) == enough).all()


def test_the_limit_is_a_volume_on_other_grids():
    assert (changed_by("et500-ncr", tumour(99), grid(1.0, 1.0, 5.0)) == 3).sum() == 0
    assert (changed_by("et500-ncr", tumour(100), grid(1.0, 1.0, 5.0)) == 3).sum() == 100


def test_the_limit_bears_the_rounding_of_an_oblique_affine():
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    turn[:3, :3] *= 1 - 1e-9
    assert (changed_by("et500", tumour(500), Grid(SHAPE, turn)) == 3).sum() == 500


def test_as_necrotic_core_the_other_regions_stay_and_as_background_they_shrink():
    before = region_masks(tumour(50), GLIOMA)
    core = region_masks(changed_by("et500-ncr", tumour(50)), GLIOMA)
    gone = region_masks(changed_by("et500", tumour(50)), GLIOMA)
    assert all((core[region] == before[region]).all() for region in ("wt", "tc"))
    assert not core["et"].any()
    assert [before[region].sum() - gone[region].sum() for region in ("wt", "tc", "et")] == [50, 50, 50]


def test_only_the_largest_piece_stays_and_corners_connect():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[2:4, 2:4, 2:4] = 2
    labels[4, 4, 4] = 3
    labels[10:12, 10:12, 10:12] = 1
    kept = changed_by("largest", labels)
    assert (kept != 0).sum() == 9
    assert kept[4, 4, 4] == 3
    assert not kept[10:12].any()


def test_small_pieces_go_whatever_their_label():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[:5, :5, :4] = 2
    labels[10:15, :5, :3] = 1
    labels[10, 2, 3] = 3
    kept = changed_by("pieces100", labels)
    assert (kept[:5] == labels[:5]).all()
    assert not kept[10:].any()
    assert (changed_by("pieces100", labels, grid(1.0, 1.0, 2.0)) == labels).all()


def two_pieces():
    """8 voxels and 125 voxels."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[2:4, 2:4, 2:4] = 3
    labels[10:15, 10:15, 10:15] = 2
    return labels


@pytest.mark.parametrize(
    ("spacing", "small", "large", "stay"),
    [
        # ml times the mean logit: 8 voxels of 1000 mm3 are 8 ml, 125 are 125 ml
        (10.0, 1.25, 0.08, (8, 125)),
        (10.0, 1.24, 0.08, (0, 125)),
        (10.0, 1.25, 0.079, (8, 0)),
        (10.0, 9.0, -1.0, (8, 0)),
        (1.0, 9.0, 9.0, (0, 0)),
        (10.0, 0.0, 1.0, (0, 125)),
    ],
)
def test_a_doubtful_piece_goes_by_its_volume_and_its_logits_together(spacing, small, large, stay):
    labels = two_pieces()
    logits = np.full(SHAPE, -5.0)
    logits[labels == 3], logits[labels == 2] = small, large
    kept = changed_by("doubtful10", labels, grid(spacing, spacing, spacing), logits=logits)
    assert ((kept == 3).sum(), (kept == 2).sum()) == stay


def test_a_piece_is_judged_by_the_mean_of_all_its_voxels():
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[0, 0, :2] = 2, 3
    logits = np.zeros(SHAPE)
    logits[0, 0, :2] = -2.0, 12.0
    assert changed_by("doubtful10", labels, grid(10.0, 10.0, 10.0), logits=logits).any()
    logits[0, 0, 0] = -2.1
    assert not changed_by("doubtful10", labels, grid(10.0, 10.0, 10.0), logits=logits).any()


def test_rules_follow_each_other():
    labels = two_pieces()
    both = apply_rules([get_rule("largest"), get_rule("pieces100")], found(labels))
    assert ((both == 3).sum(), (both == 2).sum()) == (0, 125)
    assert not apply_rules([get_rule("pieces100"), get_rule("doubtful10")], found(labels)).any()
    assert (apply_rules([], found(labels)) == labels).all()


@pytest.mark.parametrize(
    ("asked", "own", "names"),
    [
        (None, ("doubtful10",), ["doubtful10"]),
        ([], ("doubtful10",), ["doubtful10"]),
        (["none"], ("doubtful10",), []),
        (["et500", "largest"], ("doubtful10",), ["et500", "largest"]),
        (None, (), []),
    ],
)
def test_a_models_own_rules_hold_where_none_are_asked_for(asked, own, names):
    assert [rule.name for rule in rules_of(rules_named(asked), own)] == names


@pytest.mark.parametrize("name", ["newer", "none"])
def test_a_rule_of_a_model_that_is_unknown_here_is_said_to_be_the_models(name):
    with pytest.raises(ModelError, match=f"the model's own post-processing rule '{name}' is unknown here; .* version"):
        rules_of(None, ("largest", name))
    assert rules_of((), ("largest", name)) == ()


def test_no_rule_stands_beside_rules():
    with pytest.raises(
        UsageError, match="post-processing none, et500: 'none' stands alone; leave it or the others out"
    ):
        rules_named(["none", "et500"])


@pytest.mark.parametrize(
    ("spacing", "left", "pieces"), [(10.0, (3,), (8.0,)), (10.0, (3, 2), (125.0, 8.0)), (10.0, (), ()), (1.0, (3,), ())]
)
def test_pieces_that_rules_took_out_count_from_a_tenth_of_a_millilitre_on(spacing, left, pieces):
    labels = two_pieces()
    after = np.where(np.isin(labels, left), np.uint8(0), labels)
    assert taken_out(found(labels, grid(spacing, spacing, spacing)), after) == pytest.approx(pieces)


def test_what_rules_took_out_is_said():
    assert taken_out_words((), ["largest"]) == []
    assert taken_out_words((8.0,), ["largest"]) == [
        "1 piece that the model outlined (8.0 ml) is left out of the mask by post-processing (largest); to see it, "
        "segment with --postprocess none"
    ]
    assert taken_out_words((125.0, 8.0), ["largest", "et500"]) == [
        "2 pieces that the model outlined (133.0 ml) are left out of the mask by post-processing (largest, et500); "
        "to see them, segment with --postprocess none"
    ]


@pytest.mark.parametrize("name", rule_names())
def test_a_rule_keeps_its_input_its_type_and_an_empty_mask(name):
    labels = tumour(30)
    labels[15, 15, 15] = 2
    before = labels.copy()
    changed = changed_by(name, labels)
    assert (labels == before).all()
    assert changed is not labels
    assert changed.dtype == np.uint8
    assert not changed_by(name, np.zeros(SHAPE, dtype=np.uint8)).any()


def test_a_rule_goes_by_the_labels_of_the_task():
    other = replace(GLIOMA, name="other", labels={"enhancing": 1, "oedema": 2, "necrotic_core": 7})
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[0, 0, :3], labels[0, 1, :3] = 1, 3
    changed = changed_by("et500-ncr", labels, task=other)
    assert changed[0, 0].tolist()[:4] == [7, 7, 7, 0]
    assert changed[0, 1].tolist()[:4] == [3, 3, 3, 0]


@pytest.mark.parametrize(
    ("rule", "labels", "lacks"),
    [("et500", {"oedema": 2}, "enhancing"), ("et500-ncr", {"enhancing": 3}, "necrotic_core")],
)
def test_a_task_without_the_label_that_a_rule_changes_is_refused(rule, labels, lacks):
    task = replace(GLIOMA, name="other", labels=labels)
    with pytest.raises(UsageError, match=f"the task 'other' has no label '{lacks}' .*; leave the rule out"):
        changed_by(rule, tumour(600), task=task)


def test_rules_without_labels_of_their_own_serve_any_task():
    task = replace(GLIOMA, name="other", labels={"lesion": 1})
    assert (changed_by("largest", tumour(30), task=task) == tumour(30)).all()


def test_every_rule_says_what_it_does():
    rules = [get_rule(name) for name in rule_names()]
    assert len(set(rule_names())) == len(rules)
    assert all(rule.summary and rule.source for rule in rules)


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown post-processing rule 'et50'; did you mean 'et500'\?; known: et500,"):
        get_rule("et50")
