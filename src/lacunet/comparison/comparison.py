"""A comparison: means, intervals, tests, and what its reader must know. No torch here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lacunet.comparison.align import Aligned, align
from lacunet.comparison.numbers import MEAN, PairedTest, RunScores, paired_tests, pooled, run_scores, sizes_of
from lacunet.comparison.published.tables import PublishedTable, Scored, choose_tables, differences, tables_of_cases
from lacunet.errors import DataError, UsageError, nearest
from lacunet.evaluation.results import Run
from lacunet.stats.paired import Resampling, smallest_p
from lacunet.task import GLIOMA

LEVEL = 0.05
"""A test passes if its corrected p is below this."""


@dataclass(frozen=True)
class CompareSettings:
    """What is compared with what.

    Attributes:
        baseline: The run that the others are compared with; empty is the first.
        published: Published tables, or data sets (`brats2018`).
        resampling: How intervals are made.
    """

    baseline: str = ""
    published: tuple[str, ...] = ()
    resampling: Resampling = field(default_factory=Resampling)


@dataclass(frozen=True)
class Comparison:
    """A comparison, done.

    Attributes:
        runs: In the order given.
        shared: The cases and subsets that all of them have.
        baseline: Name of the run that the others are compared with.
        scores: Run -> its scores.
        tests: Run -> region or `mean` -> its test against the baseline. The baseline is not in it.
        tables: The published tables beside them.
        settings: As asked for.
    """

    runs: tuple[Run, ...]
    shared: Aligned
    baseline: str
    scores: Mapping[str, RunScores]
    tests: Mapping[str, Mapping[str, PairedTest]]
    tables: tuple[PublishedTable, ...]
    settings: CompareSettings

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the runs."""
        return tuple(run.name for run in self.runs)

    @property
    def others(self) -> tuple[str, ...]:
        """The runs that are compared with the baseline."""
        return tuple(name for name in self.names if name != self.baseline)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of sequences of the scored subsets."""
        return tuple(sizes_of(self.shared))

    @property
    def whole_sizes(self) -> tuple[int, ...]:
        """The numbers of sequences of which every subset was scored, in every case."""
        task, there = self.shared.task, set(self.shared.whole_subsets)
        missing = {len(subset) for subset in task.subsets if task.subset_name(subset) not in there}
        return tuple(size for size in range(1, len(task.modalities) + 1) if size not in missing)

    @property
    def is_whole(self) -> bool:
        """Whether every subset was scored, in every case."""
        return len(self.whole_sizes) == len(self.shared.task.modalities)

    @property
    def regions(self) -> tuple[str, ...]:
        """The task's regions and their mean."""
        return (*self.shared.task.regions, MEAN)

    @property
    def rules(self) -> dict[str, tuple[str, ...]]:
        """Run -> the post-processing rules of all its trainings."""
        return {
            run.name: tuple(
                dict.fromkeys(rule for one in run.trainings for rule in one.summary.identity.postprocessing)
            )
            for run in self.runs
        }

    @property
    def mirrors(self) -> dict[str, str]:
        """Run -> the mirror images that its predictions are averaged over."""
        found = {run.name: dict.fromkeys(one.summary.identity.mirror for one in run.trainings) for run in self.runs}
        return {name: " and ".join(mirrors) for name, mirrors in found.items()}

    def apart(self, table: PublishedTable) -> list[str]:
        """Why a published table cannot be compared with the runs; a reason that holds for some runs names them."""
        cases, subsets, policy = self.shared.cases, self.shared.whole_subsets, self.shared.policy.name
        found = {
            name: differences(table, Scored(cases, subsets, policy, rules, self.mirrors[name]))
            for name, rules in self.rules.items()
        }
        common = [words for words in found[self.baseline] if all(words in own for own in found.values())]
        return common + [f"{name}: {words}" for name, own in found.items() for words in own if words not in common]

    @property
    def family(self) -> int:
        """How many tests are corrected together."""
        return len(self.others) * len(self.regions)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that the reader must see."""
        return (
            *self.shared.warnings,
            *_warn_of_distances(self.shared),
            *_warn_of_power(self),
            *_warn_of_subsets(self.shared),
        )

    @property
    def hints(self) -> tuple[str, ...]:
        """What the reader may want to do next."""
        shown = {table.name for table in self.tables}
        known = [name for name in tables_of_cases(self.shared.cases) if name not in shown]
        options = " ".join(f"--published {name}" for name in known)
        return (f"these are the test cases of published tables; {options} shows them too",) if known else ()

    def masks_with_hd95(self, name: str, region: str) -> int | None:
        """How many masks of a run have an HD95; None where this is the same for all runs."""
        index = list(self.shared.task.regions).index(region)
        counts = {run: int(self.shared.with_hd95(run)[..., index].sum()) for run in self.names}
        return counts[name] if len(set(counts.values())) > 1 else None


@dataclass(frozen=True)
class SubsetDifference:
    """By how much a run differs from the baseline in one subset and region.

    Attributes:
        subset: Its name.
        region: Its name.
        value: Dice of the run minus Dice of the baseline.
    """

    subset: str
    region: str
    value: float


def compare_runs(runs: Sequence[Run], settings: CompareSettings) -> Comparison:
    """Every number of a comparison; `compare` also writes it."""
    names = [run.name for run in runs]
    baseline = settings.baseline or names[0]
    if baseline not in names:
        raise UsageError(f"no run '{baseline}'{nearest(baseline, names)}; there are: {', '.join(names)}")
    tables = choose_tables(settings.published)
    shared = align(runs)
    _refuse_other_regions(shared, tables)
    means = {name: pooled(trainings) for name, trainings in shared.scores.items()}
    return Comparison(
        runs=tuple(runs),
        shared=shared,
        baseline=baseline,
        scores={name: run_scores(shared, name, means[name], settings.resampling) for name in names},
        tests=paired_tests(shared, means, baseline, settings.resampling),
        tables=tuple(tables),
        settings=settings,
    )


def _refuse_other_regions(shared: Aligned, tables: Sequence[PublishedTable]) -> None:
    """Refuse a region called `mean`, and published tables for another task than theirs."""
    if MEAN in shared.task.regions:
        raise DataError(
            f"the task '{shared.task.name}' has a region called '{MEAN}', "
            "the name that comparisons use for the mean of all regions"
        )
    subsets = {shared.task.subset_name(subset) for subset in shared.task.subsets}
    for table in tables:
        theirs = {subset for score in table.scores for subset in score.subsets}
        if not theirs <= subsets or {score.region for score in table.scores} != set(shared.task.regions):
            raise UsageError(
                f"{table.name}: published for {GLIOMA.name}; these runs are of the task '{shared.task.name}'"
            )


def largest_differences(comparison: Comparison, name: str, count: int = 3) -> list[SubsetDifference]:
    """The subsets and regions in which a run differs most from the baseline, the largest difference first."""
    tests = comparison.tests[name]
    found = [
        SubsetDifference(subset, region, value)
        for subset in comparison.shared.subsets
        for region in comparison.shared.task.regions
        if (value := tests[region].difference.by_subset[subset].value) is not None
    ]
    return sorted(found, key=lambda one: -abs(one.value))[:count]


def _warn_of_power(comparison: Comparison) -> list[str]:
    """A warning where no test of the family can pass."""
    cases, family = len(comparison.shared.cases), comparison.family
    if not family or family * smallest_p(cases) <= LEVEL:
        return []
    return [
        f"No test here can pass {LEVEL}: with {cases} case{'s' if cases > 1 else ''} p is {smallest_p(cases):.2g} at "
        f"the least, {min(1.0, family * smallest_p(cases)):.2g} when corrected for {family} tests"
    ]


def _warn_of_distances(shared: Aligned) -> list[str]:
    """Regions whose HD95 is a mean over different masks in different runs."""
    found = []
    for index, region in enumerate(shared.task.regions):
        there = {name: shared.with_hd95(name)[..., index] for name in shared.scores}
        first = next(iter(there.values()))
        if any((one != first).any() for one in there.values()):
            counts = "; ".join(f"{name}: {int(one.sum())}" for name, one in there.items())
            found.append(
                f"HD95 of {region.upper()} is over other masks in each run ({counts} of {first.size}), since policy "
                f"'{shared.policy.name}' gives none to some; a run that misses difficult masks has a lower HD95"
            )
    return found


def _warn_of_subsets(shared: Aligned) -> list[str]:
    missing = len(shared.task.subsets) - len(shared.subsets)
    if not missing:
        return []
    return [
        f"{missing} of {len(shared.task.subsets)} subsets are not compared, so there is no AURC and no mean over all"
    ]
