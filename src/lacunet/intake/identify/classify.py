"""Which sequence an image shows, by its voxels: a few small networks over `features`, in plain numpy, shipped with the
package.

`scripts/release/train_identity.py` made the weights (`identity.safetensors`, `identity.json`) and prints how often they
are right; docs/import.md has the numbers. "unknown" is an answer too: it is given below a confidence fixed in training.

One scan alone shows little difference between T1 before and after contrast agent. Where a study has several T1 scans,
they are compared with each other (`compared`): vessels, mucosa and perhaps a tumour are brighter in the later one.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load

from lacunet.case import Grid
from lacunet.data.sequences import T1
from lacunet.intake.identify.clues import UNKNOWN
from lacunet.intake.identify.features import features
from lacunet.task import Task

T1_FAMILY = ("t1n", "t1c")
FLAIR = "t2f"

Numbers = Float[np.ndarray, " feature"]


@dataclass(frozen=True)
class Opinion:
    """Which sequence an image looks like.

    Attributes:
        modality: `t1n`, `t1c`, `t2w`, `t2f`, `other` (no sequence that lacunet uses) or `unknown` (not sure).
        confidence: Of the likeliest class, 0..1, calibrated on scans that the networks were not trained on.
        probabilities: By class; they add up to 1. Empty where too little of the head is visible.
        family: As `modality`, but `t1` where it is surely T1, even if contrast agent is not sure.
    """

    modality: str
    confidence: float
    probabilities: Mapping[str, float]
    family: str = UNKNOWN


@dataclass(frozen=True)
class Classifier:
    """The shipped networks.

    Attributes:
        classes: In the order of the networks' outputs.
        mean: Mean of each feature in training.
        scale: Standard deviation of each feature in training.
        layers: Weights and biases, member by member: `(member, out, in)` and `(member, out)` for each layer.
        pair: Weight of each scaled feature's difference for "the first is after contrast agent, the second before".
        temperature: Divides the logits; fixed on scans left out of training.
        least_confidence: Below it, the answer is "unknown".
        sure: From this confidence on, a contradiction becomes a warning.
    """

    classes: tuple[str, ...]
    mean: Numbers
    scale: Numbers
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    pair: Numbers
    temperature: float
    least_confidence: float
    sure: float

    def scaled(self, numbers: Numbers) -> Numbers:
        """Features scaled to mean 0 and standard deviation 1 in training, clipped to -5 ... 5."""
        return np.asarray(((numbers - self.mean) / self.scale).clip(-5.0, 5.0), dtype=np.float32)

    def probabilities(self, numbers: Numbers) -> dict[str, float]:
        """The probability of each class: the mean over the networks."""
        hidden = np.repeat(self.scaled(numbers)[None], len(self.layers[0][0]), axis=0)
        for weight, bias in self.layers[:-1]:
            hidden = np.maximum(np.einsum("moi,mi->mo", weight, hidden) + bias, 0.0)
        weight, bias = self.layers[-1]
        logits = (np.einsum("moi,mi->mo", weight, hidden) + bias) / self.temperature
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        mean = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0)
        return {name: float(value) for name, value in zip(self.classes, mean, strict=True)}

    def later(self, first: Numbers, second: Numbers) -> float:
        """Probability that, of two T1 scans of a person, the first is the one after contrast agent. Antisymmetric."""
        return float(1.0 / (1.0 + np.exp(-self.pair @ (self.scaled(first) - self.scaled(second)))))

    def opinion(self, probabilities: Mapping[str, float]) -> Opinion:
        """The opinion that follows from probabilities: the likeliest class, or "unknown"."""
        best = max(probabilities, key=lambda name: probabilities[name])
        confidence = probabilities[best]
        modality = best if confidence >= self.least_confidence else UNKNOWN
        t1 = sum(probabilities[name] for name in T1_FAMILY)
        return Opinion(modality, confidence, probabilities, T1 if t1 >= self.least_confidence else modality)


@cache
def classifier() -> Classifier:
    """The networks that are shipped with the package."""
    folder = files("lacunet.intake.identify")
    said = json.loads(folder.joinpath("identity.json").read_text(encoding="utf-8"))
    arrays = load(folder.joinpath("identity.safetensors").read_bytes())
    count = sum(name.startswith("weight") for name in arrays)
    return Classifier(
        classes=tuple(said["classes"]),
        mean=arrays["mean"],
        scale=arrays["scale"],
        layers=tuple((arrays[f"weight{k}"], arrays[f"bias{k}"]) for k in range(count)),
        pair=arrays["pair"],
        temperature=said["temperature"],
        least_confidence=said["least_confidence"],
        sure=said["sure"],
    )


NOTHING_TO_SEE = Opinion(UNKNOWN, 0.0, {})
"""The opinion on an image that shows too little of the head."""


def compared(
    numbers: Sequence[Numbers | None], judge: Classifier | None = None, known_t1: Collection[int] = ()
) -> list[Opinion]:
    """Opinions on the images of one study, from their features (None: too little of the head).

    Where there are two or more T1 scans, whether contrast agent was given is decided by comparison alone: the one
    with the brightest vessels with the one with the darkest, the others with both. Where the comparison is not sure,
    the answer is "unknown".

    Args:
        numbers: Features of each image.
        judge: The networks; None: the shipped ones.
        known_t1: Indices of images that are T1 by header or name; compared unless they surely look like another.
    """
    judge = judge or classifier()
    opinions = [NOTHING_TO_SEE if one is None else judge.opinion(judge.probabilities(one)) for one in numbers]
    seen: dict[int, Numbers] = {}
    for k, (one, opinion) in enumerate(zip(numbers, opinions, strict=True)):
        plainly_another = opinion.family not in (T1, UNKNOWN) and opinion.confidence >= judge.sure
        if one is not None and (opinion.family == T1 or (k in known_t1 and not plainly_another)):
            seen[k] = one
    order = sorted(seen, key=lambda k: float(judge.pair @ judge.scaled(seen[k])))
    if len(order) < 2:
        return opinions
    low, high = seen[order[0]], seen[order[-1]]
    for k in order:
        after, before = judge.later(seen[k], low), judge.later(high, seen[k])
        chance = after if k == order[-1] else 1.0 - before if k == order[0] else after / (after + before)
        opinions[k] = _as_t1(opinions[k], chance, judge, whole=k in known_t1)
    return opinions


def _as_t1(opinion: Opinion, after: float, judge: Classifier, whole: bool) -> Opinion:
    """The opinion with its probability of T1 divided anew: the share `after` of it is `t1c`. With `whole`, all of the
    probability is T1."""
    share = 1.0 if whole else sum(opinion.probabilities[name] for name in T1_FAMILY)
    dealt = {**opinion.probabilities} if not whole else dict.fromkeys(opinion.probabilities, 0.0)
    return judge.opinion({**dealt, "t1c": share * after, "t1n": share * (1.0 - after)})


def settled(said: Sequence[str], opinions: Sequence[Opinion]) -> list[Opinion]:
    """The opinions of one study, without those that only the study as a whole refutes.

    T1 with dark fluid and little contrast, in thick slices, can look like FLAIR. Where another scan is FLAIR by its
    label and by its image, nothing is said of a scan that is labelled T1 and looks like FLAIR too. Labels that were
    exchanged are still told, since the scan that is labelled FLAIR does not look like it.

    Args:
        said: The modality of each scan by its label.
        opinions: By its image alone.
    """
    there = any(name == FLAIR == opinion.modality for name, opinion in zip(said, opinions, strict=True))
    return [
        NOTHING_TO_SEE if there and name in (T1, *T1_FAMILY) and opinion.modality == FLAIR else opinion
        for name, opinion in zip(said, opinions, strict=True)
    ]


def contradictions(images: Mapping[str, np.ndarray], grid: Grid, task: Task, known: Collection[str] = ()) -> list[str]:
    """Sentences such as "labelled T2, looks like FLAIR", for scans that surely show another sequence than their label.

    Args:
        images: By modality, as `Case.images`.
        grid: Of all of them.
        task: Knows the titles of modalities.
        known: Modalities that import has judged, with header and words; nothing more is said of them.
    """
    if all(modality in known for modality in images):
        return []
    numbers = {modality: features(image, grid) for modality, image in images.items()}
    return contradictions_of(numbers, task, known)


def contradictions_of(numbers: Mapping[str, Numbers | None], task: Task, known: Collection[str] = ()) -> list[str]:
    """As `contradictions`, from features."""
    known_t1 = [k for k, modality in enumerate(numbers) if modality in T1_FAMILY]
    seen = settled(list(numbers), compared(list(numbers.values()), known_t1=known_t1))
    opinions = dict(zip(numbers, seen, strict=True))
    told = []
    for modality, opinion in opinions.items():
        if modality not in known and (looks := contradiction(modality, opinion)):
            told.append(f"labelled {task.titles[modality]}, looks like {described(looks, task)}")
    return told


def contradiction(modality: str, opinion: Opinion, judge: Classifier | None = None) -> str | None:
    """The class that an image surely shows instead of `modality`: one of the modalities, `t1` or `other`; else None."""
    if modality not in opinion.probabilities:
        return None
    judge = judge or classifier()
    if opinion.probabilities[modality] > 1.0 - judge.sure:
        return None
    if opinion.confidence >= judge.sure:
        return opinion.modality
    t1 = sum(opinion.probabilities[name] for name in T1_FAMILY)
    return T1 if t1 >= judge.sure and modality not in T1_FAMILY else None


def described(looks: str, task: Task) -> str:
    """The name of a class in a sentence."""
    if looks == T1:
        return "T1 (with or without contrast agent)"
    return task.titles.get(looks, "no T1, T2 or FLAIR")
