"""Rules that change a predicted mask, each by name, none unless asked for. No torch here.

A rule takes labels as they are inside lacunet, their grid and their task, and gives new labels. Papers count voxels of
1 mm; on any other grid the same volume in ml decides: 500 voxels are 0.5 ml.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from lacunet.case import Grid
from lacunet.errors import UsageError, nearest
from lacunet.task import Task

Labels = UInt8[np.ndarray, "x y z"]

BACKGROUND = 0


@dataclass(frozen=True)
class Rule:
    """A named change of a mask, called as `rule(labels, grid, task)`.

    Attributes:
        name: On the command line and in tables.
        summary: One sentence for help texts.
        source: Where the rule comes from.
        change: The function itself; it leaves its input as it is.
    """

    name: str
    summary: str
    source: str
    change: Callable[[Labels, Grid, Task], Labels]

    def __call__(self, labels: Labels, grid: Grid, task: Task) -> Labels:
        """New labels.

        Raises:
            UsageError: the rule changes a label that the task does not have.
        """
        return self.change(labels, grid, task)


def apply_rules(rules: Iterable[Rule], labels: Labels, grid: Grid, task: Task) -> Labels:
    """Each rule in turn; see `Rule` for the error."""
    for rule in rules:
        labels = rule(labels, grid, task)
    return labels


def relabel_small_enhancing(
    labels: Labels, grid: Grid, task: Task, *, limit_ml: float, becomes: str | None = None
) -> Labels:
    """Enhancing tumour of less than `limit_ml` in all gets the label named `becomes`, or becomes background.

    As necrotic core it leaves whole tumour and tumour core as they were; as background it takes from all three.
    """
    enhancing = labels == _label(task, "enhancing")
    other = BACKGROUND if becomes is None else _label(task, becomes)
    if not _is_less(int(np.count_nonzero(enhancing)), grid, limit_ml):
        return labels.copy()
    return np.where(enhancing, np.uint8(other), labels)


def keep_largest(labels: Labels, grid: Grid, task: Task) -> Labels:
    """Only the largest connected piece of tumour stays; of equal ones the first along x, then y, then z."""
    pieces, sizes = _pieces(labels)
    if sizes.size == 0:
        return labels.copy()
    return np.where(pieces == 1 + np.argmax(sizes), labels, np.uint8(BACKGROUND))


def drop_small_pieces(labels: Labels, grid: Grid, task: Task, *, limit_ml: float) -> Labels:
    """Connected pieces of tumour of less than `limit_ml` become background."""
    pieces, sizes = _pieces(labels)
    stays = [False, *(not _is_less(int(size), grid, limit_ml) for size in sizes)]
    return np.where(np.array(stays)[pieces], labels, np.uint8(BACKGROUND))


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
    known = rule_names()
    raise UsageError(f"unknown post-processing rule '{name}'{nearest(name, known)}; known: {', '.join(known)}")


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
