"""Which sequence a series is, by its header, sidecar or file name. Every answer has a reason; it may be "unknown".

Two sources are judged separately: words (descriptions and names, typed by people, in many languages) and numbers (TR,
TE, TI and the kind of pulse sequence, written by the scanner). Where they disagree, clear numbers decide, and there is
a warning. Contrast agent has three sources: words, the header's `ContrastBolusAgent`, and the order in time within a
study.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lacunet.data.agent import says_agent
from lacunet.data.sequences import OTHER, T1, sequence_named
from lacunet.data.words import has
from lacunet.intake.identify.image_type import kind_by_types
from lacunet.task import Task

UNKNOWN = "unknown"
SURE, GOOD, FAIR, WEAK = 0.98, 0.9, 0.8, 0.6


@dataclass(frozen=True)
class Clues:
    """What is known about an image without its voxels. Times in ms.

    Attributes:
        texts: Description, protocol, sequence name or file name, unchanged; never shown.
        role: The modality by a known naming scheme (BraTS, BIDS), `t1` where it does not tell contrast agent, or None.
        agent: Whether contrast agent was given by the header; None: the header does not say.
        time: When it was acquired, as a number that sorts the images of a study.
        image_type: ImageType and the like, in capitals.
    """

    texts: tuple[str, ...]
    role: str | None = None
    repetition: float | None = None
    echo: float | None = None
    inversion: float | None = None
    flip: float | None = None
    sequence: tuple[str, ...] = ()
    agent: bool | None = None
    time: float | None = None
    image_type: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guess:
    """The sequence that clues point to.

    Attributes:
        modality: `t1n`, `t1c`, `t2w`, `t2f`, `t1` (contrast agent not known), `other` or `unknown`.
        reason: One sentence without its full stop: "its description says T2 FLAIR, and TI 2500 ms with TR 9000 ms
        agree".
        confidence: 0..1.
        warnings: Contradictions.
        calculated: Whether it was calculated from other images although it is weighted like the sequence.
    """

    modality: str
    reason: str
    confidence: float
    warnings: tuple[str, ...] = ()
    calculated: bool = False


_DUAL_ECHO = r"\bpd\W*t2|\bt2\W*pd|dual ?echo"


def guess(clues: Clues, task: Task) -> Guess:
    """The sequence of one image by its words and its numbers, first each alone, then together."""
    if kind := kind_by_types(clues.image_type):
        return Guess(OTHER, kind, SURE)
    said = by_words(clues.texts) if clues.role is None else _by_role(clues.role, task)
    measured = by_numbers(clues)
    if said is not None and said.modality == OTHER:
        second_echo = measured is not None and measured.modality == "t2w" and has(clues.texts, _DUAL_ECHO)
        return replace(measured, confidence=FAIR) if second_echo and measured is not None else said
    if said is None and measured is None:
        return Guess(UNKNOWN, "neither words nor numbers in its header tell the sequence", 0.0)
    if said is None:
        assert measured is not None
        return _with_agent(measured, clues)
    if measured is None:
        return _with_agent(said, clues)
    return _with_agent(_together(said, measured, task), clues)


def _together(said: Guess, measured: Guess, task: Task) -> Guess:
    family = T1 if said.modality in ("t1n", "t1c") else said.modality
    if family == measured.modality:
        return replace(said, reason=f"{said.reason}, and {measured.reason}", confidence=SURE)
    warning = f"{said.reason}, but {measured.reason}, as for {_title(measured.modality, task)}"
    if measured.confidence >= GOOD:
        return Guess(measured.modality, f"{measured.reason}, although {said.reason}", WEAK, (warning,))
    return Guess(said.modality, f"{said.reason}, although {measured.reason}", WEAK, (warning,))


def _title(modality: str, task: Task) -> str:
    return {T1: "T1", OTHER: "another sequence"}.get(modality, task.titles.get(modality, modality))


def _by_role(role: str, task: Task) -> Guess:
    return Guess(role, f"its name says {_title(role, task)}", GOOD)


# ---------------------------------------------------------------- words


def by_words(texts: Sequence[str]) -> Guess | None:
    """The sequence by the first description that names one; None where none does.

    A sequence name that the scanner wrote (`*ep_b0`) decides where it names none of lacunet's sequences.
    """
    written = (sequence_named(text) for text in texts if text.startswith("*"))
    if scanner := next((found for found in written if found and found.sequence == OTHER), None):
        return Guess(OTHER, f"its sequence name says {scanner.what}", GOOD)
    named = next((found for text in texts if (found := sequence_named(text))), None)
    if named is None:
        return None
    return Guess(named.sequence, f"its description says {named.what}", GOOD, calculated=named.calculated)


# ---------------------------------------------------------------- numbers


def by_numbers(clues: Clues) -> Guess | None:
    """The sequence by TR, TE and TI (typical ranges at 1.5 and 3 T); None where they are missing or not typical."""
    tr, te, ti = clues.repetition, clues.echo, clues.inversion
    if tr is None or te is None or tr <= 0 or te <= 0:
        return None
    said = f"TR {tr:.0f} ms, TE {te:.0f} ms" + (f", TI {ti:.0f} ms" if ti else "")
    gradient = "GR" in clues.sequence and "SE" not in clues.sequence
    if "EP" in clues.sequence and not ti:
        return Guess(OTHER, f"its sequence is echo-planar ({said})", GOOD)
    if ti and ti >= 1400 and tr >= 4000 and te >= 60:
        return Guess("t2f", f"{said} null fluid", GOOD)
    if ti and ti < 300 and tr > 1500 and te >= 15:
        return Guess(OTHER, f"{said} null fat (STIR)", FAIR)
    if ti and 300 <= ti <= 1400 and te < 40:
        return Guess(T1, f"{said} weight T1", GOOD)
    if gradient or (tr < 100 and not ti):
        if te < 12 and tr < 60:
            return Guess(T1, f"{said} weight T1", FAIR)
        return Guess(OTHER, f"{said} are of a gradient echo weighted by susceptibility", GOOD) if te >= 12 else None
    if ti:
        return None
    if tr <= 1200 and te < 40:
        return Guess(T1, f"{said} weight T1", GOOD)
    if tr >= 1800 and te >= 60:
        return Guess("t2w", f"{said} weight T2", GOOD if te < 200 or tr < 4000 else FAIR)
    if tr >= 1800 and te < 45:
        return Guess(OTHER, f"{said} weight proton density", FAIR)
    return None


# ---------------------------------------------------------------- contrast agent


_OF_A_SERIES = r"\b[es]?t1|mp ?2? ?rage|spgr|bravo|tfe|vibe|lava|thrive|tfl|geir|\bmpr\b"


def agent_by_words(texts: Sequence[str]) -> bool | None:
    """Whether contrast agent was given, by the first description and by the others that name T1.

    A protocol is often the whole examination's ("brain with contrast"): it tells only of scans without contrast agent.
    """
    own = [text for k, text in enumerate(texts) if k == 0 or has([text], _OF_A_SERIES)]
    said = says_agent(own)
    if said is not None or len(own) == len(texts):
        return said
    return False if says_agent([text for text in texts if text not in own]) is False else None


def _with_agent(found: Guess, clues: Clues) -> Guess:
    """For T1: with or without contrast agent, where words or the header say so."""
    if found.modality != T1:
        return found
    words = agent_by_words(clues.texts)
    if words is None and clues.agent is None:
        return found
    if words is None:
        said = (
            "its header names a contrast agent" if clues.agent else "its header says that no contrast agent was given"
        )
        confidence = min(found.confidence, GOOD)
    else:
        said = f"{'with' if words else 'without'} contrast agent by its description"
        confidence = found.confidence
    warnings = found.warnings
    if words is False and clues.agent:
        confidence = min(confidence, FAIR)
        warnings = (*warnings, "described as before contrast agent, but its header names one")
    if words is True and clues.agent is False:
        confidence = min(confidence, FAIR)
        warnings = (*warnings, "described as after contrast agent, but its header says none was given")
    given = words if words is not None else bool(clues.agent)
    return replace(
        found,
        modality="t1c" if given else "t1n",
        reason=f"{found.reason}, {said}",
        confidence=confidence,
        warnings=warnings,
    )


def with_agent_by_order(guesses: Sequence[Guess], clues: Sequence[Clues]) -> list[Guess]:
    """For T1 scans without information about contrast agent: judged by when they were acquired in the study.

    Earlier than every scan known to be after contrast agent: before. Later than one of those: after. Otherwise `t1`
    stays.
    """
    after = [
        one.time for one, guessed in zip(clues, guesses, strict=True)
        if guessed.modality == "t1c" and guessed.confidence >= FAIR and one.time is not None
    ]  # fmt: skip
    return [_by_order(guessed, one, after) for guessed, one in zip(guesses, clues, strict=True)]


def _by_order(found: Guess, clues: Clues, after: Sequence[float]) -> Guess:
    if found.modality != T1 or clues.time is None or not after:
        return found
    if clues.time < min(after):
        said = "acquired before the first scan with contrast agent"
        return replace(found, modality="t1n", reason=f"{found.reason}, {said}", confidence=min(found.confidence, FAIR))
    said = "acquired after a scan with contrast agent"
    return replace(found, modality="t1c", reason=f"{found.reason}, {said}", confidence=min(found.confidence, FAIR))


def without_agent(found: Guess) -> Guess:
    """A T1 scan without any information about contrast agent is taken as before it: most scans after it say so."""
    reason = f"{found.reason}, and nothing speaks of contrast agent"
    warning = "nothing says whether contrast agent was given; taken as T1 before contrast agent"
    return replace(
        found,
        modality="t1n",
        reason=reason,
        confidence=min(found.confidence, WEAK),
        warnings=(*found.warnings, warning),
    )
