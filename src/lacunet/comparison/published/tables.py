"""Published scores, as data: `tables.toml` says what each table is, `subsets.csv` and `means.csv` hold its numbers.

The files keep what the sources print (Dice in percent); everything read here is Dice 0 to 1 and HD95 in mm. No torch.
"""

import csv
import tomllib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any

from lacunet.data.split import split_hash
from lacunet.errors import UsageError, nearest
from lacunet.evaluation.metrics import aurc, get_policy
from lacunet.task import GLIOMA


@dataclass(frozen=True)
class PublishedScore:
    """One method and region of a published table.

    Attributes:
        method: As the table calls it.
        region: `wt`, `tc`, `et`.
        subsets: Dice of each subset that the source prints, 0 to 1, in lacunet's order; empty where it prints the mean
            alone.
        printed_mean: Mean Dice as printed.
        hd95: Mean HD95 in mm, or None.
        spread: Standard deviation of Dice over cases by subset; empty where none is printed.
    """

    method: str
    region: str
    subsets: Mapping[str, float]
    printed_mean: float
    hd95: float | None = None
    spread: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean Dice over the subsets: of the printed cells where there are any, else as printed."""
        return fmean(self.subsets.values()) if self.subsets else self.printed_mean

    def mean_over(self, subsets: Collection[str]) -> float | None:
        """Mean Dice over some of the subsets; None where not all of their cells are printed, nor their mean."""
        if len(subsets) == len(GLIOMA.subsets) and not self.subsets:
            return self.mean
        there = subsets and set(subsets) <= set(self.subsets)
        return fmean(self.subsets[name] for name in subsets) if there else None

    @property
    def by_size(self) -> dict[int, float]:
        """Number of sequences -> mean Dice over its subsets, where all of them are printed."""
        sizes: dict[int, list[str]] = defaultdict(list)
        for subset in GLIOMA.subsets:
            sizes[len(subset)].append(GLIOMA.subset_name(subset))
        return {
            size: fmean(self.subsets[name] for name in names)
            for size, names in sizes.items()
            if set(names) <= set(self.subsets)
        }

    @property
    def aurc(self) -> float | None:
        """Area under the robustness curve; None unless every subset is printed."""
        return aurc(list(self.by_size.values())) if len(self.subsets) == len(GLIOMA.subsets) else None


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper and the protocol behind it; the head of `tables.toml` explains each entry."""

    name: str
    dataset: str
    protocol: str
    source: str
    url: str
    read: str
    scores: tuple[PublishedScore, ...]
    test: tuple[str, ...] = ()
    test_cases: int | None = None
    policy: str = ""
    postprocessing: tuple[str, ...] | None = None
    mirror: str = ""
    quoted: Mapping[str, str] = field(default_factory=dict)
    mean_differs: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    ablation: bool = False

    @property
    def methods(self) -> list[str]:
        """In the table's order."""
        return list(dict.fromkeys(score.method for score in self.scores))

    @property
    def subsets(self) -> list[str]:
        """Those that its means are over, in lacunet's order."""
        printed = self.scores[0].subsets
        return [name for name in map(GLIOMA.subset_name, GLIOMA.subsets) if name in printed or not printed]

    @property
    def notes(self) -> list[str]:
        """What a reader must know: cautions, columns of another protocol, printed means that differ from the cells."""
        quoted = [f"{method}: {words}" for method, words in self.quoted.items()]
        other = [
            f"{score.method}, {score.region.upper()}: the source prints a mean of {score.printed_mean:.4f}, its cells "
            f"have {score.mean:.4f}"
            for score in self.scores
            if f"{score.method} {score.region}" in self.mean_differs
        ]
        return [*(caution[:1].upper() + caution[1:] for caution in self.cautions), *quoted, *other]

    def score(self, method: str, region: str) -> PublishedScore | None:
        """The scores of one method and region; None where the table has none."""
        found = (score for score in self.scores if (score.method, score.region) == (method, region))
        return next(found, None)


@dataclass(frozen=True)
class Scored:
    """What was scored here and how, as far as a comparison with a published table depends on it.

    Attributes:
        cases: Names.
        subsets: Names of those that every case was scored for.
        policy: What empty masks score.
        postprocessing: Names of the rules.
        mirror: The mirror images that predictions were averaged over (`lacunet.prediction.choices.Mirror`).
    """

    cases: Sequence[str]
    subsets: Sequence[str]
    policy: str
    postprocessing: Sequence[str] = ()
    mirror: str = "none"


@cache
def published_tables() -> dict[str, PublishedTable]:
    """Every table in the package, by name."""
    folder = files("lacunet.comparison.published")
    scores: dict[str, list[PublishedScore]] = defaultdict(list)
    for table, score in (*_scores_by_subset(), *_scores_of_means()):
        scores[table].append(score)
    entries = tomllib.loads(folder.joinpath("tables.toml").read_text(encoding="utf-8"))
    return {name: PublishedTable(name, scores=tuple(scores[name]), **_fields(entry)) for name, entry in entries.items()}


