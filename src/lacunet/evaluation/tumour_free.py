"""What is found in brains without a tumour: false-positive millilitres. No torch here."""

from collections.abc import Mapping
from statistics import fmean, median

from lacunet.evaluation.summary import FalsePositives, TumourFree
from lacunet.report.page import millilitres
from lacunet.task import Task

Volumes = Mapping[tuple[str, str, str], float]
"""Millilitres by case, subset and region."""


def tumour_free(found: Volumes, task: Task) -> TumourFree | None:
    """False-positive millilitres by subset and by number of sequences; None where no case is without a tumour.

    Args:
        found: The predicted volumes of the cases whose reference is empty.
        task: Gives the order of subsets and regions.
    """
    if not found:
        return None
    evaluated = {subset for _, subset, _ in found}
    names = [name for name in map(task.subset_name, task.subsets) if name in evaluated]
    sizes = sorted({len(task.subset(name)) for name in names})
    return TumourFree(
        cases=len({case for case, _, _ in found}),
        subsets={name: _by_region(found, task, [name]) for name in names},
        by_size={
            size: _by_region(found, task, [name for name in names if len(task.subset(name)) == size]) for size in sizes
        },
    )


def _by_region(found: Volumes, task: Task, subsets: list[str]) -> dict[str, FalsePositives]:
    volumes = {
        region: [ml for (_, subset, own), ml in found.items() if own == region and subset in subsets]
        for region in task.regions
    }
    return {
        region: FalsePositives(masks=len(own), mean=fmean(own), median=median(own), worst=max(own))
        for region, own in volumes.items()
    }


def tumour_free_words(found: TumourFree, task: Task) -> str:
    """`12 brains without a tumour, ml found, median (mean, worst): from 1 sequence 5.2 (7.1, 40.0), from 2 ...`.

    The volumes are of the first region, which holds the others.
    """
    whole = next(iter(task.regions))
    parts: list[str] = []
    for size, regions in found.by_size.items():
        own = regions[whole]
        words = f"{millilitres(own.median)} ({millilitres(own.mean)}, {millilitres(own.worst)})"
        parts.append(f"from {size}{' sequence' if not parts else ''}{'s' if not parts and size > 1 else ''} {words}")
    brains = f"{found.cases} brain{'' if found.cases == 1 else 's'} without a tumour"
    return f"{brains}, {whole.upper()} found in ml, median (mean, worst): {', '.join(parts)}"
