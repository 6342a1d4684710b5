"""Rules that change a predicted mask, each by name: those asked for, or else the model's own. No torch here.

A rule takes a mask with labels as they are inside lacunet, and the logits of the whole tumour, and gives new labels.
Papers count voxels of 1 mm; on any other grid the same volume in ml decides: 500 voxels are 0.5 ml.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy import ndimage

from lacunet.case import Grid
from lacunet.errors import ModelError, UsageError, nearest
from lacunet.task import Task

Labels = UInt8[np.ndarray, "x y z"]

BACKGROUND = 0
_TOLD_ML = 0.1
"""Smaller pieces that a rule takes out are not spoken of."""
NONE = "none"
"""In place of a rule's name: no rule, not even the model's own."""


@dataclass(frozen=True)
class Found:
    """A mask as a network gives it, or as an earlier rule left it.

    Attributes:
        labels: As they are inside lacunet.
        logits: Of the task's first region, which holds the others: the log odds that a voxel is tumour.
        grid: Of both.
        task: Of the labels.
    """

    labels: Labels
    logits: Float[np.ndarray, "x y z"]
    grid: Grid
    task: Task


@dataclass(frozen=True)
class Rule:
    """A named change of a mask, called as `rule(found)`.

    Attributes:
        name: On the command line and in tables.
        summary: One sentence for help texts.
        source: Where the rule comes from.
        change: The function itself; it leaves its input as it is.
    """

    name: str
    summary: str
    source: str
    change: Callable[[Found], Labels]

    def __call__(self, found: Found) -> Labels:
        """New labels.

        Raises:
            UsageError: the rule changes a label that the task does not have.
        """
        return self.change(found)


def apply_rules(rules: Iterable[Rule], found: Found) -> Labels:
    """Each rule in turn; see `Rule` for the error."""
    for rule in rules:
        found = replace(found, labels=rule(found))
    return found.labels


def relabel_small_enhancing(found: Found, *, limit_ml: float, becomes: str | None = None) -> Labels:
    """Enhancing tumour of less than `limit_ml` in all gets the label named `becomes`, or becomes background.

    As necrotic core it leaves whole tumour and tumour core as they were; as background it takes from all three.
    """
    enhancing = found.labels == _label(found.task, "enhancing")
    other = BACKGROUND if becomes is None else _label(found.task, becomes)
    if not _is_less(int(np.count_nonzero(enhancing)), found.grid, limit_ml):
        return found.labels.copy()
    return np.where(enhancing, np.uint8(other), found.labels)


def keep_largest(found: Found) -> Labels:
    """Only the largest connected piece of tumour stays; of equal ones the first along x, then y, then z."""
    pieces, sizes = _pieces(found.labels)
    if sizes.size == 0:
        return found.labels.copy()
    return np.where(pieces == 1 + np.argmax(sizes), found.labels, np.uint8(BACKGROUND))


def drop_small_pieces(found: Found, *, limit_ml: float) -> Labels:
    """Connected pieces of tumour of less than `limit_ml` become background."""
    pieces, sizes = _pieces(found.labels)
    return _only(found.labels, pieces, [not _is_less(int(size), found.grid, limit_ml) for size in sizes])


def drop_doubtful_pieces(found: Found, *, least: float) -> Labels:
    """Connected pieces of tumour become background where volume in ml times mean logit is below `least`.

    So a small piece stays where the network is certain of it, and a large one goes where it is nearly as likely brain.
    """
    pieces, certainty = certainty_of_pieces(found)
    return _only(found.labels, pieces, [float(product) >= least for product in certainty])


def certainty_of_pieces(found: Found) -> tuple[Int[np.ndarray, "x y z"], Float[np.ndarray, " piece"]]:
    """Connected pieces of tumour, numbered from 1, and for each its volume in ml times the mean logit in it."""
    pieces, _ = _pieces(found.labels)
    return pieces, np.bincount(pieces.ravel(), weights=found.logits.ravel())[1:] * found.grid.voxel_ml


RULES = (
    Rule(
        name="et500",
        summary="enhancing tumour of less than 500 voxels at 1 mm (0.5 ml) becomes background, in all regions",
        source="after RFNet, which empties the enhancing tumour but scores the other regions unchanged (et500-ncr)",
        change=partial(relabel_small_enhancing, limit_ml=0.5),
    ),
    Rule(
        name="et500-ncr",
        summary="enhancing tumour of less than 500 voxels at 1 mm (0.5 ml) becomes necrotic core",
        source="ShaSpec; the scores that RFNet, mmFormer and M2FTrans print as enhancing_postpro",
        change=partial(relabel_small_enhancing, limit_ml=0.5, becomes="necrotic_core"),
    ),
    Rule(
        name="et100-ncr",
        summary="enhancing tumour of less than 100 voxels at 1 mm (0.1 ml) becomes necrotic core",
        source="DeMoSeg, default of evaluation/Metric.py (its scripts for BraTS 2018 and 2020 use 500)",
        change=partial(relabel_small_enhancing, limit_ml=0.1, becomes="necrotic_core"),
    ),
    Rule(
        name="largest",
        summary="only the largest connected piece of tumour stays (voxels that share a corner are connected)",
        source="common practice; it also removes true second foci",
        change=keep_largest,
    ),
    Rule(
        name="pieces100",
        summary="connected pieces of tumour of less than 100 voxels at 1 mm (0.1 ml) become background",
        source="common practice; the limit is ours",
        change=partial(drop_small_pieces, limit_ml=0.1),
    ),
    Rule(
        name="doubtful10",
        summary=(
            "connected pieces of tumour become background where their volume in ml times the mean logit of the whole "
            "tumour in them is less than 10"
        ),
        source="ours; the limit was chosen on validation cases and brains without a tumour (docs/results.md)",
        change=partial(drop_doubtful_pieces, least=10.0),
    ),
)
"""Every rule there is."""


def rule_names() -> tuple[str, ...]:
    """Names that `get_rule` knows."""
    return tuple(rule.name for rule in RULES)


def get_rule(name: str) -> Rule:
    """The rule of this name.

    Raises:
        UsageError: there is none; the nearest is named.
    """
    for rule in RULES:
        if rule.name == name:
            return rule
    known = (*rule_names(), NONE)
    raise UsageError(f"unknown post-processing rule '{name}'{nearest(name, known)}; known: {', '.join(known)}")


def rules_named(names: Sequence[str] | None) -> tuple[Rule, ...] | None:
    """The rules that are asked for.

    Args:
        names: Of rules, in order; `none` alone is no rule at all.

    Returns:
        None where nothing is asked for, so that a model's own rules decide; see `rules_of`.

    Raises:
        UsageError: a name is unknown, or `none` stands beside others.
    """
    if not names:
        return None
    if NONE not in names:
        return tuple(get_rule(name) for name in names)
    if len(names) > 1:
        raise UsageError(f"post-processing {', '.join(names)}: '{NONE}' stands alone; leave it or the others out")
    return ()


def rules_of(asked: Sequence[Rule] | None, own: Sequence[str]) -> tuple[Rule, ...]:
    """The rules that a mask goes through: those that are asked for; where None are, the model's own, given by name.

    Raises:
        ModelError: the model has a rule that is unknown here.
    """
    if asked is not None:
        return tuple(asked)
    if unknown := [name for name in own if name not in rule_names()]:
        raise ModelError(
            f"the model's own post-processing rule '{unknown[0]}' is unknown here; known: {', '.join(rule_names())}; "
            f"use the version of lacunet that wrote the model, or --postprocess {NONE}"
        )
    return tuple(get_rule(name) for name in own)


def taken_out(found: Found, labels: Labels) -> tuple[float, ...]:
    """The pieces that rules left out of a mask, in ml, the largest first; none below 0.1 ml.

    Args:
        found: The mask as the network gives it.
        labels: The same mask after the rules.
    """
    if labels is found.labels:  # no rule, so that no piece need be looked for
        return ()
    _, sizes = _pieces(np.where(labels == BACKGROUND, found.labels, np.uint8(BACKGROUND)))
    volumes = [float(size) * found.grid.voxel_ml for size in sizes]
    return tuple(sorted((volume for volume in volumes if volume >= _TOLD_ML), reverse=True))


def taken_out_words(pieces_ml: Sequence[float], rules: Sequence[str]) -> list[str]:
    """A sentence on the pieces that rules left out of a mask; none where there are none.

    Args:
        pieces_ml: See `taken_out`.
        rules: Their names.
    """
    if not pieces_ml:
        return []
    pieces, are, them = ("1 piece", "is", "it") if len(pieces_ml) == 1 else (f"{len(pieces_ml)} pieces", "are", "them")
    return [
        f"{pieces} that the model outlined ({sum(pieces_ml):.1f} ml) {are} left out of the mask by post-processing "
        f"({', '.join(rules)}); to see {them}, segment with --postprocess {NONE}"
    ]


def _label(task: Task, name: str) -> int:
    if name not in task.labels:
        raise UsageError(
            f"the task '{task.name}' has no label '{name}' ({', '.join(task.labels)}), which a post-processing rule "
            "needs; leave the rule out"
        )
    return task.labels[name]


def _is_less(voxels: int, grid: Grid, limit_ml: float) -> bool:
    """Whether voxels fill less than a volume. A millionth less is not less: affines are rounded."""
    return voxels * grid.voxel_ml < limit_ml * (1 - 1e-6)


def _pieces(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Connected pieces of tumour, numbered from 1, and the voxels of each."""
    pieces, _ = ndimage.label(labels != BACKGROUND, structure=np.ones((3, 3, 3)))
    return pieces, np.bincount(pieces.ravel())[1:]


def _only(labels: Labels, pieces: np.ndarray, stays: Sequence[bool]) -> Labels:
    """The labels in the pieces that stay; `stays` has an entry for each piece."""
    return np.where(np.array([False, *stays])[pieces], labels, np.uint8(BACKGROUND))
