"""Which sequence the words of a file name or a series description name, in any order and many languages.

The one reading of words: names of prepared cases (`names`), and descriptions of hospital scans (`intake.identify`).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from lacunet.data.masks import names_mask
from lacunet.data.words import INITIALS, SEQUENCE_WORDS, plain, this_scan

T1, OTHER = "t1", "other"


@dataclass(frozen=True)
class Named:
    """What a text names.

    Attributes:
        sequence: `t1` (contrast agent is judged apart, by `agent.says_agent`), `t2w`, `t2f` or `other`.
        what: In words: "FLAIR", "diffusion imaging".
        calculated: Whether it is weighted like this sequence, but calculated from other images.
    """

    sequence: str
    what: str
    calculated: bool = False


_BIDS_SUBJECT = re.compile(r"^sub-[^_\W]+_(?:ses-[^_\W]+_)?", re.IGNORECASE)

_OTHERS = (
    ("a localiser",
     r"locali[sz]\w*|lokali[sz]\w*|locator|\w*scouts?|survey|topogram\w*|ubersicht\w*|reperage|posicionam\w*|"
     r"3 ?pl(?:ane)?s?(?: loc)?|plan ?scan|aahead|aah|loc|lok|calibration|shim|smart ?brain|scano|pilot"),
    ("diffusion imaging",
     r"[sd]*dwi\w*|dti\w*|diff\w*|[de]?adc\w*|average dc|apparent diff\w*|exponential (?:apparent|adc)|trace\w*|"
     r"b ?\d{3,4}|b ?0(?! ?map)|tensor\w*|resolve|noddi|dki|iso ?b|s?dw ?ssh|ssh ?dwi|ioptb"),
    ("perfusion imaging",
     r"perf\w*|dsc|dce|\w?c?asl|pasl|(?:rel ?)?r?cb[fv]|r?mtt|ttp|tmax|d[iy]nami\w*|dyn|twist|leakage|ktrans|"
     r"m0 ?scan|gbp|pbp"),
    ("susceptibility imaging",
     r"e?swi\w*|e?swan\w*|swip\w*|t2 ?star\w*|t2 ?gre|gre t2|hemo\w*|haemo\w*|hamo\w*|heme?|haem|ham|merge|medic|qsm|"
     r"s?t2w? ?ffe|ffe t2w?|t2 fl[23]d|fl[23]d t2|t2 flash|flash t2|ven ?bold|bsi|fsbb|mag images?|blutung|"
     r"\w*bleeds?|sw ?ip|pha images|filt pha|suscept\w*|suszept\w*"),
    ("angiography",
     r"tof\w*|\d?mra|\d?mrv|angio\w*|pca|phase contrast|venogra\w*|inhance\w*|pc3d|3dpc|carotid\w*|arter\w*|venous|"
     r"circle of willis"),
    ("functional imaging or spectroscopy",
     r"bold|\w*f ?mri|resting|mrs|csi|spectro\w*|press|svs|steam|mrsi|moco ?series|sbref"),
    ("fluid-bright steady-state imaging",
     r"ciss|ci3d|fiesta\w*|trufi\w*|true ?fisp|s?b ?[ft]fe|bssfp|balanced|dess|de3d|psif|basg|"
     r"(?<!tse )drive(?! tse)"),
    ("fat- and fluid-suppressed imaging (STIR, DIR)", r"\w{0,3}stir\w*|dir|double inversion\w*|psir|fgatir"),
    ("a map of T1, T2 or another quantity",
     r"[bqr][0-2] ?map\w*|field ?map\w*|q?t[12] ?(?:rho)? ?map\w*|mapit|relaxom\w*|r2 ?star\w*|mdw|parametric|maps?|"
     r"t1 ?rho|q ?t[12]|mp2rage (?:\w+ )*t1 (?:images?|map)|molli|r2 ?\*|pd ?map|proton density map|mtsat|mtr\w*|"
     r"t[12] ?relax\w*|t[12] ?karte|phase ?diff|magnitude[12]|[tr]b1\w*|color ?map\w*|t[12] (?:values?|quant\w*)"),
    ("a phase image", r"pha|phase images?|phase map|ph\Z|phase\Z|part phase|phase ?mask|phasenbild\w*"),
    ("a real or imaginary image", r"imaginary|real\Z|real images?|part (?:real|imag)"),
    ("an inversion image of MP2RAGE", r"inv ?[12]|inversion ?[12]|mp2rage (?:\w+ )*inv"),
    ("a subtraction",
     r"sub(?! ?\d)|subs|subtr\w*|soustraction|sustraccion|resta|sottrazion\w*|difference|delta ?t1|minus"),
    ("a reformat or a projection",
     r"m ?(?:in)? ?ip|mips?|minip|mpvr|reform\w*|recon\w* (?:cor|sag|ax)|rekon\w*|reconstr\w*|projection\w*|mprs|"
     r"curved|collage|vrt|(?:3d|volume) ?render\w*"),
    ("a screenshot or a report", r"screen ?\w*|snapshot|capture|fusion|fused|overlay|report|key ?images?|"
     r"bildschirm\w*|befund"),
    ("an image of the neck, the spine or another part of the body",
     r"[clt]? ?spine|spinal|cervical|lumbar|lumbal|thorac\w*|thorax|hws|bws|lws|neck|hals|orbit\w*|pituitary|"
     r"hypophys\w*|sella|tmj|knee|shoulder|wirbel\w*|rachis|columna|coluna|colonna|abdomen|liver|pelvis|breast|"
     r"prostat\w*|cardiac"),
)  # fmt: skip
_OTHERS_UNLESS_WEIGHTED = (
    ("diffusion imaging", r"fa|md|dw"),
    ("perfusion imaging", r"m0"),
    ("a map of T1, T2 or another quantity", r"r[12]|b1"),
    ("raw images of synthetic MRI", r"magic|symri"),
    ("a reformat or a projection", r"radial"),
)
"""Words that mean something else beside T1, T2 or FLAIR: `FA_T1` may be a person's initials."""
_GRADIENT_ECHO = r"(?:2d ?)?f?gre|mpgr|ge2d|gradient\w*|eg"
_PROTON_DENSITY = r"pdw?\w{0,2}|proton(?: density)?|dual ?echo|dp"
_FLAIR = r"[es]?t?2? ?flair\w*|\w{0,4}flair|tirm|dark ?fl\w*|dk ?fl\w*|da fl|t2f|fla|t2 ?w? ?ir ?flair|fluid att\w*"
_STIR_LIKE = r"tirm (?:\w+ )*fs|fs (?:\w+ )*tirm"
_T1_WORD = r"[esrwm]?(?:3d)?t1\w{0,4}|(?:c|ce|gd|gad)t1\w?"
_T1 = (
    _T1_WORD + r"|t1 weighted|w?mp ?2? ?rage\w*|\w?spgr|ir ?spgr|bravo|3d ?tfe|tfe|tfl\w*|"
    r"(?:star)?vibe|e?thrive|lava\w*|unit1|uni ?den|uni images|spoiled gradient\w*|3d geir|geir|irt1"
)
_AGENT_WORD = r"gd|gad|gado|gadolinium|ce"
_T2 = r"[esrwm]?t2(?!f\b|star|\*|s\b)\w{0,4}|frfse|haste|fase"
_INVERTED_T2 = r"t2\w? (?:\w+ )*ir|ir (?:\w+ )*t2\w?"
_SYNTHETIC = r"synth\w*|synt[12]\w?|sy|symri|magic"
_REFORMATS_BESIDE = r"mp2?rage|flair|space|spc|tse|bravo|vibe|flash|cube|t2\w?|tirm|brain ?view|spgr|fspgr|dark"
_ACQUIRED_MPR = r"ns|p2|p3|iso|isotropic|grappa|t1\w?|adni|1mm"
_PLANES = r"sag\w*|cor\w*|kor\w*|ax|axi\w*|tra\w*"


