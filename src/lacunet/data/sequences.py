"""Which sequence the words of a file name or a series description name, in any order and many languages.

The one reading of words: names of prepared cases (`names`), and descriptions of hospital scans (`intake.identify`).
"""

import re
from dataclasses import dataclass

from lacunet.data.words import SHOWN, has, plain

T1, OTHER = "t1", "other"


@dataclass(frozen=True)
class Named:
    """What a text names.

    Attributes:
        sequence: `t1` (contrast agent is judged apart, by `words.says_agent`), `t2w`, `t2f` or `other`.
        what: In words: "FLAIR", "diffusion imaging".
    """

    sequence: str
    what: str


_OTHERS = (
    (
        "diffusion imaging",
        r"\b(?:dwi\w*|dti\w*|diff\w*|adc|e?adc|trace\w*|fa|b ?1000|b ?0|ep2d diff\w*|tensor|resolve|noddi|"
        r"dki)\b",
    ),
    (
        "perfusion imaging",
        r"\b(?:perf\w*|dsc|dce|p?c?asl|pasl|cbf|cbv|r?cbv|mtt|ttp|tmax|ep2d perf|dynamic|dyn|twist|"
        r"leakage|ktrans)\b",
    ),
    (
        "susceptibility imaging",
        r"\b(?:swi\w*|swan\w*|swip\w*|t2 ?star|t2 ?gre|hemo|haemo|hem|merge|medic|qsm|t2 ?ffe|t2 ?fl2d|"
        r"fl2d t2)\b|t2 ?\*",
    ),
    ("angiography", r"\b(?:tof\w*|mra|mrv|angio\w*|pca|phase contrast|venogra\w*|inhance|pc3d|carotid\w*|arter\w*)\b"),
    ("functional imaging or spectroscopy", r"\b(?:bold|f ?mri|resting|mrs|csi|spectro\w*|press|svs|steam|mrsi)\b"),
    ("fluid-bright steady-state imaging", r"\b(?:ciss|fiesta\w*|trufi|true ?fisp|b ?ffe|bssfp|drive|balanced)\b"),
    ("proton density imaging", r"\b(?:pd|pdw|proton|pd ?t2|dual ?echo|pd fs)\b"),
    ("fat- and fluid-suppressed imaging (STIR, DIR)", r"\b(?:stir|dir|double inversion|psir)\b"),
    (
        "a map",
        r"\b(?:b0 ?map|b1 ?map|field ?map\w*|t1 ?map\w*|t2 ?map\w*|mapit|relaxometry|r2 ?star|mdw|"
        r"phase ?map|parametric|b1|gre field mapping|mp2rage t1 images)\b",
    ),
    ("a subtraction", r"\b(?:sub|subtr\w*|subtraktion|soustraction|difference)\b"),
    (
        "a reformat or a projection",
        r"\b(?:m?ini?p|mips?|reform\w*|recon\w* (?:cor|sag|ax)|rekon\w*|reconstr\w*|projection\w*|collage|"
        r"screen ?save\w*)\b",
    ),
    (
        "an image of the neck, the spine or the eyes",
        r"\b(?:c ?spine|spine|cervical|lumbar|thorac\w*|hws|bws|lws|neck|orbit\w*|pituitary|hypophys\w*|"
        r"sella|tmj|knee|shoulder)\b",
    ),
)
_FLAIR = r"\bda fl\b|\b[es]?t?2? ?flair\w*|\btirm\b|\bdark ?fl\w*\b|\bdk ?fl\w*\b|\bt2f\b|\bt2 ?flair\b|\bfla\b"
_T1_FLAIR = r"\bt1 ?(?:w )?(?:\w+ ){0,2}?flair\b|\bt1flair\b|\bflair t1\b"
_T1 = (
    r"\b[es]?t1\w{0,4}\b|\b(?:mp ?rage|mpr|spgr|ir spgr|f?spgr|bravo|3d ?tfe|tfe|tfl\w*|vibe|thrive|"
    r"lava|irspgr|fspgr bravo|mp2rage"
    r"|gd|gad|ce)\b"
)
_T2 = r"\b[es]?t2(?!f|star|\*)\w{0,3}\b"


def sequence_named(text: str) -> Named | None:
    """What a description or a name says; None where it names no sequence, or more than one."""
    one = [text]
    t1_flair = has(one, _T1_FLAIR)
    for what, pattern in _OTHERS:
        if has(one, pattern):
            return Named(OTHER, what)
    flair, t1, t2 = has(one, _FLAIR) and not t1_flair, has(one, _T1), has(one, _T2)
    if flair:
        return Named("t2f", "FLAIR")
    if t2 and not has(one, r"\bt1\w{0,4}\b"):
        return Named("t2w", "T2")
    if t1 and not t2:
        return Named(T1, "T1")
    return None


_BODY = frozenset("kopf brain head cranial cranium neuro schaedel hirn cerveau encephale cerebro cabeza testa".split())
_BODY_TOO = frozenset("encefalo skull sub map report asset".split())
_NUMBER_WITH_UNIT = re.compile(r"^(?:\d+(?:mm|iso|mmiso|min|ml)|p\d|b\d{1,4}|[23]d|3t|[es]?t[12]\w{0,4})$")


def is_sequence_word(token: str) -> bool:
    """Whether one lower-case token of a file name is about the sequence (its name, plane, contrast agent, technique)
    rather than about the patient."""
    words = re.findall(r"[a-z0-9*]+", plain(token))
    known = SHOWN - _BODY - _BODY_TOO
    return bool(words) and all(word in known or _NUMBER_WITH_UNIT.match(word) is not None for word in words)
