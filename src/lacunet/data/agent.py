"""Whether words say that contrast agent was given: negations and prepositions of many languages, in any order.

A text becomes a row of words with a part each: a word for *not yet* or *without*, for *after* or *with*, for contrast
agent, for something else that "before" or "without" may be about (surgery, fat suppression), and so on. What a
preposition is about stands beside it. Where texts contradict each other or themselves, or a word that nobody knows
stands before "contrast", the answer is None.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lacunet.data.words import SHOWN, divided, spaced

NOT, GIVEN, AGENT, HINT, OTHER_THING, TECHNIQUE, JOIN, FILLER, KNOWN, STRANGE, UNCLEAR = (
    "not", "given", "agent", "hint", "other thing", "technique", "join", "filler", "known", "strange", "unclear",
)  # fmt: skip

_WITHOUT = (
    "without ohne kein keine keinen sans sin senza sem zonder geen bez uden uten utan ilman non no not none "
    "ingen inget ej fara brez ilma nelkul tanpa khong olmadan yok nao nein nee wo ss siz suz sense be "
    "absent negative nil"
)
_BEFORE = (
    "before prior vor avant prima antes abans voor przed pred prije pirms pries enne ennen inainte foer fore "
    "forut innan elott oncesi once truoc sebelum ante pre"
)
_WITH = "with mit avec con com met med w z ze su ar amb cu kanssa ile yes ja oui si dengan co"
_AFTER = (
    "after post nach apres dopo despues depois despre apos pos tras po na efter etter jalkeen nakon poslije "
    "posle parast pec dupa sonrasi sonra sau setelah sesudah despres"
)
_ALONE = (
    "without ohne sans sin senza sem zonder uden uten utan ilman bez vor avant before nach apres after with mit "
    "avec con com met med dopo przed wo"
)
"""Words that speak of contrast agent even without naming it, where nothing else follows them: `T1 ohne`."""

_PARTS = tuple(
    (part, re.compile(rf"(?:{pattern})\Z"))
    for part, pattern in (
        (OTHER_THING, r"(?:pre|post|pos|peri|intra)(?:op\w*|surg\w*|rt|radio\w*|chemo\w*|biop\w*|treat\w*|"
         r"therap\w*|proc\w*|process\w*|sat|scan|natal|mortem|chir\w*|resec\w*|tx|rx)"),
        (NOT, r"(?:pre|prae|pra|vor)(?:c|ce|con|km|gd|gad\w*|contr\w*|kontr\w*|enh\w*|inj\w*|mdc|iv)"),
        (NOT, r"(?:non?|un|nicht|ohne|sans|sin|bez|bes|without|wo)-?(?:ce|con|km|gd|gad\w*|contr\w*|kontr\w*|enh\w*|"
         r"inj\w*|mdc)"),
        (NOT, r"kontras\w*?(?:siz|suz|los|frei|ita|talan|mentes)\w*|tehostamat\w*|contrastless|t1w?n|t1w?pre"),
        (NOT, r"nati[fv]\w*|natyw\w*|natiiv\w*|plain|blanco|blank|basale"),
        (GIVEN, r"(?:post|pos|nach|after|apres)(?:c|ce|con|km|gd|gad\w*|contr\w*|kontr\w*|enh\w*|inj\w*|mdc|iv)"),
        (GIVEN, r"t1w?(?:c|ce|gd|gad|post|km)|(?:c|ce|gd|gad)t1w?|kontras\w*?(?:li|lu|zott|zos|iga)|tehosteella"),
        (AGENT, r"contrast\w*|contras\b|kontras\w*|gd|gd(?:dtpa|bopta|dota|hpdo3a)|gad|gado|gad[ao][bdlptvx]\w*|"
         r"dotarem|magnevist|prohance|multihance|omniscan|clariscan|vueway|elucirem|primovist|eovist|omniscan|"
         r"optimark|km|mdc|mdk|civ|ce|ktr|cem|infus\w*|contr|kontr|inj|injek\w*|injec\w*|inyec\w*|iniez\w*|enh|enhanc\w*|tehost\w*|"
         r"varjoaine\w*|gbca"),
        (HINT, r"c|k|kl|kk|iv|mc|ka|pdc|cm|m|cont|agent\w*|dye|bolus"),
        (OTHER_THING, r"ops?|oper\w*|surg\w*|resec\w*|resek\w*|chir\w*|crani\w*|kranio\w*|biop\w*|rt|xrt|srt|srs|"
         r"radi\w*|chemo\w*|chimio\w*|therap\w*|treat\w*|tx|rx|tmz|gk|gamma\w*|cyber\w*|ablat\w*|litt|laser|"
         r"foss\w*|proc\w*|mortem|partum|natal|ictal|trauma\w*|stroke|scan|sat\w*|implant\w*|shunt|dbs|embol\w*|"
         r"transplant\w*|central|frontal|motor|label\w*|reg\w*|coreg\w*|align\w*|norm\w*|filter\w*|n4|moco|"
         r"seizure|relapse|recurr\w*|operac\w*|ameliyat\w*|leikkau\w*|eingriff|bestr\w*|strahl\w*|imrt|icu|"
         r"hosp\w*|admission|discharge|birth|\d+(?:h|hrs?|d|days?|w|wks?|weeks?|mo|months?|y|yrs?|years?)"),
        (TECHNIQUE, r"fs|fat\w*|spair|spir|dixon|angle|gap|gating|trigger\w*|ecg|motion|mt|mtc|arc|sense|grappa|flow|"
         r"fett\w*|graisse|grasa|skull|dis|filter|wrap|coil|sound"),
        (JOIN, r"and|und|et|y|e|i|en|og|och|or|oder|ou|o|eller|ve|ja|a|nebo|oraz"),
        (FILLER, r"the|of|de|du|des|la|le|les|del|della|di|da|do|l|d|an|am|administration|admin|administ\w*|gabe|"
         r"gift|medium|media|mittel|mean\w*|podani\w*|podanie|aplikac\w*|verabreichung|middel|agente|moyen|mezzo|"
         r"meio|medio|liquide|produit|produkt|latk\w*|srodk\w*|anyag|adas\w*|vs|der|des|dem|intraven\w*|mit-?tel|"
         r"aine\w*|material"),
    )
)  # fmt: skip
_WEAK_NOT = frozenset((_WITHOUT + " " + _BEFORE).split())
_WEAK_GIVEN = frozenset((_WITH + " " + _AFTER).split())
_FULL_NOUN = re.compile(r"[ck]ontra|tehost|varjo|enhanc")
_NAMED_WITH = ("t1c", "t1ce", "t1wce", "t1gd")
_SIGNED = r"(?:gd|gad|gado|km|ce|mdc|civ|c|k|ktr|kl|cm|iv|inj|contrast|contraste|kontrast|t1w?c|t1w?ce)"
_SIGNS = tuple((re.compile(pattern), words) for pattern, words in (
    (r"\+\s?/\s?-|\+-|±|\bw\s?/?\s?(?:&|and|\+)?\s?w\s?/?\s?o\b|\bc\s?/\s?s\b", " with without "),
    (r"\bw\s?[/\\]\s?o(?:ut)?\b|\bw\.o\.?(?![a-z])|\bs\s?/\s?(?=(?:c|civ|gd|gad\w*|mdc|iv|km)\b)|\bu\s?/\s?(?=(?:k|km|kontrast)\b)",
     " without "),
    (r"\bo\s?[/.]?\s?(?=km\b|kontrast)|\bs\s?/\s?(?=contrast)|\bu\s?[/.]?\s?(?=kontrast|km\b|gd\b)", " without "),
    (r"\bn\s?[/.]?\s?(?=km\b|kontrast)", " after "),
    (r"\bv\s?[/.]?\s?(?=km\b|kontrast)", " before "),
    (r"\bc\s?/\s?(?=contrast)", " with "),
    (r"\b(without|with|wo|w|pre|post|non|no)[ -]+con\b(?! (?:contr|kontr|g|m|c))", r"\1 contrast "),
    (r"\bs (?=kontrast|kl\b)", " with "),
    (r"\bc\s?/\s?(?=(?:c|civ|gd|gad\w*|mdc|iv|km)\b)|\bm\s?/\s?(?=(?:k|km|kontrast)\b)|\bw\s?/", " with "),
    (rf"\b({_SIGNED})(?:\s?\(\s?-\s?\)|\s?-(?=\s*(?:[)\],;:]|\Z))|-(?!\w))", r" without \1 "),
    (rf"\b({_SIGNED})(?:\s?\(\s?\+\s?\)|\s?\+(?!\s?[tfa])|\+)", r" with \1 "),
    (rf"(?:^|(?<=\s)|(?<=[(\[,;]))-(?={_SIGNED}\b)", " without "),
    (r"\s-\s(?=(?:c|k)\b)|(?<=t1)-(?=c\b)|(?<=t1w)-(?=c\b)", " unclear "),
    (rf"\+\s?(?={_SIGNED}\b)|\(\s?\+\s?\)", " with "),
    (r"(?<=t1)\s?\+(?=\s*\Z)|(?<=t1w)\s?\+(?=\s*\Z)", " with c "),
    (r"(?<=t1)-(?=\s*\Z)|(?<=t1w)-(?=\s*\Z)|\(\s?-\s?\)", " without c "),
))  # fmt: skip


@dataclass(frozen=True)
class Word:
    """One word of a text, and the part it has.

    Attributes:
        text: Lower case.
        part: `NOT`, `GIVEN`, `AGENT` ...
        weak: Whether it speaks of contrast agent only beside a word for it: "vor", "with"; "pre" and "post" always do.
    """

    text: str
    part: str
    weak: bool = False


class _Unclear(Exception):
    """A text contradicts itself, or cannot be understood."""


def says_agent(texts: Sequence[str]) -> bool | None:
    """Whether texts say that contrast agent was given (True) or not (False); None: they say neither, or both."""
    try:
        said = {fact for text in texts for fact in _facts(_row(text))}
    except _Unclear:
        return None
    return said.pop() if len(said) == 1 else None


def _row(text: str) -> list[Word]:
    """The words of a text with their parts; words that change nothing are left out."""
    text = spaced(text)
    for pattern, said in _SIGNS:
        text = pattern.sub(said, text)
    tokens = " ".join(divided(token) for token in re.findall(r"[^\W_]+", text)).split()
    row = [_word(token) for token in tokens]
    if any(word.text in _NAMED_WITH for word in row):  # then "native" is about the grid
        row = [word for word in row if not word.text.startswith("nati")]
    return [word for word in row if word.part != FILLER]


def _word(token: str) -> Word:
    if token in _WEAK_NOT:
        return Word(token, NOT, token != "pre")
    if token in _WEAK_GIVEN:
        return Word(token, GIVEN, token != "post")
    for part, pattern in _PARTS:
        if pattern.match(token):
            return Word(token, part)
    if token == "unclear":
        return Word(token, UNCLEAR)
    known = token in SHOWN or any(letter.isdigit() for letter in token)
    return Word(token, KNOWN if known else STRANGE)


def _facts(row: Sequence[Word]) -> set[bool]:
    """What a text says of contrast agent: nothing, True, False or both.

    Raises:
        _Unclear: it cannot be understood.
    """
    if any(word.part == UNCLEAR for word in row):
        raise _Unclear
    facts: set[bool] = set()
    spoken_of: set[int] = set()
    for k, word in enumerate(row):
        if word.part in (NOT, GIVEN) and (noun := _about(row, k)) is not None:
            facts.add(word.part == GIVEN)
            spoken_of |= _chain(row, noun)
    for k in range(len(row)):
        if k not in spoken_of and _alone(row, k):
            facts.add(True)
    return facts


def _about(row: Sequence[Word], k: int) -> int | None:
    """The index of what the preposition or negation `k` is about, if that is contrast agent (the index `k` itself where
    the word needs no noun); None where it is about something else.

    Raises:
        _Unclear: with and without in one; or it cannot be told what it is about.
    """
    word, after = row[k], k + 1
    coordinated = False
    while after < len(row) and (row[after].part == JOIN or row[after].part in (NOT, GIVEN)):
        coordinated |= row[after].part in (NOT, GIVEN) and row[after].part != word.part
        after += 1
    following = row[after].part if after < len(row) else None
    if following == OTHER_THING or (following == TECHNIQUE and word.weak) or (word.text == "no" and _digit(row, k + 1)):
        return None
    if coordinated and (not word.weak or word.text in _ALONE.split()):
        raise _Unclear
    if coordinated:
        return None
    if following in (AGENT, HINT):
        return after
    if k and row[k - 1].part in (AGENT, HINT):
        if word.weak and following == STRANGE:
            raise _Unclear
        return k - 1
    return (
        k if not word.weak or (word.text in _ALONE.split() and all(one.part == KNOWN for one in row[k + 1 :])) else None
    )


def _digit(row: Sequence[Word], k: int) -> bool:
    return k < len(row) and row[k].text.isdigit()


def _chain(row: Sequence[Word], k: int) -> set[int]:
    """The neighbouring words for contrast agent that belong together: `Gd contrast`, `contrast enhanced`."""
    first = last = k
    while first > 0 and row[first - 1].part in (AGENT, HINT):
        first -= 1
    while last + 1 < len(row) and row[last + 1].part in (AGENT, HINT):
        last += 1
    return set(range(first, last + 1))


def _alone(row: Sequence[Word], k: int) -> bool:
    """Whether a word says by itself that contrast agent was given.

    Raises:
        _Unclear: a word that is not known stands before it, which may be a negation.
    """
    word = row[k]
    before = row[k - 1] if k else None
    after = row[k + 1] if k + 1 < len(row) else None
    if word.text == "c" and before is not None and before.text in ("t1", "t1w"):
        return after is None or after.part == KNOWN
    if word.part != AGENT:
        return False
    if before is not None and before.part == STRANGE:
        raise _Unclear
    if after is not None and after.part == STRANGE and _FULL_NOUN.match(word.text):
        raise _Unclear
    return True