def sequence_named(text: str) -> Named | None:
    """What a description or a name says; None where it names no sequence, or more than one."""
    if names_mask(_without_person(text)):
        return Named(OTHER, "a mask")
    words = plain(this_scan(_without_person(text)))
    if other := _other(words):
        return Named(OTHER, other)
    found = _weighted(words)
    if found is not None and found.sequence != OTHER and _has(words, _SYNTHETIC):
        return Named(found.sequence, f"synthetic {found.what}", calculated=True)
    return found


def _without_person(text: str) -> str:
    """A BIDS name without its subject and session."""
    return _BIDS_SUBJECT.sub("", text)


def _has(words: str, pattern: str) -> bool:
    return re.search(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", words) is not None


def _other(words: str) -> str | None:
    """What it is in words, where it is no scan of one of the sequences."""
    if _is_reformat(words):
        return "a reformat or a projection"
    for what, pattern in _OTHERS:
        if _has(words, pattern):
            return what
    if re.search(r"t2w? ?\*", words):
        return "susceptibility imaging"
    weighted = _weighted(words)
    if _has(words, _GRADIENT_ECHO) and _is_weighted_by_susceptibility(words, weighted):
        return "susceptibility imaging"
    if weighted is not None:
        return None
    return next((what for what, pattern in _OTHERS_UNLESS_WEIGHTED if _has(words, pattern)), None)


def _is_weighted_by_susceptibility(words: str, weighted: Named | None) -> bool:
    """Whether a gradient echo is: with T2 in its name, or in slices and with no weighting in its name."""
    return not _has(words, r"3d|fsp") if weighted is None else weighted.sequence == "t2w"


def _is_reformat(words: str) -> bool:
    """Whether `mpr` means a reformat: Siemens also writes it for MPRAGE (`t1_mpr_ns_sag_p2_iso`)."""
    count = len(re.findall(r"\bmpr\b", words))
    if not count:
        return False
    acquired = _has(words, _ACQUIRED_MPR)
    return count > 1 or not acquired or _has(words, _REFORMATS_BESIDE) or len(set(re.findall(_PLANES, words))) > 1


def _weighted(words: str) -> Named | None:
    """Which weighted sequence the words name."""
    t1, t2, flair = _has(words, _T1), _has(words, _T2), _has(words, _FLAIR)
    t1_said = _has(words, _T1_WORD)
    if flair and _has(words, _STIR_LIKE):
        return None
    if flair and t1_said:
        return Named(T1, "T1") if not t2 else None
    if flair:
        return Named("t2f", "FLAIR")
    if _has(words, _PROTON_DENSITY) and not t1_said:
        return Named(OTHER, "proton density imaging")
    if t2:
        return None if t1_said or _has(words, _INVERTED_T2) else Named("t2w", "T2")
    return Named(T1, "T1") if t1 or _has(words, rf"mpr|{_AGENT_WORD}") else None


_AMBIGUOUS = INITIALS | {"fa", "df", "fl", "no", "std", "vol", "volume"}
"""Words of sequences that may also be a person's initials, or name nothing."""
_NUMBER_WITH_UNIT = re.compile(r"^(?:\d+(?:mm|iso|mmiso|min|ml)|p[2-4]|b\d{1,4}|[23]d|3t|[es]?t[12]\w{0,4})$")


@lru_cache(maxsize=4096)
def is_sequence_word(token: str) -> bool:
    """Whether one lower-case token of a file name is about the sequence (its name, plane, contrast agent, technique)
    rather than about the patient."""
    words = re.findall(r"[a-z0-9*]+", plain(token))
    known = SEQUENCE_WORDS - _AMBIGUOUS
    return bool(words) and all(word in known or _NUMBER_WITH_UNIT.match(word) is not None for word in words)
