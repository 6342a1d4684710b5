"""From candidates to one scan per modality: header and image are weighed against each other, then the best of several
is taken, with reasons."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lacunet.case import Grid, ImageFile
from lacunet.data.content import why_no_scan
from lacunet.data.sequences import OTHER, T1
from lacunet.data.volume import read_image
from lacunet.errors import DataError
from lacunet.intake.found import DicomSource, Facts, LeftOut, Scan
from lacunet.intake.identify.cautions import Subject
from lacunet.intake.identify.classify import FLAIR, T1_FAMILY, Opinion, compared, contradiction, described, settled
from lacunet.intake.identify.clues import (
    FAIR,
    GOOD,
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
"""From this confidence on, the image decides the sequence, or whether contrast agent was given, where the header does
not."""

WHOLE_HEAD_MM = 100.0
"""A stack that covers less than this is chosen only where there is no other."""

NEARLY_CUBES = 1.7
"""A scan whose voxels have a longest side of at most this many times the shortest counts as acquired in 3-D."""


ALIKE = 0.1
"""TR, TE and TI that differ by at most this share of the larger are those of one kind of scan."""


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
    inputs: tuple[Path, ...] = field(default=(), repr=False)
    subject: Subject = field(default_factory=Subject)


@dataclass(frozen=True)
class Chosen:
    """The scans of one visit, and the candidates that are not used."""

    scans: Mapping[str, Scan]
    left_out: tuple[LeftOut, ...]


def choose(candidates: Sequence[Candidate], task: Task) -> Chosen:
    """Judge each candidate by its header, its study and its image, then take the best for each modality."""
    candidates, images, left_out = _without_masks(candidates, task)
    numbers = [features(image, one.grid) for image, one in zip(images, candidates, strict=True)]
    prints = [_fingerprint(image, one.grid) for image, one in zip(images, candidates, strict=True)]
    del images
    guesses = with_agent_by_order([one.guess for one in candidates], [one.clues for one in candidates])
    said = [one.forced or guessed.modality for one, guessed in zip(candidates, guesses, strict=True)]
    alone = compared(numbers, known_t1=[k for k, modality in enumerate(said) if modality in (T1, *T1_FAMILY)])
    by_header = [FLAIR if one.modality == FLAIR else name for one, name in zip(guesses, said, strict=True)]
    opinions = settled(by_header, alone)
    weighed: list[Candidate] = []
    seen: dict[str, Candidate] = {}
    for one, guessed, opinion, print_ in zip(candidates, guesses, opinions, prints, strict=True):
        if print_ in seen and one.forced is None:
            left_out.append(LeftOut(one.label, f"is a copy of {seen[print_].label}, voxel by voxel"))
            continue
        seen.setdefault(print_, one)
        weighed.append(replace(one, guess=forced(one, opinion, task) if one.forced else weigh(guessed, opinion, task)))
    sure = decided(weighed)
    left_out += [LeftOut(one.label, one.guess.reason) for one in sure if one.guess.modality not in task.modalities]
    scans = {}
    for modality in task.modalities:
        if rivals := [one for one in sure if one.guess.modality == modality]:
            best = best_of(rivals, modality)
            scans[modality] = _scan(best.candidate, modality, best.reason)
            left_out += best.others
    return Chosen(scans, tuple(left_out))


def _without_masks(
    candidates: Sequence[Candidate], task: Task
) -> tuple[list[Candidate], list[np.ndarray], list[LeftOut]]:
    """The candidates that may be scans by their voxels, their images, and the others with their reasons.

    Raises:
        DataError: the user gave a mask for a sequence.
    """
    kept, images, left_out = [], [], []
    for one in candidates:
        image = read_image(ImageFile(one.path))[0]
        reason = why_no_scan(image, one.grid)
        if reason is None:
            kept.append(one)
            images.append(image)
        elif one.forced:
            raise DataError(f"{one.label}: given as {task.titles[one.forced]}, but it {reason}")
        else:
            left_out.append(LeftOut(one.label, reason))
    return kept, images, left_out


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
        warnings=(*one.warnings, *one.guess.warnings),
        dicom=one.dicom,
        inputs=one.inputs,
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
    none or contradicts itself, a confident image decides. Where neither is sure, the answer is "unknown", or `t1` where
    only contrast agent is not decided.
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
    both_t1 = guess.modality in T1_FAMILY and opinion.modality in T1_FAMILY
    if (
        guess.confidence <= WEAK
        and opinion.modality in task.modalities
        and opinion.confidence >= IMAGE_ALONE
        and not both_t1
    ):
        reason = f"the image looks like {task.titles[opinion.modality]}, while {guess.reason}"
        return Guess(opinion.modality, reason, FAIR, (*guess.warnings, *_by_image_alone(opinion, task)))
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
    if opinion.modality in task.modalities and opinion.confidence >= IMAGE_ALONE:
        looks = f"the image looks like {task.titles[opinion.modality]} ({opinion.confidence:.0%} sure)"
        return Guess(opinion.modality, f"{guess.reason}; {looks}", FAIR, _by_image_alone(opinion, task))
    if opinion.family == T1:
        return _without_word(Guess(T1, f"{guess.reason}; the image looks like T1", WEAK), opinion)
    return replace(guess, reason=f"{guess.reason}, and the image is not clear enough")


def _by_image_alone(opinion: Opinion, task: Task) -> tuple[str, ...]:
    """A warning where the image alone says that contrast agent was given."""
    if opinion.modality != "t1c":
        return ()
    return (
        f"nothing says that contrast agent was given; taken as {task.titles['t1c']} by the image alone "
        f"({opinion.confidence:.0%} sure)",
    )


def _t1_by_image(guess: Guess, opinion: Opinion, task: Task) -> Guess:
    """For T1 by its header, without information about contrast agent."""
    if opinion.modality in T1_FAMILY and opinion.confidence >= IMAGE_ALONE:
        shows = "shows contrast agent" if opinion.modality == "t1c" else "shows no contrast agent"
        reason = (
            f"{guess.reason}; nothing is said of contrast agent, and the image {shows} ({opinion.confidence:.0%} sure)"
        )
        warnings = (*guess.warnings, *_by_image_alone(opinion, task))
        return replace(
            guess, modality=opinion.modality, reason=reason, confidence=min(guess.confidence, FAIR), warnings=warnings
        )
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
    return _without_word(guess, opinion)


def _without_word(found: Guess, opinion: Opinion) -> Guess:
    """A T1 scan of which nothing says whether contrast agent was given, and of which the image is not sure: before it,
    with a warning; undecided (`t1`) where the image tends to the contrary."""
    if opinion.modality != "t1c":
        return without_agent(found)
    reason = (
        f"{found.reason}; nothing says whether contrast agent was given, and the image is not sure "
        f"({opinion.confidence:.0%} for after it)"
    )
    return replace(found, modality=T1, reason=reason, confidence=min(found.confidence, WEAK))


def decided(weighed: Sequence[Candidate]) -> list[Candidate]:
    """Undecided T1 scans become T1 before contrast agent, with a warning, where there is no other T1; else their
    sequence is unknown."""
    alone = not any(one.guess.modality in T1_FAMILY for one in weighed)
    return [_settle(one, alone) if one.guess.modality == T1 else one for one in weighed]


def _settle(one: Candidate, alone: bool) -> Candidate:
    if not alone:
        reason = f"{one.guess.reason}; --t1c or --t1n says which it is"
        return replace(one, guess=replace(one.guess, modality=UNKNOWN, reason=reason))
    warning = (
        "nothing says whether contrast agent was given, and the image is not sure; taken as T1 before contrast agent; "
        "if it is after it, say so with --t1c"
    )
    guess = replace(one.guess, modality="t1n", warnings=(*one.guess.warnings, warning))
    return replace(one, guess=guess)


# ---------------------------------------------------------------- the best of several


@dataclass(frozen=True)
class Criterion:
    """What makes one candidate better than another: a value (larger is better), words, and the relative difference that
    still counts as equal."""

    value: Callable[[Candidate], float]
    words: Callable[[Candidate, Candidate], str]
    equal: float = 0.0


@dataclass(frozen=True)
class Best:
    """The candidate that is taken for a sequence.

    Attributes:
        candidate: With a warning where nothing decides between it and another of a different kind.
        reason: Why it was chosen; "" where it is the only one.
        others: Why each of the others was not.
    """

    candidate: Candidate
    reason: str
    others: tuple[LeftOut, ...]


def best_of(rivals: Sequence[Candidate], modality: str) -> Best:
    """The best of the candidates for a modality."""
    best = rivals[0]
    for rival in rivals[1:]:
        best = rival if _compare(rival, best)[0] > 0 else best
    others, reasons, doubts = [], [], []
    for rival in rivals:
        if rival is not best:
            why = _compare(best, rival)[1]
            others.append(LeftOut(rival.label, f"{best.label} is taken for this sequence instead: {why}"))
            reasons.append(f"{rival.label}: {why}")
            doubts += [_doubt(best, rival, modality)] if why == FIRST_OF_UNLIKE else []
    reason = f"chosen over {'; '.join(reasons)}" if reasons else ""
    return Best(replace(best, warnings=(*best.warnings, *doubts)), reason, tuple(others))


FIRST_OF_UNLIKE = "it comes first; nothing else decides"
FIRST_OF_ALIKE = "both are alike, and it comes first"


def _doubt(best: Candidate, rival: Candidate, modality: str) -> str:
    return (
        f"{best.label} and {rival.label} differ, and nothing decides which is better; the first is taken, "
        f"--{modality} chooses the other"
    )


def _compare(one: Candidate, other: Candidate) -> tuple[int, str]:
    """1 where `one` is better, -1 where the other is, and why; never 0, since keys differ."""
    for criterion in _CRITERIA:
        a, b = criterion.value(one), criterion.value(other)
        if abs(a - b) > criterion.equal * max(abs(a), abs(b)):
            return (1, criterion.words(one, other)) if a > b else (-1, criterion.words(other, one))
    why = FIRST_OF_ALIKE if _alike(one, other) else FIRST_OF_UNLIKE
    return (-1, why) if _in_order(one) > _in_order(other) else (1, why)


def _in_order(one: Candidate) -> tuple[tuple[int, str], ...]:
    """A key as people count: 4, 4a, 4b, 10."""
    parts = re.findall(r"\d+|\D+", one.key)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def _alike(one: Candidate, other: Candidate) -> bool:
    """Whether two scans are of one kind: the same words, the same numbers of the scanner, slices in one direction."""
    same = all(
        a is None or b is None or abs(a - b) <= ALIKE * max(abs(a), abs(b))
        for a, b in (
            (one.clues.repetition, other.clues.repetition),
            (one.clues.echo, other.clues.echo),
            (one.clues.inversion, other.clues.inversion),
        )
    )
    return same and one.facts.words == other.facts.words and _across(one) == _across(other)


def _across(one: Candidate) -> int | None:
    """The axis of the body (0 right, 1 anterior, 2 superior) that the slices are stacked along; None for cubes."""
    if _longest(one) <= NEARLY_CUBES * min(one.grid.spacing):
        return None
    column = one.grid.affine[:3, int(np.argmax(one.grid.spacing))]
    return int(np.argmax(np.abs(column)))


def _is_original(one: Candidate) -> bool:
    return not (one.derived or one.guess.calculated or one.clues.image_type[:1] == ("DERIVED",))


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
    Criterion(_is_original, lambda one, other: "it is original, the other was calculated"),
    Criterion(lambda one: _coverage(one) >= WHOLE_HEAD_MM, lambda one, other: "it covers the whole head"),
    Criterion(lambda one: one.dicom is None or one.dicom.even, lambda one, other: "none of its slices is missing"),
    Criterion(lambda one: one.guess.confidence >= GOOD, lambda one, other: "its sequence is surer"),
    Criterion(_is_3d, lambda one, other: "acquired in 3-D rather than in slices"),
    Criterion(
        lambda one: 1.0 / _longest(one),
        lambda one, other: f"finer ({_mm(_longest(one))} voxels against {_mm(_longest(other))})",
        equal=0.08,
    ),
    Criterion(lambda one: 1.0 / float(np.prod(one.grid.spacing)), lambda one, other: "finer in its plane", equal=0.15),
    Criterion(_when, lambda one, other: "acquired later"),
)