def choose_tables(names: Iterable[str]) -> list[PublishedTable]:
    """Tables by their names, or all of a data set (`brats2018`: its methods, not the ablations), each once.

    Raises:
        UsageError: a name is neither a table nor a data set.
    """
    tables = published_tables()
    sets = {name.partition("-")[0] for name in tables}
    chosen: dict[str, PublishedTable] = {}
    for name in names:
        if name in tables:
            chosen[name] = tables[name]
        elif name in sets:
            chosen |= {key: table for key, table in tables.items() if key.startswith(f"{name}-") and not table.ablation}
        else:
            known = [*sorted(sets), *tables]
            raise UsageError(f"no published table '{name}'{nearest(name, known)}; known: {', '.join(known)}")
    return list(chosen.values())


def tables_of_cases(names: Sequence[str]) -> list[str]:
    """Tables of exactly these cases, or of several lists of cases of which this is one."""
    ours = split_hash(names)
    return [table.name for table in published_tables().values() if ours in table.test and not table.ablation]


def not_stated(table: PublishedTable) -> list[str]:
    """What decides the numbers of a table and its source does not state, in words."""
    facts = {
        "which cases were scored": table.test,
        "what empty masks score": table.policy,
        "whether masks were post-processed": table.postprocessing is not None,
        "whether predictions were averaged over mirror images": table.mirror,
    }
    return [words for words, known in facts.items() if not known]


def differences(table: PublishedTable, scored: Scored) -> list[str]:
    """Why an evaluation of ours cannot be compared with a published table; empty where no difference is known."""
    found = [
        _other_cases(table, scored.cases),
        _other_subsets(table, scored.subsets),
        _other_policy(table, scored.policy),
        _other_rules(table, scored.postprocessing),
        _other_mirror(table, scored.mirror),
    ]
    return [words for words in found if words]


def _other_cases(table: PublishedTable, cases: Sequence[str]) -> str:
    """Other cases, or cases that may be others: some sources do not list theirs by name."""
    here, there = f"here {len(cases)}", f"there {table.test_cases or 'some'} of {table.dataset}"
    if not table.test:
        perhaps = "perhaps " if table.test_cases in (None, len(cases)) else ""
        unnamed = "not listed by name" if table.test_cases else "neither counted nor listed by name"
        return f"{perhaps}other cases: {here}, {there}, {unnamed}"
    if split_hash(cases) not in table.test:
        return f"other cases: {here}, {there}"
    if len(table.test) > 1:
        return f"here one of the {len(table.test)} test sets, there the mean over all of them"
    return ""


def _other_subsets(table: PublishedTable, subsets: Sequence[str]) -> str:
    """Nearly every table is of all subsets of the glioma task."""
    every, theirs = len(GLIOMA.subsets), table.subsets
    if set(subsets) == set(theirs):
        return ""
    there = "" if len(theirs) == every else f", there {len(theirs)}"
    return f"here {len(subsets)} of {every} subsets{there}"


def _other_policy(table: PublishedTable, policy: str) -> str:
    if not table.policy:
        return "what empty masks score there is not stated"
    ours, theirs = get_policy(policy), get_policy(table.policy)
    same_dice = (ours.dice_both_empty, ours.dice_one_empty) == (theirs.dice_both_empty, theirs.dice_one_empty)
    if same_dice and (ours == theirs or all(score.hd95 is None for score in table.scores)):
        return ""
    return f"empty masks score by '{policy}' here and by '{table.policy}' there"


def _other_rules(table: PublishedTable, postprocessing: Sequence[str]) -> str:
    if table.postprocessing is None:
        return "whether masks were post-processed there is not stated"
    if tuple(postprocessing) == table.postprocessing:
        return ""
    ours, theirs = (", ".join(rules) or "none" for rules in (postprocessing, table.postprocessing))
    return f"post-processing: {ours} here, {theirs} there"


def _other_mirror(table: PublishedTable, mirror: str) -> str:
    if not table.mirror:
        return "whether predictions there were averaged over mirror images is not stated"
    return "" if mirror == table.mirror else f"averaged over mirror images: {mirror} here, {table.mirror} there"


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """TOML's lists as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _scores_by_subset() -> list[tuple[str, PublishedScore]]:
    """The rows of `subsets.csv`, standard deviations joined to their Dice."""
    rows = _rows("subsets.csv")
    fixed = ("table", "method", "region", "measure", "mean")
    cells = {
        (row["table"], row["method"], row["region"], row["measure"]): {
            name: float(value) / 100 for name, value in row.items() if name not in fixed and value
        }
        for row in rows
    }
    return [
        (
            row["table"],
            PublishedScore(
                row["method"],
                row["region"],
                cells[row["table"], row["method"], row["region"], "dice"],
                float(row["mean"]) / 100,
                spread=cells.get((row["table"], row["method"], row["region"], "dice_sd"), {}),
            ),
        )
        for row in rows
        if row["measure"] == "dice"
    ]


def _scores_of_means() -> list[tuple[str, PublishedScore]]:
    """The rows of `means.csv`."""
    return [
        (
            row["table"],
            PublishedScore(
                row["method"],
                row["region"],
                {},
                float(row["dice"]) / 100,
                float(row["hd95"]) if row["hd95"] else None,
            ),
        )
        for row in _rows("means.csv")
    ]


def _rows(name: str) -> list[dict[str, str]]:
    text = files("lacunet.comparison.published").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
