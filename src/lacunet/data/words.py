"""Words that hospitals use for sequences: which of them are shown, and what they mean.

Series descriptions and file names are typed by people and may contain a patient's name. So only the words of this
list are ever shown or written, as it spells them; the rest becomes "…".
"""

import re
import unicodedata
from collections.abc import Sequence

_SHOWN = """
    t1 t1w st1w st2w et1w et2w t1n t1ce t1c t1gd t1post t1pre t2 t2w t2f t2star t2* t1wi t2wi flair t2flair t1flair
    tirm stir ir tse fse se frfse gre ge ffe tfe tfl spgr fspgr bravo mprage mp2rage rage space cube vista vibe
    flash thrive lava propeller blade mvxd pd pdw dir swi swan swip hemo haemo dwi dti diff diffusion adc fa trace
    tracew asl perf perfusion dsc dce cbf cbv mtt ttp tmax tof mra mrv pca angio bold fmri mrs csi press ciss fiesta
    bffe trufi epi ep2d map localizer localiser loc scout survey plane planes 3plane sub subtraction mip minip mpr
    reformat screenshot report calibration asset field fieldmap dark fluid darkfluid df fs fatsat fat sat spair spir
    dixon water isotropic iso inv inversion
    ax axial tra trans transverse transversal cor coronal kor koronar sag sagittal obl oblique 3d 2d
    gd gad gado gadolinium post pre contrast c ce km kontrast nativ native mdc civ contraste inj injection gadovist
    dotarem magnevist prohance multihance omniscan clariscan with without mit ohne nach vor avec sans apres avant
    con sin senza com sem met zonder med uden utan
    kopf brain head cranial cranium neuro schaedel hirn cerveau encephale cerebro cabeza testa encefalo skull
"""

SHOWN = frozenset(_SHOWN.split())
"""All words that may be shown."""

FOREIGN = {
    "造影": "contrast", "增强": "contrast", "增強": "contrast", "平扫": "without contrast", "平掃": "without contrast",
    "単純": "without contrast", "조영": "contrast", "контраст": "contrast", "矢状": "sag", "冠状": "cor", "横断": "ax",
    "横轴": "ax", "水抑制": "flair",
}  # fmt: skip

HIDDEN = "…"

MANUFACTURERS = (
    "Siemens",
    "GE",
    "Philips",
    "Canon",
    "Toshiba",
    "Hitachi",
    "Fujifilm",
    "United Imaging",
    "Bruker",
    "Esaote",
)

_WITHOUT = (
    r"\b(?:ohne|sans|senza|sin|sem|zonder|uden|utan|bez|without|w o|wo|no|non|vor|avant|before|pre)\s+"
    r"(?:i\s*v\s*)?(?:km|kontra\w*|contrast|contraste|contrasto|mdc|gd|gad|gado|gadolinium|inj|injection|civ|ce|iv)\w*"
    r"|\b(?:nativ|native|unenhanced|precontrast|pregad|pregd|plain|t1pre|pre|nonenhanced)\b"
    r"|\bc-|-\s?c\b(?=\s*$)|(?<=\s)-c\b|\b(?:w o|wo|without|ohne|sans|sin|senza|zonder)\s*$"
)
_BOTH = (
    r"\b(?:with|mit|avec|con|pre|vor|w)\s(?:(?:and|und|et|y|e|or|oder)\s)?(?:without|ohne|sans|sin|post|nach|wo|w o)\b"
    r"|\b(?:without|ohne|sans|sin|wo|w o)\s(?:and|und|et|y|e|or|oder)\s(?:with|mit|avec|con|w)\b"
)
_WITH = (
    r"\bpost(?!\s*(?:fossa|erior|proc))\b|\bpost(?:gd|gad|gado|contrast|km|inj|con|c)\w*"
    r"|\b(?:gd|gad|gado|gadolinium|gadovist|dotarem|magnevist|prohance|multihance|omniscan|clariscan)\b"
    r"|\b(?:km|mdc|civ|ce|kontra\w*|contrast\w*|enhanced|enh|inj|injection|gadolin\w*|gadobut\w*|gadoter\w*)\b"
    r"|(?:\+\s?c\b)|\bc\+|\bt1(?:c|ce|gd|post|gad)\b|\+\s?(?:km|gd|gad|gado|mdc)\b|\bt1w?\s?\+|"
    r"\bt1w?[ ]c\b|\b(?:with|mit|avec|con|met)\s*$"
)


def plain(text: str) -> str:
    """Lower case, without accents, known foreign words translated, every separator except + and * a space."""
    text = text.replace("ß", "ss")
    for foreign, word in FOREIGN.items():
        text = text.replace(foreign, f" {word} ")
    text = unicodedata.normalize("NFKD", text.lower())
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    for foreign, word in FOREIGN.items():
        text = text.replace(unicodedata.normalize("NFKD", foreign), f" {word} ")
    text = re.sub(r"([a-z0-9])-(?=[a-z0-9])", r"\1 ", text)
    text = re.sub(r"[^a-z0-9+*\-]+", " ", text)
    return " ".join(text.split())


def shown(*texts: str) -> str:
    """The recognised words of the first text that has any, in capitals: `T1 AX POST GAD`; other words become "…".

    At most twelve words. Numbers are never shown.
    """
    for text in texts:
        words: list[str] = []
        for token in re.findall(r"[a-z0-9]+\*?|[+-]c\b|\+", plain(text)):
            word = token.upper() if token in SHOWN or token in ("+", "+c", "-c") else HIDDEN
            if not (word == HIDDEN and words[-1:] == [HIDDEN]):
                words.append(word)
        if any(word not in (HIDDEN, "+") for word in words):
            return " ".join(words[:12])
    return ""


def manufacturer(text: str) -> str | None:
    """The maker, as this module spells it, or None."""
    lower = text.lower()
    known = [name for name in MANUFACTURERS if re.search(rf"\b{name.lower()}\b", lower)]
    return known[0] if known else None


def says_agent(texts: Sequence[str]) -> bool | None:
    """Whether texts say that contrast agent was given (True) or not (False); None: they say neither, or both."""
    plains = [plain(text) for text in texts]
    if any(re.search(_BOTH, text) for text in plains):
        return None
    without = any(re.search(_WITHOUT, text) for text in plains)
    given = any(re.search(_WITH, re.sub(_WITHOUT, " ", text)) for text in plains)
    return given if given != without else None


def has(texts: Sequence[str], pattern: str) -> bool:
    """Whether any of the texts, after `plain`, matches a regular expression."""
    return any(re.search(pattern, plain(text)) for text in texts)
