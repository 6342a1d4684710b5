"""What is segmented, and from which images: modalities, labels, regions, subsets. No torch here.

A task is data, not code: for another disease or another set of modalities, make another `Task`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lacunet.errors import LacunetError, UsageError, nearest
from lacunet.reading import is_file, read_json, shown

if TYPE_CHECKING:
    from lacunet.task_fields import TaskFields

Subset = tuple[str, ...]
"""A non-empty set of modalities, in the task's order."""

Evidence = Literal["seen", "partly inferred", "inferred"]
"""Whether the sequences that were used can show a region at all, or a model concludes it from the others."""

IN_BRACKETS: Mapping[Evidence, str] = {
    "seen": "",
    "partly inferred": " (partly inferred)",
    "inferred": " (inferred, not seen)",
}
"""What stands behind a volume."""

_SEE_TO_JSON = "`Task.to_json` shows the fields that a task needs"

ENHANCEMENT = {"et": ("t1c",)}
"""Contrast agent shows where it was given, and nowhere else."""


@dataclass(frozen=True)
class Task:
    """A segmentation task. Only this class defines the order of modalities and regions.

    Attributes:
        name: Written into model files.
        modalities: Names inside lacunet, in their one order.
        titles: What people call a modality or a region: `{"t1c": "T1ce", "wt": "whole tumour"}`.
        aliases: Other spellings read from file names and options, lower case -> modality.
        labels: Integers of an annotation inside lacunet, background 0 left out.
        regions: Scored unions of labels, in their one order.
        painting: How region masks become labels: regions in the order in which they are painted, each with its label.
        conventions: Label conventions on disk by name: value on disk -> label inside.
        shown_by: Region -> the modalities that can show it. Without all of them a model infers the region from the
            others. A region that is not here can be seen in every modality.
    """

    name: str
    modalities: tuple[str, ...]
    titles: Mapping[str, str]
    aliases: Mapping[str, str]
    labels: Mapping[str, int]
    regions: Mapping[str, tuple[int, ...]]
    painting: tuple[tuple[str, int], ...]
    conventions: Mapping[str, Mapping[int, int]]
    shown_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def subsets(self) -> tuple[Subset, ...]:
        """Every non-empty subset, by size, then by the task's order: 15 for four modalities."""
        sizes = range(1, len(self.modalities) + 1)
        return tuple(subset for size in sizes for subset in combinations(self.modalities, size))

    def modality(self, word: str) -> str:
        """The modality that a word means: `T1Gd` -> `t1c`.

        Raises:
            UsageError: not a known name of a sequence.
        """
        key = word.strip().lower()
        if key in self.modalities:
            return key
        if key in self.aliases:
            return self.aliases[key]
        known = [*self.modalities, *self.aliases]
        raise UsageError(f"unknown modality '{word}'{nearest(key, known)}; known: {', '.join(self.modalities)}")

    def subset(self, words: str | Iterable[str]) -> Subset:
        """A subset from its name (`t1c+t2f`, `T1ce+FLAIR`) or from its modalities in any order."""
        if isinstance(words, str):
            words = words.split("+")
        chosen = {self.modality(word) for word in words}
        if not chosen:
            raise UsageError(f"a subset names at least one of {', '.join(self.modalities)}")
        return tuple(modality for modality in self.modalities if modality in chosen)

    def subsets_named(self, names: Iterable[str]) -> tuple[Subset, ...]:
        """Subsets from their names, in the table's order and each once; `all` stands for every subset."""
        names = list(names)
        chosen = set(self.subsets) if "all" in names else {self.subset(name) for name in names}
        return tuple(subset for subset in self.subsets if subset in chosen)

    def subset_name(self, subset: Iterable[str]) -> str:
        """`("t1c", "t2f")` -> `t1c+t2f`."""
        return "+".join(self.subset(subset))

    def subset_title(self, subset: Iterable[str]) -> str:
        """`("t1c", "t2f")` -> `T1ce + FLAIR`, for people."""
        return " + ".join(self.titles[modality] for modality in self.subset(subset))

    def presence(self, subset: Iterable[str]) -> tuple[bool, ...]:
        """One truth value per modality, in the task's order."""
        chosen = set(subset)
        return tuple(modality in chosen for modality in self.modalities)

    def evidence(self, subset: Iterable[str]) -> dict[str, Evidence]:
        """By region: whether these modalities can show it.

        The smallest region around one that is inferred is partly inferred: its volume counts the inner one.
        """
        used = set(subset)
        inferred = {region for region, modalities in self.shown_by.items() if used.isdisjoint(modalities)}
        around = {self.region_around(region) for region in inferred} - inferred
        return {
            region: "inferred" if region in inferred else "partly inferred" if region in around else "seen"
            for region in self.regions
        }

    def label_evidence(self, subset: Iterable[str]) -> dict[str, Evidence]:
        """By label: that of the region which paints it."""
        found = self.evidence(subset)
        painter = {label: region for region, label in self.painting}
        return {name: found[painter[label]] if label in painter else "seen" for name, label in self.labels.items()}

    def region_around(self, region: str) -> str | None:
        """The region with the fewest labels that has all of this one's and more."""
        inner = set(self.regions[region])
        around = [name for name, labels in self.regions.items() if inner < set(labels)]
        return min(around, key=lambda name: len(self.regions[name]), default=None)

    def to_json(self) -> dict[str, Any]:
        """For model files; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(
        cls, content: Any, where: str = "task", error: type[LacunetError] = UsageError, advice: str = _SEE_TO_JSON
    ) -> "Task":
        """The inverse of `to_json`.

        Args:
            content: Values of JSON.
            where: The file, for the error.
            error: What is raised.
            advice: What to do: the last words of the error.

        Raises:
            LacunetError: of the type `error`: a field is missing or impossible, or two do not agree.
        """
        from lacunet.schema import fitted  # pydantic takes a while to import, and few commands need it
        from lacunet.task_fields import TaskFields

        return cls.of_fields(fitted(TaskFields, content, where, error, advice))

    @classmethod
    def of_fields(cls, fields: "TaskFields") -> "Task":
        """The task that a file describes."""
        # An older file does not say it: enhancement shows after contrast agent only.
        unsaid: Mapping[str, tuple[str, ...]] = ENHANCEMENT if "t1c" in fields.modalities else {}
        shown_by = unsaid if fields.shown_by is None else fields.shown_by
        return cls(
            name=fields.name,
            modalities=fields.modalities,
            titles=fields.titles,
            aliases=fields.aliases,
            labels=fields.labels,
            regions=fields.regions,
            painting=fields.painting,
            conventions=fields.conventions,
            shown_by={region: modalities for region, modalities in shown_by.items() if region in fields.regions},
        )


GLIOMA = Task(
    name="glioma",
    modalities=("t1n", "t1c", "t2w", "t2f"),
    titles={
        "t1n": "T1",
        "t1c": "T1ce",
        "t2w": "T2",
        "t2f": "FLAIR",
        "wt": "whole tumour",
        "tc": "tumour core",
        "et": "enhancing tumour",
    },
    aliases={
        "t1": "t1n",
        "t1w": "t1n",
        "t1pre": "t1n",
        "t1ce": "t1c",
        "t1gd": "t1c",
        "t1post": "t1c",
        "t1gad": "t1c",
        "t1+c": "t1c",
        "ce-t1": "t1c",
        "t1contrast": "t1c",
        "t2": "t2w",
        "flair": "t2f",
        "t2flair": "t2f",
        "t2-flair": "t2f",
        "fla": "t2f",
    },
    labels={"necrotic_core": 1, "oedema": 2, "enhancing": 3},
    regions={"wt": (1, 2, 3), "tc": (1, 3), "et": (3,)},
    painting=(("wt", 2), ("tc", 1), ("et", 3)),
    conventions={
        "brats2013": {0: 0, 1: 1, 2: 2, 3: 1, 4: 3},
        "brats2018": {0: 0, 1: 1, 2: 2, 4: 3},
        "brats2023": {0: 0, 1: 1, 2: 2, 3: 3},
        "brats2024": {0: 0, 1: 1, 2: 2, 3: 3, 4: 0},
        "nnunet": {0: 0, 1: 2, 2: 1, 3: 3},
    },
    shown_by=ENHANCEMENT,
)
"""Adult glioma from T1, T1ce, T2 and FLAIR, with the regions of BraTS."""

METS = replace(
    GLIOMA,
    name="mets",
    titles={**GLIOMA.titles, "wt": "whole metastases", "tc": "metastasis core", "et": "enhancing metastases"},
    conventions={name: GLIOMA.conventions[name] for name in ("brats2023", "brats2024")},
)
"""Brain metastases from the same sequences, with the regions and labels of BraTS-METS: 1 non-enhancing core, 2 oedema
(SNFH), 3 enhancing; 4, where there is one, is a resection cavity.

A network trained for one of the two tasks can be used for the other: modalities and regions are the same.
"""

BUILT_IN = (GLIOMA, METS)


def get_task(name: str) -> Task:
    """A built-in task by name, or one's own from a JSON file in the form of `Task.to_json`.

    Raises:
        UsageError: neither a built-in name nor a readable file with every field.
    """
    for task in BUILT_IN:
        if name == task.name:
            return task
    if not is_file(Path(name)):
        known = [task.name for task in BUILT_IN]
        raise UsageError(
            f"no task {shown(name)}{nearest(name, known)}; built in: {', '.join(known)}; otherwise name a JSON file"
        )
    return Task.from_json(read_json(Path(name), UsageError, _SEE_TO_JSON), name)
