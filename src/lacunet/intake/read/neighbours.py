"""Series of one study whose slices complete each other: halves of one scan that were stored as two."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lacunet.intake.read.places import ORIENTATION_TOLERANCE
from lacunet.intake.read.series import Series
from lacunet.intake.read.stacks import ECHO_TOLERANCE_MS, REPETITION_TOLERANCE, SPACING_TOLERANCE, kind_of

LEAST_SLICES = 4
"""Fewer slices have no step that could be compared."""

BETWEEN = (0.2, 0.8)
"""Slices this far from those of the other series, as a share of its step, lie between them."""

GAP = 0.75
"""Slices thinner than this share of their distance leave room for others in between."""


def with_neighbours(found: Sequence[Series]) -> list[Series]:
    """The series, with a note on each whose slices lie between, or continue, those of another of the same settings."""
    able = [one for one in found if len(one.steps) >= LEAST_SLICES - 1]
    return [
        replace(one, notes=(*one.notes, *(note for other in able if other is not one for note in _notes(one, other))))
        for one in found
    ]


def _notes(one: Series, other: Series) -> list[str]:
    if min(len(one.steps), len(other.steps)) < LEAST_SLICES - 1 or not _same_settings(one, other):
        return []
    where = _where(one, other)
    return [
        f"its slices {where} those of {other.label}, with the same settings: the two may be parts of one scan, and "
        "only one is used"
    ] if where else []  # fmt: skip


def _same_settings(one: Series, other: Series) -> bool:
    a, b = one.first, other.first
    if (a.rows, a.columns, kind_of(a), a.agent, a.multi_frame) != (
        b.rows,
        b.columns,
        kind_of(b),
        b.agent,
        b.multi_frame,
    ):
        return False
    assert one.directions is not None
    assert other.directions is not None
    return (
        np.abs(one.directions - other.directions).max() <= ORIENTATION_TOLERANCE
        and _near(one.spacing, other.spacing, SPACING_TOLERANCE)
        and _near((one.step_mm,), (other.step_mm,), SPACING_TOLERANCE)
        and _near((a.repetition_ms or 1.0,), (b.repetition_ms or 1.0,), REPETITION_TOLERANCE)
        and abs((one.slices[0].echo_ms or 0.0) - (other.slices[0].echo_ms or 0.0)) <= ECHO_TOLERANCE_MS
        and (a.texts == b.texts or _leaves_room(one) or _leaves_room(other))
    )


def _near(one: Sequence[float] | None, other: Sequence[float] | None, share: float) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, rtol=share, atol=0.0))


def _leaves_room(series: Series) -> bool:
    thickness = series.first.thickness
    return thickness is not None and thickness < GAP * series.step_mm


def _where(one: Series, other: Series) -> str | None:
    """How the slices of one lie to those of the other, where they complete them."""
    assert one.normal is not None
    mine, theirs, step = one.heights, other.heights, one.step_mm
    if step <= 0:
        return None
    share = min(mine[-1], theirs[-1]) - max(mine[0], theirs[0])
    if share >= 0.5 * min(mine[-1] - mine[0], theirs[-1] - theirs[0]):
        inside = mine[(mine > theirs[0]) & (mine < theirs[-1])]
        offset = np.abs(inside[:, None] - theirs[None, :]).min(axis=1) / step
        return "lie between" if len(inside) and BETWEEN[0] <= float(np.median(offset)) <= BETWEEN[1] else None
    return "continue" if 0.5 * step <= -share <= 1.5 * step else None
