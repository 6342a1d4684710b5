"""From candidates to one scan per modality: header and image are weighed against each other, then the best of several
is taken, with reasons."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lacunet.case import Grid, ImageFile
from lacunet.data.sequences import OTHER, T1
from lacunet.data.volume import read_image
from lacunet.intake.found import DicomSource, Facts, LeftOut, Scan
from lacunet.intake.identify.cautions import Subject
from lacunet.intake.identify.classify import FLAIR, T1_FAMILY, Opinion, compared, contradiction, described, settled
from lacunet.intake.identify.clues import (
    FAIR,
    SURE,
    UNKNOWN,
    WEAK,
    Clues,
    Guess,
    with_agent_by_order,
    without_agent,
)
from lacunet.intake.identify.features import features
from lacunet.task import Task

IMAGE_ALONE = 0.9
"""From this confidence on, the image decides the sequence where the header does not."""

WHOLE_HEAD_MM = 100.0
"""A stack that covers less than this is chosen only where there is no other."""

NEARLY_CUBES = 1.7
"""A scan whose voxels have a longest side of at most this many times the shortest counts as acquired in 3-D."""


@dataclass(frozen=True)
class Candidate:
    """A converted series or file that may be one of the sequences."""

    key: str
    label: str
    path: Path
    grid: Grid
    clues: Clues
    guess: Guess
    facts: Facts
    derived: bool = False
    warnings: tuple[str, ...] = ()
    dicom: DicomSource | None = None
    forced: str | None = None
    subject: Subject = field(default_factory=Subject)


@dataclass(frozen=True)
class Chosen:
    """The scans of one visit, and the candidates that are not used."""

    scans: Mapping[str, Scan]
    left_out: tuple[LeftOut, ...]


def choose(candidates: Sequence[Candidate], task: Task) -> Chosen:
    """Judge each candidate by its header, its study and its image, then take the best for each modality."""
    images = [read_image(ImageFile(one.path))[0] for one in candidates]
    numbers = [features(image, one.grid) for image, one in zip(images, candidates, strict=True)]
    prints = [_fingerprint(image, one.grid) for image, one in zip(images, candidates, strict=True)]
    del images
    guesses = with_agent_by_order([one.guess for one in candidates], [one.clues for one in candidates])
    said = [one.forced or guessed.modality for one, guessed in zip(candidates, guesses, strict=True)]
    alone = compared(numbers, known_t1=[k for k, modality in enumerate(said) if modality in (T1, *T1_FAMILY)])
    by_header = [FLAIR if one.modality == FLAIR else name for one, name in zip(guesses, said, strict=True)]
    opinions = settled(by_header, alone)
    weighed: list[Candidate] = []
    left_out: list[LeftOut] = []
    seen: dict[str, Candidate] = {}
    for one, guessed, opinion, print_ in zip(candidates, guesses, opinions, prints, strict=True):
        if print_ in seen and one.forced is None:
            left_out.append(LeftOut(one.label, f"is a copy of {seen[print_].label}, voxel by voxel"))
            continue
        seen.setdefault(print_, one)
        final = forced(one, opinion, task) if one.forced else weigh(guessed, opinion, task)
        if final.modality in task.modalities:
            weighed.append(replace(one, guess=final, warnings=(*one.warnings, *final.warnings)))
        else:
            left_out.append(LeftOut(one.label, final.reason))
    scans = {}
    for modality in task.modalities:
        if rivals := [one for one in weighed if one.guess.modality == modality]:
            best, reason, others = _best(rivals)
            scans[modality] = _scan(best, modality, reason)
            left_out += others
    return Chosen(scans, tuple(left_out))


def _fingerprint(image: np.ndarray, grid: Grid) -> str:
    position = np.round(grid.affine, 2).tobytes()
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes() + position, digest_size=16).hexdigest()


def _scan(one: Candidate, modality: str, why_it: str) -> Scan:
    reason = f"{one.guess.reason}; {why_it}" if why_it else one.guess.reason
    return Scan(
        path=one.path,
        modality=modality,
        label=one.label,
        reason=reason,
        confidence=round(one.guess.confidence, 2),
        facts=one.facts,
        warnings=one.warnings,
        dicom=one.dicom,
    )


# ---------------------------------------------------------------- header and image


def forced(one: Candidate, opinion: Opinion, task: Task) -> Guess:
    """The modality that the user gave; a contradiction by the image becomes a warning."""
    assert one.forced is not None
    looks = contradiction(one.forced, opinion)
    warning = (f"given as {task.titles[one.forced]}, looks like {described(looks, task)}",) if looks else ()
    return Guess(one.forced, f"given as {task.titles[one.forced]} by the user", 1.0, warning)


def weigh(guess: Guess, opinion: Opinion, task: Task) -> Guess:
    """The modality by header and image together.

    A header that names the sequence decides, and a contradiction by the image becomes a warning. Where the header names
    none or contradicts itself, a confident image decides. Where neither is sure, the answer is "unknown".
    """
    if guess.modality == OTHER:
        return guess
    if guess.modality == UNKNOWN:
        return _by_image(guess, opinion, task)
    if guess.modality == T1:
        return _t1_by_image(guess, opinion, task)
    if opinion.modality == guess.modality or (
        opinion.family == "t1" and guess.modality in T1_FAMILY and _open(opinion)
    ):
        agrees = "the image agrees" if opinion.modality == guess.modality else "the image shows T1"
        confidence = SURE if opinion.modality == guess.modality and guess.confidence >= FAIR else guess.confidence
        return replace(guess, reason=f"{guess.reason}; {agrees}", confidence=max(confidence, guess.confidence))
    if guess.confidence <= WEAK and opinion.modality in task.modalities and opinion.confidence >= IMAGE_ALONE:
        reason = f"the image looks like {task.titles[opinion.modality]}, while {guess.reason}"
        return Guess(opinion.modality, reason, FAIR, guess.warnings)
    if looks := contradiction(guess.modality, opinion):
        if _refuted(guess, looks):
            return replace(guess, reason=f"{guess.reason}; {_in_spite_of(looks, task)}")
        warning = f"labelled {task.titles[guess.modality]}, looks like {described(looks, task)}"
        return replace(guess, confidence=WEAK, warnings=(*guess.warnings, warning))
    return replace(guess, reason=f"{guess.reason}; the image does not tell")


def _refuted(guess: Guess, looks: str) -> bool:
    """Whether words and numbers of the header agree, and exclude what the image looks like. Contrast agent changes
    neither TR nor TE nor TI, so they say nothing of it."""
    family = (T1, *T1_FAMILY)
    return guess.confidence >= SURE and not (guess.modality in family and looks in family)


def _in_spite_of(looks: str, task: Task) -> str:
    return f"the image looks like {described(looks, task)}, which TR and TE exclude"


def _open(opinion: Opinion) -> bool:
    return opinion.modality == UNKNOWN


def _by_image(guess: Guess, opinion: Opinion, task: Task) -> Guess:
    if opinion.family == "t1" and opinion.confidence < IMAGE_ALONE:
        return without_agent(Guess(T1, f"{guess.reason}; the image looks like T1", WEAK))
    if opinion.modality in task.modalities and opinion.confidence >= IMAGE_ALONE:
        looks = f"the image looks like {task.titles[opinion.modality]} ({opinion.confidence:.0%} sure)"
        return Guess(opinion.modality, f"{guess.reason}; {looks}", FAIR)
    return replace(guess, reason=f"{guess.reason}, and the image is not clear enough")


def _t1_by_image(guess: Guess, opinion: Opinion, task: Task) -> Guess:
    """For T1 by its header, without information about contrast agent."""
    if opinion.modality in T1_FAMILY:
        shows = "shows contrast agent" if opinion.modality == "t1c" else "shows no contrast agent"
        reason = (
            f"{guess.reason}; nothing is said of contrast agent, and the image {shows} ({opinion.confidence:.0%} sure)"
        )
        return Guess(opinion.modality, reason, min(guess.confidence, FAIR), guess.warnings)
    looks = contradiction("t1n", opinion)
    if looks and _refuted(guess, looks):
        return without_agent(replace(guess, reason=f"{guess.reason}; {_in_spite_of(looks, task)}"))
    if looks:
        if guess.confidence <= WEAK and looks in task.modalities:
            return Guess(
                looks, f"the image looks like {task.titles[looks]}, while {guess.reason}", FAIR, guess.warnings
            )
        warning = f"labelled T1, looks like {described(looks, task)}"
        return without_agent(replace(guess, warnings=(*guess.warnings, warning)))
    return without_agent(guess)


# ---------------------------------------------------------------- the best of several


@dataclass(frozen=True)
class Criterion:
    """What makes one candidate better than another: a value (larger is better), words, and the relative difference that
    still counts as equal."""

    value: Callable[[Candidate], float]
    words: Callable[[Candidate, Candidate], str]
    equal: float = 0.0


def _best(rivals: Sequence[Candidate]) -> tuple[Candidate, str, list[LeftOut]]:
    """The best, why it was chosen, and why each of the others was not."""
    best = rivals[0]
    for rival in rivals[1:]:
        best = rival if _compare(rival, best)[0] > 0 else best
    others, reasons = [], []
    for rival in rivals:
        if rival is not best:
            why = _compare(best, rival)[1]
            others.append(LeftOut(rival.label, f"{best.label} is taken for this sequence instead: {why}"))
            reasons.append(f"{rival.label}: {why}")
    return best, f"chosen over {'; '.join(reasons)}" if reasons else "", others


def _compare(one: Candidate, other: Candidate) -> tuple[int, str]:
    """1 where `one` is better, -1 where the other is, and why; never 0, since keys differ."""
    for criterion in _CRITERIA:
        a, b = criterion.value(one), criterion.value(other)
        if abs(a - b) > criterion.equal * max(abs(a), abs(b)):
            return (1, criterion.words(one, other)) if a > b else (-1, criterion.words(other, one))
    return (-1, "it comes first") if one.key > other.key else (1, "it comes first")


def _longest(one: Candidate) -> float:
    return max(one.grid.spacing)


def _coverage(one: Candidate) -> float:
    return min(size * step for size, step in zip(one.grid.shape, one.grid.spacing, strict=True))


def _is_3d(one: Candidate) -> bool:
    return bool(one.facts.three_d) or _longest(one) <= NEARLY_CUBES * min(one.grid.spacing)


def _mm(number: float) -> str:
    return f"{number:.2g} mm"


def _when(one: Candidate) -> float:
    return one.clues.time or 0.0


_CRITERIA = (
    Criterion(lambda one: one.forced is not None, lambda one, other: "the user gave it"),
    Criterion(lambda one: not one.derived, lambda one, other: "it is original, the other was calculated"),
    Criterion(lambda one: _coverage(one) >= WHOLE_HEAD_MM, lambda one, other: "it covers the whole head"),
    Criterion(lambda one: one.dicom is None or one.dicom.even, lambda one, other: "none of its slices is missing"),
    Criterion(lambda one: one.guess.confidence >= FAIR, lambda one, other: "its sequence is surer"),
    Criterion(_is_3d, lambda one, other: "acquired in 3-D rather than in slices"),
    Criterion(
        lambda one: 1.0 / _longest(one),
        lambda one, other: f"finer ({_mm(_longest(one))} voxels against {_mm(_longest(other))})",
        equal=0.08,
    ),
    Criterion(lambda one: 1.0 / float(np.prod(one.grid.spacing)), lambda one, other: "finer in its plane", equal=0.15),
    Criterion(_when, lambda one, other: "acquired later"),
)
