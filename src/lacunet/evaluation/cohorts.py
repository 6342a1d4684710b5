"""The scores of each cohort of an evaluation by itself; cohorts are told by how the names of cases begin. No torch."""

from collections.abc import Sequence

from lacunet.errors import UsageError
from lacunet.evaluation.metrics import MetricPolicy
from lacunet.evaluation.scores import Row, summarise
from lacunet.evaluation.summary import Cohort, RegionMeans
from lacunet.report.page import dice_words
from lacunet.task import Task

OTHERS = "others"
"""The cases of none of the cohorts."""


def require_cohorts(cases: Sequence[str], beginnings: Sequence[str]) -> None:
    """Refuse a beginning that no name has.

    Args:
        cases: The names of all cases.
        beginnings: How the names of a cohort's cases begin.

    Raises:
        UsageError: no name begins so.
    """
    if none := [one for one in beginnings if not any(case.startswith(one) for case in cases)]:
        first = f"; the first case is {cases[0]}" if cases else ""
        raise UsageError(f"--cohort {none[0]}: no case's name begins so{first}")


def cohorts_of(rows: Sequence[Row], beginnings: Sequence[str], task: Task, policy: MetricPolicy) -> dict[str, Cohort]:
    """Means of each cohort, by the beginning of its names; the rest comes last, as `others`. Empty without beginnings.

    A cohort none of whose cases has rows is left out.

    Args:
        rows: Of all cases.
        beginnings: How the names of a cohort's cases begin; a case belongs to the first that fits.
        task: Gives the order of subsets and regions.
        policy: The policy that the rows were scored with.
    """
    if not beginnings:
        return {}
    groups: dict[str, list[Row]] = {beginning: [] for beginning in (*beginnings, OTHERS)}
    for row in rows:
        groups[next((one for one in beginnings if row.case.startswith(one)), OTHERS)].append(row)
    full = task.subset_name(task.modalities)
    found = {}
    for name, own in groups.items():
        if own:
            summary = summarise(own, task, policy, "")
            found[name] = Cohort(cases=summary.cases, mean=summary.mean, full=summary.subsets.get(full, {}))
    return found


def cohort_words(name: str, cohort: Cohort) -> str:
    """`BraTS-SSA, 27 cases: WT 0.77, TC 0.49, ET 0.45; from all sequences WT 0.85, ...`."""
    full = f"; from all sequences {_dice(cohort.full)}" if cohort.full else ""
    return f"{name}, {cohort.cases} case{'' if cohort.cases == 1 else 's'}: {_dice(cohort.mean)}{full}"


def _dice(means: RegionMeans) -> str:
    return ", ".join(f"{region.upper()} {dice_words(one.dice)}" for region, one in means.items())
